"""The report of ``cxrlt evaluate``: scores to a page, with thumbnails and attention where films are at hand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.config import EvaluateOptions
from cxrlt_cli.data.image import read_film
from cxrlt_cli.data.thumbnails import data_uri, overlaid, thumbnail
from cxrlt_cli.engine.films import finder
from cxrlt_cli.engine.reporter import Reporter, counted
from cxrlt_cli.errors import DataError, FilmError
from cxrlt_cli.files import write_text
from cxrlt_cli.report import Mistake, Picture, page, worst
from cxrlt_cli.scores.metrics import Scores
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.tables.label_table import LabelTable

if TYPE_CHECKING:
    from cxrlt_cli.nets.checkpoints import Checkpoint


@dataclass(frozen=True)
class Judged:
    """Predictions and truth for the same films and findings, and how they agree."""

    path: Path
    predictions: Predictions
    truth: LabelTable
    scores: Scores


def write_report(
    judged: Judged,
    second: Judged | None,
    groups: Mapping[str, Scores],
    csv: Path,
    model: "Checkpoint | None",
    options: EvaluateOptions,
    reporter: Reporter,
) -> None:
    """Write the page; films are shown where ``--image-dir`` or the CSV's folder has them."""
    assert options.report is not None, "asked for"
    mistakes = worst(judged.predictions, judged.truth.targets)
    pictures = _pictures(mistakes, csv, judged.truth, model, options, reporter)
    html = page(
        f"{judged.path.name} on {csv.name}",
        _facts(judged.scores, second),
        judged.scores,
        judged.predictions,
        judged.truth.targets,
        frequencies_of="training films" if options.train_csv else "films that are scored",
        notes=[*_policies(judged.truth, csv, model, options), *_notes(judged.scores, options)],
        groups=groups,
        mistakes=mistakes,
        pictures=pictures,
    )
    write_text(options.report, html)
    reporter.result(f"Wrote {options.report}: open it in a browser.")


def _facts(scores: Scores, second: Judged | None) -> list[tuple[str, str]]:
    means = scores.macro()
    facts = [("films", f"{scores.num_films:,}")]
    if scores.num_patients:
        facts.append(("patients", f"{scores.num_patients:,}"))
    number = len(scores.findings) - (len(scores.skipped) if scores.empty == "skip" else 0)
    for name, label, bounds in (("ap", "macro AP", scores.ap_ci), ("auroc", "macro AUROC", scores.auroc_ci)):
        value = means[name]
        if value is not None:
            span = f" ({bounds[0]:.3f} to {bounds[1]:.3f})" if bounds else ""
            facts.append((f"{label}, {counted(number, 'finding')}{', 95 %' if bounds else ''}", f"{value:.3f}{span}"))
    for band, values in scores.band_means().items():
        if values["ap"] is not None:
            facts.append((f"{band} AP", f"{values['ap']:.3f}"))
    if scores.ece_flattened is not None:
        facts.append(("ECE, all pairs together", f"{scores.ece_flattened:.3f}"))
    if scores.comparison is not None and second is not None:
        bounds = scores.comparison.ci
        span = f" ({bounds[0]:+.3f} to {bounds[1]:+.3f})" if bounds else ""
        facts.append((f"macro AP above {second.path.name}", f"{scores.comparison.ap_difference:+.3f}{span}"))
    return facts


def _policies(truth: LabelTable, csv: Path, model: "Checkpoint | None", options: EvaluateOptions) -> list[str]:
    """By which rules labels were made, where it is known: those of the truth, and those that the model learned."""
    told = [f"Labels of {csv.name}: {truth.policy}."] if truth.policy else []
    if model is not None and model.policy:
        told.append(f"Labels that {options.checkpoint} was trained on: {model.policy}.")
    return told


def _notes(scores: Scores, options: EvaluateOptions) -> list[str]:
    notes = []
    if scores.skipped:
        verb = "count as AP 0" if scores.empty == "zero" else "are left out of the means"
        notes.append(f"Without a positive film: {', '.join(scores.skipped)}; these {verb}.")
    if options.threshold == "best":
        notes.append("F1 is at the threshold that is best on these very films, so it is too good.")
    return notes


def _pictures(
    mistakes: Sequence[Mistake],
    csv: Path,
    truth: LabelTable,
    model: "Checkpoint | None",
    options: EvaluateOptions,
    reporter: Reporter,
) -> list[Picture]:
    """The films of the mistakes that can be read; none where the folder is not told and not beside the CSV."""
    try:
        names = list(dict.fromkeys(mistake.film for mistake in mistakes))
        where = finder(csv, options.image_dir, list(map(str, truth.ids)), "follow", reporter.progress)
        found = where.find(lambda: [names])
    except DataError:
        reporter.note("The report has no films: pass their folder with --image-dir.")
        return []
    for fault in found.faults():
        reporter.warn(f"Not in the report: {fault}.")
    lost = found.lost
    films = {}
    for name in names:
        try:
            if name not in lost:
                films[name] = read_film(found.naming.path(name))
        except FilmError as error:
            reporter.warn(f"Not in the report: {error}.")
    attention = None if model is None or options.checkpoint is None else _attention(model, options.checkpoint, films)
    pictures = []
    for mistake in mistakes:
        if mistake.film in films:
            small = thumbnail(films[mistake.film])
            overlay = None
            if attention is not None and mistake.finding in attention[mistake.film]:
                overlay = data_uri(overlaid(small, attention[mistake.film][mistake.finding]))
            pictures.append(Picture(mistake, data_uri(small), overlay))
    if attention is None:
        reporter.note("The report shows films without attention: pass the model with --checkpoint.")
    return pictures


def _attention(
    checkpoint: "Checkpoint", path: Path, films: dict[str, NDArray[np.uint8]]
) -> dict[str, dict[str, NDArray[Any]]]:
    """Where a model looked for each finding on each film, ``[H, W]``; raises OptionError where its head has none."""
    import torch

    from cxrlt_cli.nets.classifier import from_checkpoint

    model = from_checkpoint(checkpoint, path)
    maps = {}
    with torch.inference_mode():
        for name, film in films.items():
            levels = torch.from_numpy(np.ascontiguousarray(model.preprocessing(film)))[None, None]
            _, attention = model.attend(model.normalize(levels))
            maps[name] = dict(zip(model.findings, attention[0].numpy(), strict=True))
    return maps
