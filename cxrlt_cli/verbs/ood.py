"""Findings that nobody labelled: films and sentences to predictions."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli import prompts
from cxrlt_cli.config import OodOptions
from cxrlt_cli.engine.default_films import unseen_phantoms
from cxrlt_cli.engine.disk_space import require_room_for_table
from cxrlt_cli.engine.encode import ImageEncoder
from cxrlt_cli.engine.film_facts import FilmFacts
from cxrlt_cli.engine.films import FilmList
from cxrlt_cli.engine.folder_films import FolderFilms, takes_folder
from cxrlt_cli.engine.launch import launch, prepared_once
from cxrlt_cli.engine.next_step import tell_next, tell_scoring, typed
from cxrlt_cli.engine.partial import table, write_predictions
from cxrlt_cli.engine.predict import stretches
from cxrlt_cli.engine.process import Process, encoder_dtype
from cxrlt_cli.engine.reporter import Advance, Reporter, counted
from cxrlt_cli.engine.sharding import films_of_shard, named_by_shard, told_of_parts
from cxrlt_cli.engine.sources import keep_films
from cxrlt_cli.engine.topology import lock_outputs_once
from cxrlt_cli.errors import DataError, ModelError, OptionError, listed
from cxrlt_cli.files import real, require_file
from cxrlt_cli.names import meant
from cxrlt_cli.nets import hub
from cxrlt_cli.nets.clip import DEMONSTRATION, PHANTOM_CLIP, ClipEncoder, load
from cxrlt_cli.scores import zeroshot
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.tables.label_table import Texts, read_header, read_labels
from cxrlt_cli.tables.outputs import require_table
from cxrlt_cli.tta import VIEWS
from cxrlt_cli.verbs.ood_report import report_prompts

Sentences = Mapping[str, tuple[str, ...]]


@prepared_once
def ood(options: OodOptions, reporter: Reporter) -> None:
    """Write a probability of every finding of the prompts for every film; nothing in a dry run.

    Without ``--csv`` and a folder the films are the default phantoms that have the findings of Task 2. Films are scored
    and written a stretch at a time; after a stop, the same command goes on where it was. Where the CSV has labels of a
    finding, its sentences are examined, on all films in one go.
    """
    Process.of(options)
    options = named_by_shard(options)
    inputs = (options.csv, *options.films, options.prompts, *options.exclude)
    require_table(options.out, "--out", inputs)
    if options.report is not None:
        if real(options.report) == real(options.out):
            raise OptionError(f"--report and --out are both {options.out}.", "Give each a file of its own.")
        require_file(options.report, "--report", inputs)
    with lock_outputs_once(options, ("--out", options.out), ("--report", options.report)):
        _ood(options, reporter)


def _ood(options: OodOptions, reporter: Reporter) -> None:
    sentences, anchors = _sentences(options)
    csv = None if takes_folder(options, options.films) else options.csv or unseen_phantoms(reporter)
    films = films_of_shard(options, options.shard, options.films, csv, reporter)
    facts = FilmFacts.of(options, films, options.dicom_columns)
    truth = _truth(options, films, list(sentences), reporter)
    if options.report is not None and truth is None:
        raise OptionError(
            f"--report judges sentences, and {films.source} has no labels of {listed(list(sentences), 10)}."
        )
    folder = _folder(options, films)
    if not options.dry_run:
        require_room_for_table("--out", options.out, films.number, len(sentences))
    launch(_score, options, reporter, folder, films, facts, sentences, anchors, truth, options)


def _score(
    process: Process,
    reporter: Reporter,
    folder: Path,
    films: FilmList,
    facts: FilmFacts,
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
        reporter.warn(f"Cut to (or exactly) the {limit} tokens that the model reads: {listed(cut)}.")
    texts = {name: encoder.encode_prompts(lines).numpy() for name, lines in sentences.items()}
    anchor = encoder.encode_prompts(anchors).numpy() if options.anchor == "normal" else None
    images = ImageEncoder(encoder.lower(process.dtype), options, process, reporter)
    reporter.plan("Zero-shot scores", _plan(films, folder, sentences, encoder, options, process))
    if folder == PHANTOM_CLIP:
        reporter.warn(f"The model is {DEMONSTRATION}.")
    sizes = stretches(options.batch_size, process)
    if options.dry_run:
        images.rehearse(films.paths(next(films.stretches(sizes))), films.number)
        return
    mine = islice(films.path_stretches(), process.rank, None, process.num_processes)
    keep_films(mine, films.number, [encoder.prepare], options, reporter)
    process.collected(None)  # the others have kept their share
    cosines: dict[str, list[NDArray[np.float32]]] = {name: [] for name in truth or ()}
    normal: list[NDArray[Any]] = []

    def encoded(ids: Texts, advance: Advance) -> NDArray[np.float32]:
        return images.features(ids, films.paths(ids), advance)

    def scored(ids: Texts, features: NDArray[np.float32], first: bool) -> list[bytes]:
        for name, stretch in cosines.items():
            stretch.append(features @ texts[name].T)
        if truth is not None:
            none = np.zeros(len(ids))
            normal.append(none if anchor is None else zeroshot.pooled(features @ anchor.T, options.pool))
        probabilities = zeroshot.score(features, texts, options.pool, anchor, encoder.temperature)
        predictions = facts.added(Predictions(ids, tuple(texts), probabilities), reporter)
        return [predictions.to_csv(options.id_column, header=first).encode()]

    key = _key(options, films, images, truth)
    out = table(options.out, counted(len(texts), "finding"), options.id_column)
    write_predictions([out], key, films, sizes, encoded, scored, process, reporter)
    images.report_cached()
    if options.shard is not None:
        reporter.note(told_of_parts(options.out, options.shard))
    if truth is not None and process.is_main:
        together = {name: np.concatenate(cosines.pop(name)) for name in list(cosines)}
        report_prompts(
            sentences, together, texts, truth, np.concatenate(normal), options, films.source, folder.name, reporter
        )
    if process.is_main and options.shard is None:
        told = tell_scoring(reporter, options, texts, not isinstance(films, FolderFilms))
        if not told and options.csv is not None:
            given = typed(options, ("csv", "image_dir", "id_column", "where", "exclude"))
            tell_next(reporter, "ensemble", "CHECKPOINT", options.out, *given, "--union", "--out", "UNION.csv")


def _plan(
    films: FilmList, folder: Path, sentences: Sentences, encoder: ClipEncoder, options: OodOptions, process: Process
) -> dict[str, str]:
    number, views = sum(map(len, sentences.values())), len(VIEWS[options.tta])
    return {
        "films": f"{films.number:,} of {films.source}",
        "model": DEMONSTRATION if folder == PHANTOM_CLIP else str(folder),
        "findings": f"{', '.join(sentences)}, by {counted(number, 'sentence')} of up to "
        f"{encoder.context_length} tokens",
        "score": f"{options.pool} of the cosines, anchor {options.anchor}"
        + (f", {counted(views, 'view')} of a film" if views > 1 else ""),
        "process": str(process),
        "out": str(options.out),
    }


def _key(options: OodOptions, films: FilmList, images: ImageEncoder, truth: object) -> dict[str, object]:
    """All that decides what is written. Where sentences are judged, that is done on all films in one go."""
    prompted = None if options.prompts is None else options.prompts.read_text(encoding="utf-8")
    chosen = [
        options.pool,
        options.anchor,
        options.findings,
        prompted,
        options.max_pixels,
        options.features is not None,
        options.dicom_columns,
    ]
    once = None if truth is None else time.time_ns()
    return {"model": images.key(), "films": films.to_json(), "options": chosen, "once": once}


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
    most = zeroshot.top_number(options.pool) or 0
    if fewer := [name for name in findings if len(known.findings[name]) < most]:
        raise OptionError(f"--pool {options.pool}: {listed(fewer)} have fewer sentences.", "Pass a smaller K, or mean.")
    if options.anchor == "normal" and not known.anchors:
        raise OptionError("--anchor normal: the prompts have no 'anchors:'.", "Add sentences on a normal film.")
    return {name: known.findings[name] for name in findings}, known.anchors


def _truth(
    options: OodOptions, films: FilmList, findings: Sequence[str], reporter: Reporter
) -> dict[str, NDArray[np.float32]] | None:
    """The labels ``[N]`` of the findings that the CSV has columns of; None where there are none."""
    if isinstance(films, FolderFilms):
        return None
    columns = read_header(films.source)
    named = [name for name in findings if name in columns]
    if not named:
        return None
    if options.shard is not None:
        reporter.note("Sentences are not evaluated with --shard, because that needs all films.")
        return None
    try:
        table = read_labels(
            films.source,
            id_column=options.id_column,
            patient_column=options.patient_column,
            findings=named,
            needs_patients=False,
            chosen=films.chosen,
        )
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
