import pytest
from pydantic import ValidationError

from cxrlt_cli.config import ReportOptions


def test_cards_are_named_once_and_known() -> None:
    assert ReportOptions.model_validate({"runs": ["a"], "card": "model,claim"}).card == ("model", "claim")
    with pytest.raises(ValidationError, match="none of model, claim, tripod-ai, chai"):
        ReportOptions.model_validate({"runs": ["a"], "card": "clam"})


@pytest.mark.parametrize(
    ("given", "told"), [({}, "RUNS is missing"), ({"verify": "a", "card": "claim"}, "--card changes nothing")]
)
def test_a_report_is_made_or_verified(given: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        ReportOptions.model_validate(given)
