"""Groups of films side by side, as a table for the terminal and the page."""

from collections.abc import Iterator, Sequence

from cxrlt_cli.errors import listed
from cxrlt_cli.report.plain_table import Table
from cxrlt_cli.scores.differences import MIN_EACH, told_difference, told_p
from cxrlt_cli.scores.groups import GroupComparison, Standing


def tables_of(comparison: GroupComparison, title: str, *, by_finding: bool = False) -> list[Table]:
    """The means of each group, and with ``by_finding`` each finding."""
    if not comparison.groups:
        return []
    what = f"{title} by {' and '.join(comparison.columns)}"
    number = len(comparison.findings)
    means = f": means of {number} finding{'s' * (number > 1)}" if number else ""
    columns = ("group", "films", "patients", "score", "value", "difference (95 %)", "p (Holm)")
    tables = [Table(f"{what}{means}", columns, list(_rows(comparison)), _explained(comparison))]
    if by_finding and number:
        columns = ("finding", "freq.", "group", "score", "value", "difference (95 %)", "p (Holm)")
        tables.append(Table(f"{what}, by finding", columns, list(_rows_by_finding(comparison))))
    return tables


def _explained(comparison: GroupComparison) -> str:
    """What is compared, and what was left out."""
    if not comparison.findings:
        return (
            f"No finding is present in {MIN_EACH} patients and absent in {MIN_EACH} of every group, so nothing can be "
            "compared."
        )
    text = (
        f"Findings: {listed(comparison.findings, 40)}; {MIN_EACH} patients or more of every group have them, and as "
        "many have not. AP is as if each were as frequent in every group as in all films. "
    )
    if len(comparison.groups) == 1:
        return f"{text}There is no second group to compare."
    known = [one for group in comparison.groups if group.macro is not None for one in group.macro.differences]
    corrected = sum(one.p is not None for one in known)
    return f"{text}Differences are from the reference{f'; p counts {corrected} comparisons' if corrected else ''}."


def _rows(comparison: GroupComparison) -> Iterator[tuple[str, ...]]:
    references = {group.reference for group in comparison.groups}
    for group in comparison.groups:
        head = (group.name, f"{group.num_films:,}", f"{group.num_patients:,}")
        if group.macro is None:
            yield (*head, "–", "–", "", "")
        else:
            yield from _pair(head, group.macro, group.name in references)


def _rows_by_finding(comparison: GroupComparison) -> Iterator[tuple[str, ...]]:
    references = {group.reference for group in comparison.groups}
    for place, (name, share) in enumerate(zip(comparison.findings, comparison.prevalences, strict=True)):
        for number, group in enumerate(comparison.groups):
            head = ("", "", group.name) if number else (name, f"{100 * share:.1f} %", group.name)
            yield from _pair(head, group.findings[place], group.name in references)


def _pair(head: Sequence[str], standing: Standing, is_reference: bool) -> Iterator[tuple[str, ...]]:
    """A line of AP and one of AUROC."""
    both = (("AP", standing.ap, standing.ap_difference), ("AUROC", standing.auroc, standing.auroc_difference))
    for number, (score, value, difference) in enumerate(both):
        shown = ("reference" if is_reference else "", "")
        if difference is not None:
            shown = (told_difference(difference), told_p(difference))
        yield (*(head if number == 0 else ("",) * len(head)), score, f"{value:.3f}", *shown)
