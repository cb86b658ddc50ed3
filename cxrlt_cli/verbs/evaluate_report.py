"""The report of ``cxrlt evaluate``: scores to a page, with the worst films where they are at hand."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cxrlt_cli.config import EvaluateOptions
from cxrlt_cli.engine.reporter import PLURALS, Reporter, counted
from cxrlt_cli.files import write_text
from cxrlt_cli.report import document, page, section, worst
from cxrlt_cli.report.plain_table import Table
from cxrlt_cli.report.reading_tables import points_table, sizes_table
from cxrlt_cli.report.robustness_page import robustness_section
from cxrlt_cli.report.score_texts import is_shown, told_chance, told_threshold, told_without_interval
from cxrlt_cli.report.texts import escape
from cxrlt_cli.scores.judged import Judged
from cxrlt_cli.scores.metrics import Scores
from cxrlt_cli.scores.readings import NUM_FOLDS, Point, operating_points
from cxrlt_cli.scores.robustness import Robustness
from cxrlt_cli.verbs.evaluate_report_films import pictures_of, with_places

if TYPE_CHECKING:
    from cxrlt_cli.engine.heat_map_model import HeatMapModel


def write_report(
    judged: Judged,
    second: Judged | None,
    tables: Sequence[Table],
    perturbed: Robustness | None,
    points: Sequence[Point],
    csv: Path,
    model: "HeatMapModel | None",
    options: EvaluateOptions,
    reporter: Reporter,
) -> None:
    """Write the page; films are shown where ``--image-dir`` or the CSV's folder has them."""
    assert options.report is not None, "asked for"
    mistakes = worst(judged.predictions, judged.truth.targets)
    if not options.per_study:
        mistakes = with_places(mistakes, csv, options)
    pictures = [] if options.per_study else pictures_of(mistakes, csv, judged.truth, model, options, reporter)
    html = page(
        f"{judged.path.name} on {csv.name}",
        _facts(judged.scores, second),
        judged.scores,
        judged.predictions,
        judged.truth.targets,
        frequencies_of="training films" if options.train_csv else "films that are scored",
        notes=[*_policies(judged, csv, model, options), *_notes(judged.scores, options)],
        tables=tables,
        readings=[points_table(points), sizes_table(judged.scores)],
        mistakes=mistakes,
        pictures=pictures,
        more=() if perturbed is None else [robustness_section(perturbed)],
    )
    write_text(options.report, html)
    reporter.result(f"Wrote {options.report}: open it in a browser.")


def points_of(judged: Judged, options: EvaluateOptions) -> list[Point]:
    """Operating points of each finding, where a file takes them."""
    truth = judged.truth
    if (options.json_path is None and options.report is None) or truth.num_patients < NUM_FOLDS:
        return []
    fold = truth.folds(NUM_FOLDS, options.seed)
    predictions = judged.predictions
    return operating_points(truth.targets, predictions.probabilities, truth.patients, fold, predictions.findings)


def write_tables(path: Path, title: str, scores: Scores, tables: Sequence[Table], reporter: Reporter) -> None:
    """Write a page of tables alone."""
    sections = [section(escape(table.title), table.html(), escape(table.note)) for table in tables]
    write_text(path, document(title, _sizes(scores), sections))
    reporter.result(f"Wrote {path}: open it in a browser.")


def _sizes(scores: Scores) -> list[tuple[str, str]]:
    patients = [("patients", f"{scores.num_patients:,}")] if scores.num_patients else []
    return [(PLURALS[scores.unit], f"{scores.num_films:,}"), *patients]


def _facts(scores: Scores, second: Judged | None) -> list[tuple[str, str]]:
    means = scores.macro()
    facts = _sizes(scores)
    number = len(scores.findings) - (len(scores.skipped) if scores.empty == "skip" else 0)
    chances = {"ap": scores.chance_ap() or 0.0, "auroc": 0.5}
    for name, label, bounds in (("ap", "macro AP", scores.ap_ci), ("auroc", "macro AUROC", scores.auroc_ci)):
        value = means[name]
        if value is not None:
            span = f" ({bounds[0]:.3f} to {bounds[1]:.3f})" if bounds else ""
            what = f"{label}, {counted(number, 'finding')}{', 95 % CI' if bounds else ''}; chance {chances[name]:.3f}"
            facts.append((what, f"{value:.3f}{span}"))
    for band, values in scores.band_means().items():
        if values["ap"] is not None:
            facts.append((f"{band} AP", f"{values['ap']:.3f}"))
    if means["ece"] is not None:
        facts.append(("ECE, mean of findings (macro)", f"{means['ece']:.3f}"))
    if scores.ece_flattened is not None:
        facts.append(("ECE, all findings pooled", f"{scores.ece_flattened:.3f}"))
    if scores.comparison is not None and second is not None:
        bounds = scores.comparison.ci
        span = f" ({bounds[0]:+.3f} to {bounds[1]:+.3f})" if bounds else ""
        name = f"macro AP minus that of {second.path.name}{', 95 % CI' if bounds else ''}"
        shown = "" if is_shown(scores.comparison) else ": not significant" if bounds else ""
        facts.append((f"{name}{shown}", f"{scores.comparison.ap_difference:+.3f}{span}"))
    return facts


def _policies(judged: Judged, csv: Path, model: "HeatMapModel | None", options: EvaluateOptions) -> list[str]:
    """How labels were made, the truth's and those that the model learned, and whose heat maps they are; where known."""
    truth = judged.truth
    told = [judged.warning] if judged.warning else []
    if truth.policy:
        told.append(f"Labels of {csv.name}: {truth.policy}.")
    if model is not None and model.policy:
        told.append(f"Labels that {options.checkpoint} was trained on: {model.policy}.")
    if model is not None and (whose := model.told(truth)):
        told.append(whose)
    return told


def _notes(scores: Scores, options: EvaluateOptions) -> list[str]:
    notes = [text for text in (told_chance(scores), told_without_interval(scores)) if text]
    if scores.skipped:
        verb = "count as AP 0" if scores.empty == "zero" else "are left out of the means"
        notes.append(f"Without a positive film: {', '.join(scores.skipped)}; these {verb}.")
    if threshold := told_threshold(options.threshold):
        notes.append(threshold)
    return notes
