"""Scores by view, sex and age: the table of a report, and what cards say of them."""

from collections.abc import Iterator
from typing import Any

from cxrlt_cli.errors import listed
from cxrlt_cli.report.ledger import Ledger
from cxrlt_cli.report.paper_study import FACTS, FILMS, PREDICTIONS, Study
from cxrlt_cli.report.plain_table import Table
from cxrlt_cli.report.score_texts import told_apart
from cxrlt_cli.report.study_groups import GROUPED
from cxrlt_cli.scores.bootstrap import Interval
from cxrlt_cli.scores.differences import MIN_EACH, Difference, told_p
from cxrlt_cli.scores.groups import MIN_GROUP, GroupComparison, GroupStanding

COLUMNS = ("Group", "Films", "Patients", "Score", "Value", "Difference", "p (Holm)")


def groups_table(study: Study, ledger: Ledger) -> Table | None:
    """Each group's films and patients, mean AP and AUROC, and differences; None where no column has a group."""
    rows: list[tuple[str, ...]] = []
    notes = []
    for column, comparison in study.groups.items():
        if comparison.groups:
            for group in comparison.groups:
                rows += _rows(GROUPED[column], comparison, group, study, ledger)
            notes.append(_note(GROUPED[column], comparison, ledger))
    if not rows:
        return None
    number = study.facts["bootstrap"]
    note = " ".join(
        [
            *notes,
            f"A finding counts where at least {MIN_EACH} patients of every group have it and {MIN_EACH} have not. "
            "AP is computed as if each finding were as frequent in every group as in all films.",
            "In brackets: 95 % confidence intervals by bootstrap over patients; p after Holm's correction within view, "
            "sex and age." if number else "",
        ]
    )  # fmt: skip
    return Table(f"Scores of {study.name} by {_named(study)}", COLUMNS, rows, note.strip())


def groups_told(study: Study, ledger: Ledger) -> str | None:
    """A sentence for each column: mean AUROC in its groups; None where nothing was compared."""
    told = []
    for column, comparison in study.groups.items():
        scores = [
            f"{group.name} {_score('auroc', GROUPED[column], group, study, ledger)}"
            for group in comparison.groups
            if group.macro is not None
        ]
        if len(scores) > 1:
            number = _number(GROUPED[column], comparison, ledger)
            told.append(f"Mean AUROC of {number} findings by {GROUPED[column].lower()}: {', '.join(scores)}.")
    return " ".join(told) or None


def group_aurocs(study: Study) -> Iterator[tuple[str, float, Interval | None]]:
    """Mean AUROC of each group with its interval, under its name."""
    for column, comparison in study.groups.items():
        for group in comparison.groups:
            if group.macro is not None:
                yield f"Mean AUROC, {GROUPED[column].lower()} {group.name}", group.macro.auroc, group.macro.auroc_ci


def _named(study: Study) -> str:
    """``view, sex and age``, those that have groups."""
    *first, last = (GROUPED[column].lower() for column, comparison in study.groups.items() if comparison.groups)
    return f"{', '.join(first)} and {last}" if first else last


def _rows(
    title: str, comparison: GroupComparison, group: GroupStanding, study: Study, ledger: Ledger
) -> Iterator[tuple[str, ...]]:
    """A line of AP and one of AUROC, each with the group, so that it can be sorted and pasted."""
    at = f"groups/{title}/{group.name}"
    films = ledger.count(f"{at}/films", group.num_films, FILMS, group=group.name)
    patients = "–"
    if study.facts["has_patients"]:
        patients = ledger.count(f"{at}/patients", group.num_patients, FILMS, group=group.name)
    is_reference = any(other.reference == group.name for other in comparison.groups)
    means = group.macro
    for name, found in (
        ("ap", None if means is None else means.ap_difference),
        ("auroc", None if means is None else means.auroc_difference),
    ):
        value = _score(name, title, group, study, ledger)
        apart = ("reference", "") if is_reference else _difference(f"{at}/{name}_difference", found, ledger)
        yield (f"{title}: {group.name}", films, patients, f"Mean {name.upper()}", value, *apart)


def _score(name: str, title: str, group: GroupStanding, study: Study, ledger: Ledger) -> str:
    if group.macro is None:
        return "–"
    value, bounds = getattr(group.macro, name), getattr(group.macro, f"{name}_ci")
    how: dict[str, Any] = {"metric": f"mean {name.upper()}", "group": group.name}
    if number := study.facts["bootstrap"]:
        how["interval"] = f"bootstrap of patients, {number} resamples, seed {study.facts['seed']}"
    return ledger.score(f"groups/{title}/{group.name}/{name}", value, bounds, PREDICTIONS, **how)


def _difference(at: str, found: Difference | None, ledger: Ledger) -> tuple[str, str]:
    if found is None:
        return "–", "–"
    told = ledger(at, told_apart(found), PREDICTIONS, metric="difference from the reference")
    if found.p_holm is None:
        return told, "–"
    return told, ledger(f"{at}/p", told_p(found), PREDICTIONS, metric="p after Holm's correction of the difference")


def _number(title: str, comparison: GroupComparison, ledger: Ledger) -> str:
    return ledger.count(f"groups/{title}/findings", len(comparison.findings), FACTS, metric="count of findings")


def _note(title: str, comparison: GroupComparison, ledger: Ledger) -> str:
    names = listed(comparison.findings, 40)
    text = f"{title}: means of {_number(title, comparison, ledger)} findings ({names})." if names else (
        f"{title}: no finding is frequent enough in every group."
    )  # fmt: skip
    if not comparison.too_small:
        return text
    small = [
        f"{name} ({ledger.count(f'groups/{title}/{name}/patients', number, FILMS, group=name)})"
        for name, number in comparison.too_small
    ]
    return f"{text} Groups of fewer than {MIN_GROUP} patients are not scored: {listed(small, 10)}."
