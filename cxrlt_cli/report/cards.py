"""Cards."""

from collections.abc import Sequence

from cxrlt_cli.report.ledger import Ledger
from cxrlt_cli.report.paper_study import Study


def card_files(study: Study, cards: Sequence[str], ledger: Ledger) -> dict[str, str]:
    return {}
