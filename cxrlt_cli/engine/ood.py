"""Findings that nobody labelled: films and sentences to predictions."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import normalize

from cxrlt_cli import prompts, zeroshot
from cxrlt_cli.config import OodOptions
from cxrlt_cli.data.features import FeatureCache, stamps
from cxrlt_cli.data.image import report_faults
from cxrlt_cli.data.loading import Batch, FilmDataset, ordered_loader
from cxrlt_cli.data.table import Texts, read_csv, read_labels
from cxrlt_cli.engine.infer import films_to_predict, write
from cxrlt_cli.engine.phantom import shows_phantoms, unseen_phantoms
from cxrlt_cli.engine.process import Process, encoder_dtype
from cxrlt_cli.engine.prompt_lab import tell_worth
from cxrlt_cli.engine.reporting import Advance, Reporter, counted, duration
from cxrlt_cli.errors import DataError, FilmError, ModelError, OptionError, WorkerError, listed
from cxrlt_cli.files import require_file
from cxrlt_cli.nets import hub
from cxrlt_cli.nets.clip import DEMONSTRATION, PHANTOM_CLIP, ClipEncoder, load
from cxrlt_cli.predictions import Predictions
from cxrlt_cli.tta import VIEWS

Rows = NDArray[np.int64]


def ood(options: OodOptions, reporter: Reporter) -> Predictions | None:
    """Write a probability of every finding of the prompts for every film of ``--csv``; None after a dry run.

    Without ``--csv`` the films are the default phantoms that have the findings of Task 2. Where the CSV has labels of a
    finding, its sentences are examined.
    """
    process = Process.of(options)
    require_file(options.out, "--out", (options.csv, options.prompts, *options.exclude))
    if options.report is not None:
        if options.report.resolve() == options.out.resolve():
            raise OptionError(f"--report and --out are both {options.out}.", "Give each a file of its own.")
        require_file(options.report, "--report", (options.csv, options.prompts, *options.exclude))
    sentences = _sentences(options)
    csv = unseen_phantoms(reporter) if options.csv is None else options.csv
    ids, paths = films_to_predict(options, csv, reporter)
    truth = _truth(options, csv, list(sentences), ids, reporter)
    if options.report is not None and truth is None:
        raise OptionError(f"--report judges sentences, and {csv} has no labels of {listed(list(sentences), 10)}.")
    folder = _folder(options, shows_phantoms(paths))
    encoder = load(folder, options.normalization).to(process.device)
    encoder.require_trained()
    cut = [line for lines in sentences.values() for line in lines if encoder.fills(line)]
    if cut:
        reporter.warn(
            f"Longer than the {encoder.context_length} tokens that the model reads, or as long: {listed(cut)}."
        )
    texts = {name: encoder.encode_prompts(lines).numpy() for name, lines in sentences.items()}
    anchors = prompts.read(options.prompts).anchors
    anchor = encoder.encode_prompts(anchors).numpy() if options.anchor == "normal" else None
    process = replace(process, dtype=encoder_dtype(options.precision, process))
    encoder.lower(process.dtype)
    films = _Films(ids, paths, encoder, options, process)
    number = sum(map(len, sentences.values()))
    reporter.plan(
        "Zero-shot scores",
        {
            "films": f"{len(paths):,} of {csv}",
            "model": DEMONSTRATION if folder == PHANTOM_CLIP else str(folder),
            "findings": f"{', '.join(sentences)}, by {counted(number, 'sentence')} of up to "
            f"{encoder.context_length} tokens",
            "score": f"{options.pool} of the cosines, anchor {options.anchor}"
            + (f", {counted(len(VIEWS[options.tta]), 'view')} of a film" if len(VIEWS[options.tta]) > 1 else ""),
            "process": str(process),
            "out": str(options.out),
        },
    )
    if folder == PHANTOM_CLIP:
        reporter.warn(f"The model is {DEMONSTRATION}.")
    if options.dry_run:
        _rehearse(films, reporter)
        return None
    probabilities = np.empty((len(ids), len(texts)))
    cosines = None if truth is None else {name: np.empty((len(ids), len(texts[name])), np.float32) for name in truth}
    normal = np.zeros(len(ids))
    with reporter.progress("Looking", len(paths)) as advance:
        for rows, images in films.features(advance, reporter):
            probabilities[rows] = zeroshot.score(images, texts, options.pool, anchor, encoder.temperature)
            if anchor is not None:
                normal[rows] = zeroshot.pooled(images @ anchor.T, options.pool)
            for name, mine in (cosines or {}).items():
                mine[rows] = images @ texts[name].T
    predictions = Predictions(ids, tuple(texts), probabilities)
    write(predictions, options.out, options.id_column, reporter)
    if truth is not None and cosines is not None:
        tell_worth(sentences, cosines, texts, truth, normal, options, csv, str(folder.name), reporter)
    return predictions


@dataclass(frozen=True)
class _Films:
    """Films, and what turns them into features."""

    ids: Texts
    paths: Sequence[Path]
    encoder: ClipEncoder
    options: OodOptions
    process: Process

    def features(self, advance: Advance, reporter: Reporter) -> Iterator[tuple[Rows, NDArray[np.float32]]]:
        """Rows and their features ``[n, D]``: those that ``--features`` has, then the others, which it is given.

        Raises DataError with every film that could not be read.
        """
        everything = np.arange(len(self.paths))
        if self.options.features is None:
            yield from self._encoded(everything, advance)
            return
        cache = FeatureCache(self.options.features, self._key())
        ids, files = list(self.ids), stamps(self.paths)
        known = cache.known(ids, files)
        reporter.note(f"--features {self.options.features} has {known.sum():,} of {counted(len(ids), 'film')}.")
        for rows, features in cache.read(ids, everything[known]):
            advance(len(rows))
            yield rows, features
        try:
            for rows, features in self._encoded(everything[~known], advance):
                yield rows, cache.add([ids[row] for row in rows], files[rows], features)
        finally:
            cache.flush()

    def batches(self, rows: Rows) -> Any:
        dataset = FilmDataset(
            [self.paths[row] for row in rows], [self.encoder.prepare], None, self.options.max_pixels
        )  # fmt: skip
        workers, pin = self.process.num_workers, self.process.pins
        return ordered_loader(dataset, batch_size=self.options.batch_size, num_workers=workers, pin=pin)

    def encode(self, batch: Batch) -> NDArray[np.float32]:
        """Features ``[n, D]`` of a batch; of several views of a film the mean, brought back to length 1."""
        (films,) = batch.films
        levels = films.to(self.process.device).float()
        seen = [self.encoder.encode_images(view.apply(levels)) for view in VIEWS[self.options.tta]]
        features = normalize(torch.stack(seen).mean(dim=0), dim=1).cpu()
        if not torch.isfinite(features).all():
            raise WorkerError("The encoder gives features that are no finite numbers.", "Pass --precision fp32.")
        return np.asarray(features)

    def _encoded(self, rows: Rows, advance: Advance) -> Iterator[tuple[Rows, NDArray[np.float32]]]:
        faults: list[FilmError] = []
        for batch in self.batches(rows):
            faults.extend(batch.faults)
            if batch.films:
                yield rows[batch.indices.numpy()], self.encode(batch)
            advance(len(batch.indices) + len(batch.faults))
        if faults:
            raise report_faults(faults, len(rows))

    def _key(self) -> dict[str, Any]:
        views = [view.name for view in VIEWS[self.options.tta]]
        return {"model": self.encoder.fingerprint, "views": views, "dtype": str(self.process.dtype)}


def _rehearse(films: _Films, reporter: Reporter) -> None:
    """One batch, timed; nothing is written."""
    start = time.perf_counter()
    (batch,) = islice(films.batches(np.arange(len(films.paths))), 1)
    if batch.faults:
        raise report_faults(batch.faults, len(batch.indices) + len(batch.faults))
    films.encode(batch)
    seconds = (time.perf_counter() - start) * len(films.paths) / len(batch.indices)
    reporter.result(f"Dry run: one batch went through; all films take about {duration(seconds)}. Nothing was written.")


def _sentences(options: OodOptions) -> Mapping[str, tuple[str, ...]]:
    """The sentences of each finding to score."""
    known = prompts.read(options.prompts)
    findings = options.findings or tuple(known.findings)
    unknown = [name for name in findings if name not in known.findings]
    if unknown:
        hint = "Describe it in a file for --prompts."
        raise OptionError(f"--findings: no sentence describes {listed(unknown)}.", hint)
    if options.id_column in findings:
        raise OptionError(f"The prompts have a finding '{options.id_column}', as the ids' column is called.")
    if options.anchor == "normal" and not known.anchors:
        raise OptionError("--anchor normal: the prompts have no 'anchors:'.", "Add sentences on a normal film.")
    return {name: known.findings[name] for name in findings}


def _truth(
    options: OodOptions, csv: Path, findings: Sequence[str], ids: Texts, reporter: Reporter
) -> dict[str, NDArray[np.float32]] | None:  # fmt: skip
    """The labels ``[N]`` of the findings that the CSV has columns of; None where it has none."""
    columns = read_csv(csv).columns
    named = [name for name in findings if name in columns]
    if not named:
        return None
    try:
        table = read_labels(
            csv,
            id_column=options.id_column,
            patient_column=options.patient_column,
            findings=named,
            needs_patients=False,
        )
    except DataError as error:
        if options.report is not None:
            raise
        reporter.note(f"Sentences are not judged: {error.message}")
        return None
    row = {film: index for index, film in enumerate(table.ids)}
    targets = table.targets[[row[film] for film in ids]]
    return {name: targets[:, column] for column, name in enumerate(named)}


def _folder(options: OodOptions, of_phantoms: bool) -> Path:
    """The folder of ``--model``; raises ModelError where the model cannot be had."""
    name = options.model
    if Path(name).is_dir():
        return Path(name)
    if name == "phantom-clip":
        return PHANTOM_CLIP
    if name == "auto":
        try:
            return hub.resolve(hub.WHYXRAYCLIP)
        except ModelError:
            if of_phantoms:
                return PHANTOM_CLIP
            raise
    if name == hub.WHYXRAYCLIP.name or name.startswith(hub.HUB):
        return hub.resolve(hub.find(name))
    return Path(name)
