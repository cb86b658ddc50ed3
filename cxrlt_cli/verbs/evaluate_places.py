"""Films of two places side by side: what differs, and how much of a change in AP is prevalence."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cxrlt_cli.config import EvaluateOptions
from cxrlt_cli.engine.reporter import Reporter
from cxrlt_cli.errors import listed
from cxrlt_cli.machine import num_cores
from cxrlt_cli.report.plain_table import Table
from cxrlt_cli.scores.differences import MIN_EACH, told_difference, told_p
from cxrlt_cli.scores.judged import Judged
from cxrlt_cli.scores.places import Change, Place, PlaceComparison, compare_places
from cxrlt_cli.tables.chosen import EVERY, Chosen
from cxrlt_cli.tables.label_table import LabelTable, read_csv
from cxrlt_cli.verbs.evaluate_places_films import Fact, facts_of_familiarity, facts_of_files, facts_of_labels

LONGEST = 10  # letters of a CSV's name, up to which it heads a column


@dataclass(frozen=True)
class Reference:
    """The films of ``--against``: their labels, and what was predicted for them, if anything was."""

    csv: Path
    truth: LabelTable
    judged: Judged | None


def held_against(
    judged: Judged, reference: Reference, csv: Path, chosen: Chosen, options: EvaluateOptions, reporter: Reporter
) -> tuple[dict[str, Any], list[Table]]:
    """What differs between the films that are judged and those of the reference: for ``--json``, and as tables."""
    truths, csvs = (judged.truth, reference.truth), (csv, reference.csv)
    frames = [
        rows.rows_of(read_csv(path), path).set_index(options.id_column, drop=False).loc[list(truth.ids)]
        for path, truth, rows in zip(csvs, truths, (chosen, EVERY), strict=True)
    ]
    facts = facts_of_labels(*truths, frames)
    comparison = None
    if reference.judged is not None:
        paths, ids = (judged.path, reference.judged.path), [list(truth.ids) for truth in truths]
        facts += facts_of_familiarity(paths, ids, options.id_column)
        comparison = _compared(judged, reference.judged, options, reporter)
    if options.image_dir is not None:
        facts += facts_of_files(csvs, truths, options, reporter)
    tables = [table_of_films(facts, *csvs), *([] if comparison is None else tables_of_scores(comparison, *csvs))]
    content = {
        "csv": str(reference.csv),
        "predictions": None if reference.judged is None else str(reference.judged.path),
        "films": [asdict(fact) for fact in facts],
        "scores": None if reference.judged is None else reference.judged.scores.to_json(),
        **({"macro": None, "findings": []} if comparison is None else comparison.to_json()),
    }
    return content, tables


def _compared(first: Judged, second: Judged, options: EvaluateOptions, reporter: Reporter) -> PlaceComparison:
    findings = [name for name in first.predictions.findings if name in second.predictions.findings]
    places = [
        Place(
            one.truth.select(findings).targets,
            one.predictions.select(findings).probabilities,
            one.truth.patients,
        )
        for one in (first, second)
    ]
    with reporter.progress("Resampling patients of both hospitals", 2 * options.bootstrap, "resamples") as advance:
        comparison = compare_places(
            places[0],
            places[1],
            findings,
            options.bootstrap,
            seed=options.seed,
            num_threads=num_cores(),
            advance=advance,
        )
    if comparison.macro is None:
        reporter.note(
            f"Scores are not compared: of {listed(findings, 40)}, no finding is present in {MIN_EACH} patients and "
            f"absent in {MIN_EACH} of both sets."
        )
    return comparison


def names_of(csv: Path, against: Path) -> tuple[str, str]:
    """What columns are called: the CSVs' names without their endings, or the options that named them."""
    names = csv.name.partition(".")[0], against.name.partition(".")[0]
    short = all(0 < len(name) <= LONGEST for name in names) and names[0] != names[1]
    return names if short else ("--csv", "--against")


def table_of_films(facts: Sequence[Fact], csv: Path, against: Path) -> Table:
    rows = [fact.told() for fact in facts]
    return Table(f"Films of {csv} and of {against}", ("", *names_of(csv, against)), rows)


def tables_of_scores(comparison: PlaceComparison, csv: Path, against: Path) -> list[Table]:
    """AP with what prevalence is worth, and AUROC, a row a finding."""
    if comparison.macro is None:
        return []
    first, second = names_of(csv, against)
    changes = {
        **{one.name: one for one in comparison.findings},
        f"mean of {len(comparison.findings)}": comparison.macro,
    }
    of_ap = (f"at prev.\nof {second}", "by\nprevalence", "the rest\n(95 %)", "p (Holm)")
    rows = [_row_of_ap(name, one) for name, one in changes.items()]
    note = _told(comparison.macro, len(comparison.findings), first, second)
    ap = Table(f"AP in {csv} and in {against}", ("finding", first, second, *of_ap), rows, note)
    rows = [_row_of_auroc(name, one) for name, one in changes.items()]
    columns = ("finding", first, second, "difference (95 %)", "p (Holm)")
    return [ap, Table(f"AUROC in {csv} and in {against}", columns, rows)]


def _row_of_auroc(name: str, one: Change) -> tuple[str, ...]:
    scores = _number(one.auroc), _number(one.auroc_against)
    return name, *scores, told_difference(one.auroc_difference), told_p(one.auroc_difference)


def _row_of_ap(name: str, one: Change) -> tuple[str, ...]:
    return (
        name,
        _number(one.ap),
        _number(one.ap_against),
        _number(one.ap_at_prevalence),
        f"{one.by_prevalence:+.3f}",
        told_difference(one.rest),
        told_p(one.rest),
    )


def _told(macro: Change, number: int, first: str, second: str) -> str:
    return (
        f"The {number} findings that {MIN_EACH} patients or more have in both, and as many have not. Mean AP: "
        f"{macro.ap:.3f} in {first}, {macro.ap_against:.3f} in {second}, a difference of "
        f"{told_difference(macro.difference)}. Of this, {macro.by_prevalence:+.3f} is prevalence: at that of {second}, "
        f"{first} has {macro.ap_at_prevalence:.3f}. The rest, {told_difference(macro.rest)}, is not."
    )


def _number(value: float) -> str:
    return f"{value:.3f}"
