"""Findings that nobody labelled: films and sentences to predictions."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
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
from cxrlt_cli.data.loading import Batch, FilmDataset, FilmSource, on_device, ordered_loader
from cxrlt_cli.data.outputs import require_table
from cxrlt_cli.data.table import Texts, read_header, read_labels
from cxrlt_cli.engine.cache import film_sources, keep_films
from cxrlt_cli.engine.films import FilmList
from cxrlt_cli.engine.launch import launch, writing
from cxrlt_cli.engine.partial import PartialCsvs
from cxrlt_cli.engine.phantom import unseen_phantoms
from cxrlt_cli.engine.predict import stretches
from cxrlt_cli.engine.process import Process, encoder_dtype
from cxrlt_cli.engine.prompt_lab import tell_worth
from cxrlt_cli.engine.reporting import Advance, Reporter, counted, duration
from cxrlt_cli.engine.room import require_room_for_table
from cxrlt_cli.errors import DataError, FilmError, ModelError, OptionError, WorkerError, listed
from cxrlt_cli.files import real, require_file
from cxrlt_cli.names import meant
from cxrlt_cli.nets import hub
from cxrlt_cli.nets.clip import DEMONSTRATION, PHANTOM_CLIP, ClipEncoder, load
from cxrlt_cli.predictions import Predictions
from cxrlt_cli.tta import VIEWS

Rows = NDArray[np.int64]
Sentences = Mapping[str, tuple[str, ...]]


def ood(options: OodOptions, reporter: Reporter) -> None:
    """Write a probability of every finding of the prompts for every film of ``--csv``; nothing in a dry run.

    Without ``--csv`` the films are the default phantoms that have the findings of Task 2. Films are scored and written
    a stretch at a time; after a stop, the same command goes on where it was. Where the CSV has labels of a finding, its
    sentences are examined, on all films in one go.
    """
    Process.of(options)
    inputs = (options.csv, options.prompts, *options.exclude)
    require_table(options.out, "--out", inputs)
    if options.report is not None:
        if real(options.report) == real(options.out):
            raise OptionError(f"--report and --out are both {options.out}.", "Give each a file of its own.")
        require_file(options.report, "--report", inputs)
    with writing(options, ("--out", options.out), ("--report", options.report)):
        _ood(options, reporter)


def _ood(options: OodOptions, reporter: Reporter) -> None:
    sentences, anchors = _sentences(options)
    csv = unseen_phantoms(reporter) if options.csv is None else options.csv
    films = FilmList.of(options, csv, reporter)
    truth = _truth(options, films, list(sentences), reporter)
    if options.report is not None and truth is None:
        raise OptionError(f"--report judges sentences, and {csv} has no labels of {listed(list(sentences), 10)}.")
    folder = _folder(options, films)
    if not options.dry_run:
        require_room_for_table("--out", options.out, films.number, len(sentences))
    launch(_score, options, reporter, folder, films, sentences, anchors, truth, options)


def _score(
    process: Process,
    reporter: Reporter,
    folder: Path,
    films: FilmList,
    sentences: Sentences,
    anchors: tuple[str, ...],
    truth: Mapping[str, NDArray[np.float32]] | None,
    options: OodOptions,
) -> None:
    process = replace(process, dtype=encoder_dtype(options.precision, process))
    encoder = load(folder, options.normalization).to(process.device)
    encoder.require_trained()
    cut = [line for lines in sentences.values() for line in lines if encoder.fills(line)]
    if cut:
        limit = encoder.context_length
        reporter.warn(f"As long as the {limit} tokens that the model reads, or cut to them: {listed(cut)}.")
    texts = {name: encoder.encode_prompts(lines).numpy() for name, lines in sentences.items()}
    anchor = encoder.encode_prompts(anchors).numpy() if options.anchor == "normal" else None
    looking = _Looking(encoder.lower(process.dtype), options, process, reporter)
    reporter.plan("Zero-shot scores", _plan(films, folder, sentences, encoder, options, process))
    if folder == PHANTOM_CLIP:
        reporter.warn(f"The model is {DEMONSTRATION}.")
    sizes = stretches(options.batch_size, process)
    if options.dry_run:
        looking.rehearse(films.paths(next(films.stretches(sizes))), films.number, reporter)
        return
    mine = islice(films.path_stretches(), process.rank, None, process.num_processes)
    keep_films(mine, films.number, [encoder.prepare], options, reporter)
    process.collected(None)  # the others have kept their share
    existed = options.out.is_file()
    key = _key(options, films, looking, truth)
    partial = PartialCsvs([options.out], key, options.id_column) if process.is_main else None
    if partial is not None and partial.note:
        reporter.note(partial.note)
    done = process.collected(partial.num_films if partial else 0)[0]
    if done:
        reporter.note(f"Going on after {counted(done, 'film')} that were scored before.")
    cosines: dict[str, list[NDArray[np.float32]]] = {name: [] for name in truth or ()}
    normal: list[NDArray[Any]] = []
    with reporter.progress("Looking", films.number) as advance:
        advance(done)
        for ids in films.stretches(sizes, done):
            images = looking.features(ids, films.paths(ids), advance)
            if partial is None:
                continue
            probabilities = zeroshot.score(images, texts, options.pool, anchor, encoder.temperature)
            partial.append(Predictions(ids, tuple(texts), probabilities))
            for name, stretch in cosines.items():
                stretch.append(images @ texts[name].T)
            none = np.zeros(len(ids))
            normal.append(none if anchor is None else zeroshot.pooled(images @ anchor.T, options.pool))
    looking.tell(reporter)
    if partial is None:
        return
    partial.finish()
    what = f"{counted(films.number, 'film')}, {counted(len(texts), 'finding')}"
    reporter.result(f"{'Replaced' if existed else 'Wrote'} {options.out}: {what}.")
    if truth is not None:
        together = {name: np.concatenate(stretch) for name, stretch in cosines.items()}
        tell_worth(sentences, together, texts, truth, np.concatenate(normal), options, films.csv, folder.name, reporter)


class _Looking:
    """What turns films into features, and keeps them where ``--features`` says."""

    def __init__(self, encoder: ClipEncoder, options: OodOptions, process: Process, reporter: Reporter) -> None:
        self._encoder, self._options, self._process, self._reporter = encoder, options, process, reporter
        self._cache = None if options.features is None else FeatureCache(options.features, self.key())
        self._num_known = 0
        for line in () if self._cache is None else self._cache.told:
            reporter.warn(line)

    def key(self) -> dict[str, Any]:
        """All that decides a film's features."""
        views = [view.name for view in VIEWS[self._options.tta]]
        return {"model": self._encoder.fingerprint, "views": views, "dtype": str(self._process.dtype)}

    def features(self, ids: Texts, paths: Sequence[Path], advance: Advance) -> NDArray[np.float32]:
        """Those of all films ``[N, D]``, to which each process adds its share.

        Raises DataError with every film that could not be read.
        """
        rows = np.arange(self._process.rank, len(paths), self._process.num_processes)
        found: dict[int, NDArray[np.float32]] = {}
        for mine, features in self._seen(rows, ids, paths):
            found.update(zip(mine.tolist(), features, strict=True))
            advance(len(mine) * self._process.num_processes)
        width = self._encoder.width
        own = np.stack([found[row] for row in rows.tolist()]) if len(rows) else np.empty((0, width), np.float32)
        return np.asarray(self._process.gathered(torch.from_numpy(own), len(paths), dim=0))

    def tell(self, reporter: Reporter) -> None:
        if self._cache is not None:
            reporter.note(f"--features {self._options.features} had {counted(self._num_known, 'film')} already.")

    def rehearse(self, paths: Sequence[Path], num_films: int, reporter: Reporter) -> None:
        """One batch, timed; nothing is written."""
        start = time.perf_counter()
        number = sum(len(rows) for rows, _ in self.encoded(np.arange(min(len(paths), self._options.batch_size)), paths))
        left = duration((time.perf_counter() - start) * num_films / number)
        reporter.result(f"Dry run: one batch went through; all films take about {left}. Nothing was written.")

    def _seen(self, rows: Rows, ids: Texts, paths: Sequence[Path]) -> Iterator[tuple[Rows, NDArray[np.float32]]]:
        """Rows and their features: those that are kept, then the others, which are kept from then on."""
        if self._cache is None:
            yield from self.encoded(rows, paths)
            return
        names, files = list(ids), np.full((len(ids), 2), -1, np.int64)
        files[rows] = stamps([paths[row] for row in rows])
        known = self._cache.known([names[row] for row in rows], files[rows])
        self._num_known += int(known.sum())
        yield from self._cache.read(names, rows[known])
        try:
            for mine, features in self.encoded(rows[~known], paths):
                yield mine, self._cache.add([names[row] for row in mine], files[mine], features)
        finally:
            self._cache.flush()

    @cached_property
    def _source(self) -> Callable[[Sequence[Path]], FilmSource]:
        """Asked for when films are kept."""
        return film_sources([self._encoder.prepare], self._options, self._reporter)

    def encoded(self, rows: Rows, paths: Sequence[Path]) -> Iterator[tuple[Rows, NDArray[np.float32]]]:
        chosen = [paths[row] for row in rows]
        dataset = FilmDataset(self._source(chosen))
        workers, pin = self._process.num_workers, self._process.pins
        faults: list[FilmError] = []
        loader = ordered_loader(dataset, batch_size=self._options.batch_size, num_workers=workers, pin=pin)
        for batch in on_device(loader, self._process.device):
            faults.extend(batch.faults)
            if batch.films:
                yield rows[batch.indices.numpy()], self.encode(batch)
        if faults:
            raise report_faults(faults, len(rows))

    def encode(self, batch: Batch) -> NDArray[np.float32]:
        """Features ``[n, D]`` of a batch; of several views of a film the mean, brought back to length 1."""
        (films,) = batch.films
        levels = films.float()
        seen = [self._encoder.encode_images(view.apply(levels)) for view in VIEWS[self._options.tta]]
        features = normalize(torch.stack(seen).mean(dim=0), dim=1).cpu()
        if not torch.isfinite(features).all():
            raise WorkerError("The encoder gives features that are no finite numbers.", "Pass --precision fp32.")
        return np.asarray(features)


def _plan(
    films: FilmList, folder: Path, sentences: Sentences, encoder: ClipEncoder, options: OodOptions, process: Process
) -> dict[str, str]:
    number, views = sum(map(len, sentences.values())), len(VIEWS[options.tta])
    return {
        "films": f"{films.number:,} of {films.csv}",
        "model": DEMONSTRATION if folder == PHANTOM_CLIP else str(folder),
        "findings": f"{', '.join(sentences)}, by {counted(number, 'sentence')} of up to "
        f"{encoder.context_length} tokens",
        "score": f"{options.pool} of the cosines, anchor {options.anchor}"
        + (f", {counted(views, 'view')} of a film" if views > 1 else ""),
        "process": str(process),
        "out": str(options.out),
    }


def _key(options: OodOptions, films: FilmList, looking: _Looking, truth: object) -> dict[str, object]:
    """All that decides what is written. Where sentences are judged, that is done on all films in one go."""
    prompted = None if options.prompts is None else options.prompts.read_text(encoding="utf-8")
    chosen = [
        options.pool,
        options.anchor,
        options.findings,
        prompted,
        options.max_pixels,
        options.features is not None,
    ]
    once = None if truth is None else time.time_ns()
    return {"model": looking.key(), "films": films.to_json(), "options": chosen, "once": once}


def _sentences(options: OodOptions) -> tuple[Sentences, tuple[str, ...]]:
    """The sentences of each finding to score, and those of the anchor."""
    known = prompts.read(options.prompts)
    findings = options.findings or tuple(known.findings)
    unknown = [name for name in findings if name not in known.findings]
    if unknown:
        told = f"--findings: no sentence describes {listed(unknown)}.{meant(unknown[0], known.findings)}"
        raise OptionError(told, "Describe it in a file for --prompts.")
    if options.id_column in findings:
        raise OptionError(f"The prompts have a finding '{options.id_column}', as the ids' column is called.")
    if options.anchor == "normal" and not known.anchors:
        raise OptionError("--anchor normal: the prompts have no 'anchors:'.", "Add sentences on a normal film.")
    return {name: known.findings[name] for name in findings}, known.anchors


def _truth(
    options: OodOptions, films: FilmList, findings: Sequence[str], reporter: Reporter
) -> dict[str, NDArray[np.float32]] | None:
    """The labels ``[N]`` of the findings that the CSV has columns of; None where it has none."""
    columns = read_header(films.csv)
    named = [name for name in findings if name in columns]
    if not named:
        return None
    names = {"id_column": options.id_column, "patient_column": options.patient_column}
    try:
        table = read_labels(films.csv, **names, findings=named, needs_patients=False)
    except DataError as error:
        if options.report is not None:
            raise
        reporter.note(f"Sentences are not judged: {error.message}")
        return None
    targets = table.without(films.excluded).targets
    return {name: targets[:, column] for column, name in enumerate(named)}


def _folder(options: OodOptions, films: FilmList) -> Path:
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
            if films.are_phantoms:
                return PHANTOM_CLIP
            raise
    if name == hub.WHYXRAYCLIP.name or name.startswith(hub.HUB):
        return hub.resolve(hub.find(name))
    return Path(name)
