"""The report of ``cxrlt evaluate``: scores to a page, with thumbnails and attention where films are at hand."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.config import EvaluateOptions
from cxrlt_cli.data.image import read_film
from cxrlt_cli.data.table import LabelTable
from cxrlt_cli.data.thumbnails import data_uri, overlaid, thumbnail
from cxrlt_cli.engine.films import image_folder
from cxrlt_cli.engine.reporting import Reporter
from cxrlt_cli.errors import DataError
from cxrlt_cli.files import write_text
from cxrlt_cli.metrics import Scores
from cxrlt_cli.predictions import Predictions
from cxrlt_cli.report import Mistake, Picture, page, worst


def write_report(
    path: Path,
    title: str,
    scores: Scores,
    predictions: Predictions,
    truth: LabelTable,
    csv: Path,
    options: EvaluateOptions,
    reporter: Reporter,
) -> None:
    """Write the page; films are shown where ``--image-dir`` or the CSV's folder has them."""
    mistakes = worst(predictions, truth.targets)
    pictures = _pictures(mistakes, csv, truth, options, reporter)
    html = page(
        title, _facts(scores), scores, predictions, truth.targets, mistakes=mistakes, pictures=pictures
    )  # fmt: skip
    write_text(path, html)
    reporter.result(f"Wrote {path}: open it in a browser.")


def _facts(scores: Scores) -> list[tuple[str, str]]:
    means = scores.macro()
    facts = [("films", f"{scores.num_films:,}")]
    if scores.num_patients:
        facts.append(("patients", f"{scores.num_patients:,}"))
    for name, label, bounds in (("ap", "macro AP", scores.ap_ci), ("auroc", "macro AUROC", scores.auroc_ci)):
        value = means[name]
        if value is not None:
            span = f" ({bounds[0]:.3f} to {bounds[1]:.3f})" if bounds else ""
            facts.append((label + (" (95 %)" if bounds else ""), f"{value:.3f}{span}"))
    facts += [(f"{band} AP", f"{value['ap']:.3f}") for band, value in scores.band_means().items() if value["ap"]]
    if scores.ece_flattened is not None:
        facts.append(("calibration error", f"{scores.ece_flattened:.3f}"))
    if scores.comparison is not None:
        facts.append(("AP above the second", f"{scores.comparison.ap_difference:+.3f}"))
    return facts


def _pictures(
    mistakes: Sequence[Mistake], csv: Path, truth: LabelTable, options: EvaluateOptions, reporter: Reporter
) -> list[Picture]:
    """The films of the mistakes; none where the folder is not told and not beside the CSV."""
    try:
        folder = image_folder(csv, options.image_dir, truth.ids)
    except DataError:
        reporter.note("The report has no films: pass their folder with --image-dir.")
        return []
    films = {mistake.film: read_film(folder / mistake.film) for mistake in mistakes}
    attention = None if options.checkpoint is None else _attention(options.checkpoint, films)
    pictures = []
    for mistake in mistakes:
        small = thumbnail(films[mistake.film])
        overlay = None
        if attention is not None and mistake.finding in attention[mistake.film]:
            overlay = data_uri(overlaid(small, attention[mistake.film][mistake.finding]))
        pictures.append(Picture(mistake, data_uri(small), overlay))
    if attention is None:
        reporter.note("The report shows films without attention: pass the model with --checkpoint.")
    return pictures


def _attention(path: Path, films: dict[str, NDArray[np.uint8]]) -> dict[str, dict[str, NDArray[Any]]]:
    """Where a model looked for each finding on each film, ``[H, W]``; raises OptionError where its head has none."""
    import torch

    from cxrlt_cli.nets.classifier import load

    model = load(path)
    maps = {}
    with torch.inference_mode():
        for name, film in films.items():
            levels = torch.from_numpy(np.ascontiguousarray(model.preprocessing(film)))[None, None]
            _, attention = model.attend(model.normalize(levels))
            maps[name] = dict(zip(model.findings, attention[0].numpy(), strict=True))
    return maps
