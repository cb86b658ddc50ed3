"""``cxrlt data check``: what is wrong with films, labels and submissions, before a run finds out."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd

from cxrlt_cli.config import DataCheckOptions
from cxrlt_cli.data.film_checks import LONG, SMALL, Look, look_at, near_pairs
from cxrlt_cli.data.finder import Finder, Found
from cxrlt_cli.data.headers import may_be_dicom
from cxrlt_cli.data.listing import ending_of
from cxrlt_cli.engine.chosen_rows import chosen_rows
from cxrlt_cli.engine.film_folder import finder
from cxrlt_cli.engine.folder_films import look_through, others_among, takes_folder, told_reasons
from cxrlt_cli.engine.locks import lock_outputs
from cxrlt_cli.engine.next_step import ROWS, tell_next, typed
from cxrlt_cli.engine.reporter import Reporter, counted, tell_corrections, tell_needless
from cxrlt_cli.errors import DataError, FilmError, OptionError, listed, missing_column
from cxrlt_cli.files import real, require_file, write_text
from cxrlt_cli.machine import num_cores
from cxrlt_cli.names import fault_of_id
from cxrlt_cli.tables.columns import Column, judged_columns
from cxrlt_cli.tables.corrections import read_corrections
from cxrlt_cli.tables.known_headers import naming_import
from cxrlt_cli.tables.label_table import read_csv, read_exclusions
from cxrlt_cli.tables.outputs import require_table, write_table
from cxrlt_cli.tables.values import patient_of
from cxrlt_cli.verbs.data_check_labels import (
    SPLIT,
    Fault,
    ages,
    between,
    between_parts,
    breaking,
    doubtful,
    labels,
    rows,
    submission,
    training,
    vocabulary,
)

LATERAL, FRONTAL = "lateral views by their DICOM tags", "Models of frontal films are unreliable on them."


def check(options: DataCheckOptions, reporter: Reporter) -> None:
    """Tell every fault in one table; raises DataError, after that, where one would break a run."""
    if not takes_folder(options, options.films) and options.csv is None:
        raise OptionError("--csv is missing.", "It lists the films to check. Or pass their folder: --image-dir.")
    inputs = (options.csv, *options.films, options.submission, *options.against, *options.exclude)
    if options.json_path is not None:
        require_file(options.json_path, "--json", inputs)
    if options.fix is not None:
        require_table(options.fix, "--fix", inputs)
        if options.json_path is not None and real(options.json_path) == real(options.fix):
            raise OptionError(f"--json and --fix are both {options.fix}.", "Give each a file of its own.")
    tell_needless(reporter, options, ["cache"], "films are checked unchanged")
    with lock_outputs(("--json", options.json_path), ("--fix", options.fix)):
        _check(options, reporter)


def _check(options: DataCheckOptions, reporter: Reporter) -> None:
    if options.csv is None:
        _check_folder(options, reporter)
        return
    whole = read_csv(options.csv)
    with naming_import(options.csv, list(whole.columns)):
        _check_rows(whole, options, reporter)


def _check_rows(whole: pd.DataFrame, options: DataCheckOptions, reporter: Reporter) -> None:
    assert options.csv is not None, "it was read"
    frame = chosen_rows(options, options.csv, options.split, reporter).rows_of(whole, options.csv)
    if options.id_column not in frame.columns:
        raise missing_column(options.csv, options.id_column, list(frame.columns))
    excluded = read_exclusions(options.exclude, options.id_column)
    frame, whole = (one[~one[options.id_column].isin(list(excluded))] for one in (frame, whole))
    csvs = [options.csv, *options.against]
    corrections = read_corrections(options.corrections, options.id_column, options.patient_column, csvs)
    frame, corrected = corrections.put_in(frame, options.id_column)
    tell_corrections(reporter, len(corrections), corrected)
    columns = judged_columns(frame, (options.id_column, options.patient_column), options.findings)
    names = [column.name for column in columns if column.kind == "finding"]
    ignored = [column for column in columns if column.kind != "finding"]
    to_train = bool(names) and options.submission is None
    faults = [*rows(frame, options, to_train=to_train), *labels(frame, columns, options), *ages(frame, options)]
    faults += between_parts(whole, options)
    for other in options.against:
        faults += between(frame, names, other, excluded, options)
    for val_csv in (options.against or (None,)) if to_train and len(frame) else ():
        faults += training(options, val_csv, faults)
    if options.checkpoint is not None:
        faults += vocabulary(names, options.checkpoint, reporter)
    if options.submission is not None:
        faults += submission(frame, options.submission, options)
    if ignored:
        reporter.note(f"Columns of {options.csv} that are not read as findings: {listed(ignored, 40)}.")
    if options.patient_column in frame.columns:
        frame = frame.assign(**{options.patient_column: frame[options.patient_column].map(patient_of)})
    if len(frame):
        faults += _films(frame, options, reporter)
    else:
        faults += breaking("no film", [options.csv], "The CSV has only a header, or --exclude leaves nothing.")
    _tell(faults, options.csv, len(frame), options, reporter, bool(names), ignored)


def _check_folder(options: DataCheckOptions, reporter: Reporter) -> None:
    """Without a CSV: the films below a folder, and what else lies there."""
    tell_needless(reporter, options, ["against", "checkpoint", "findings"], "there are no labels")
    contents = look_through(options, options.films, reporter)
    excluded = read_exclusions(options.exclude, options.id_column)
    films = [film for film in contents.films if film not in excluded]
    frame = pd.DataFrame({options.id_column: films}, dtype=object)
    if plain := contents.others(plain=True):
        reporter.note(f"Other files: {told_reasons(plain)}.")
    faults: list[Fault] = []
    for reason, files in contents.others(plain=False).items():
        faults += doubtful(f"files that are no chest films: {reason.many}", files, "Predictions leave them out.")
    faults += doubtful("folders that cannot be looked into", contents.closed, "Check their permissions.")
    faults += doubtful(LATERAL, [film for film in contents.lateral if film not in excluded], FRONTAL)
    if options.submission is not None:
        faults += submission(frame, options.submission, options)
    if films:
        where = Finder(contents.folder, options.links, reporter.progress, num_cores())
        found = where.find(lambda: [films])
        faults += _read(found, films, frame, options, reporter)
    else:
        faults += breaking("no film", [contents.folder], "There is none, or --exclude leaves nothing.")
    _tell(faults, contents.folder, len(films), options, reporter, False, ())


def _films(frame: pd.DataFrame, options: DataCheckOptions, reporter: Reporter) -> Iterator[Fault]:
    ids = [film for film in dict.fromkeys(frame[options.id_column]) if film and not fault_of_id(film)]
    assert options.csv is not None, "it was read"
    if not ids:  # told of already, row by row
        return
    try:
        where = finder(options.csv, options.image_dir, ids, options.links, reporter.progress)
    except DataError as error:
        yield from breaking("ids without a film", ids, " ".join(str(error).split("\n")))
        return
    found = where.find(lambda: [ids])
    gone = [film for film, instead in found.absent.items() if not instead]
    advice = f"{where.lies_there()} {where.nearest(gone[0])}".rstrip() if gone else ""
    yield from breaking("ids without a film", gone, advice, exclude=not where.listing.closed)  # they may lie there
    other = [f"{film} ({instead}?)" for film, instead in found.absent.items() if instead]
    yield from breaking("ids that differ from the name of their film", other, "Write the ids like the file names.")
    unclear = [f"{film} {fault.reason}" for film, fault in found.unclear.items()]
    yield from breaking("ids that match several films", unclear, "Write more of the path.")
    paths = {found.naming.path(film) for film in ids if film not in found.lost}
    paths |= {fault.path for fault in found.unusable.values()}
    named = {path.relative_to(where.folder).as_posix() for path in paths}
    spare = [file for file in sorted(where.listing.files()) if ending_of(file) and file not in named]
    yield from doubtful("films that the CSV does not list", spare, "They are not read.")
    faults = list(_read(found, ids, frame, options, reporter))
    yield from faults
    broken = {found.naming.path(film) for fault in faults if fault.breaks for film in fault.films}
    others, lateral = others_among(sorted(filter(may_be_dicom, paths - broken)), where.folder, options, reporter)
    for reason, files in others.items():
        yield from doubtful(f"files that are no chest films by their tags: {reason.many}", files, "Leave them out.")
    yield from doubtful(LATERAL, lateral, FRONTAL)


def _read(
    found: Found, ids: Sequence[str], frame: pd.DataFrame, options: DataCheckOptions, reporter: Reporter
) -> Iterator[Fault]:
    """Faults of the films that were found, by reading them; told by their paths."""
    lost = found.lost
    here = {film: found.naming.path(film) for film in ids if film not in lost}
    with reporter.progress("Looking at films", len(here)) as advance:
        looks = look_at(list(here.values()), max_pixels=options.max_pixels, num_threads=num_cores(), advance=advance)
    seen = dict(zip(here, looks, strict=True))
    damaged = {film: look for film, look in seen.items() if isinstance(look, FilmError)}
    broken = {**found.unusable, **damaged}
    for reason, films in _grouped({film: fault.reason for film, fault in broken.items()}):
        files = [broken[film].path.relative_to(found.naming.folder).as_posix() for film in films]
        advice = "Leave them out." if "no pixels" in reason else "Replace them or leave them out."
        for fault in breaking(f"films that cannot be read: each {reason}", files, advice, exclude=True):
            yield replace(fault, films=tuple(films))
    shown = {film: path.relative_to(found.naming.folder).as_posix() for film, path in here.items()}
    yield from _levels({film: look for film, look in seen.items() if isinstance(look, Look)}, shown, frame, options)


def _grouped(reasons: dict[str, str]) -> list[tuple[str, list[str]]]:
    groups: dict[str, list[str]] = {}
    for film, reason in reasons.items():
        groups.setdefault(reason, []).append(film)
    return list(groups.items())


def _levels(
    looks: dict[str, Look], shown: dict[str, str], frame: pd.DataFrame, options: DataCheckOptions
) -> Iterator[Fault]:
    """What can be seen in the films; ``shown``: where each is."""

    def where(test: str) -> list[str]:
        return [shown[film] for film, look in looks.items() if getattr(look, test)]

    for fault in doubtful("films of one grey level", where("constant"), "They show nothing: leave them out."):
        yield replace(fault, films=tuple(film for film, look in looks.items() if look.constant))
    yield from doubtful("films that look inverted", where("inverted"), "Air should be dark: invert them.")
    yield from doubtful("films that look rotated by a quarter turn", where("rotated"), "Rotate them upright.")
    yield from doubtful("films that are largely overexposed", where("saturated"), "Export them again.")
    yield from doubtful(
        f"films below {SMALL} px",
        [f"{shown[film]} ({min(look.shape)} px)" for film, look in looks.items() if look.small],
        "Small signs are not visible.",
    )
    yield from doubtful(f"films more than {LONG:g} times as long as wide", where("long"), "Is it a chest film?")
    kinds = Counter(look.kind for look in looks.values())
    if len(kinds) > 1:
        told = [f"{kind} ({number:,})" for kind, number in kinds.most_common()]
        yield from doubtful("file types in one data set", told, "A model may learn to tell them apart.")
    films = list(looks)
    first: dict[bytes, str] = {}
    copies = [
        (first[look.content], film)
        for film, look in looks.items()
        if first.setdefault(look.content, film) != film and not look.constant
    ]
    yield from _told_pairs("films that are duplicates of another", copies, shown, frame, options, exclude=True)
    copied = {second for _, second in copies}
    chosen = [film for film in films if not looks[film].constant and film not in copied]
    if chosen:
        near = near_pairs(np.stack([looks[film].fingerprint for film in chosen]))
        pairs = [(chosen[one], chosen[other]) for one, other in near]
        yield from _told_pairs("films that are near duplicates", pairs, shown, frame, options, exclude=False)


def _told_pairs(
    what: str,
    pairs: Sequence[tuple[str, str]],
    shown: dict[str, str],
    frame: pd.DataFrame,
    options: DataCheckOptions,
    exclude: bool,
) -> Iterator[Fault]:
    sign = "=" if exclude else "~"
    told = tuple(f"{shown[second]} {sign} {shown[first]}" for first, second in pairs)
    films = tuple(second for _, second in pairs) if exclude else ()
    if pairs:
        yield Fault(what, len(pairs), told[:5], False, "One of them is enough.", films)
    if options.patient_column in frame.columns:
        owner = dict(zip(frame[options.id_column], frame[options.patient_column], strict=True))
        apart = [text for text, (one, two) in zip(told, pairs, strict=True) if owner[one] != owner[two]]
        yield from doubtful(f"{what}, under another patient", apart, "A split by patient would not keep them together.")


def _tell(
    faults: list[Fault],
    source: Path,
    num_films: int,
    options: DataCheckOptions,
    reporter: Reporter,
    has_findings: bool,
    ignored: Sequence[Column],
) -> None:
    faults = sorted(faults, key=lambda fault: not fault.breaks)
    if faults:
        title = f"{source} ({counted(num_films, 'film')})"
        reporter.table(title, ("", "number", "what, what to do, and where"), list(map(_row, faults)))
    if options.json_path is not None:
        held = {column.name: column.holds for column in ignored}
        content = {"num_films": num_films, "faults": [asdict(fault) for fault in faults], "passed_over": held}
        write_text(options.json_path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
        reporter.result(f"Wrote {options.json_path}.")
    if options.fix is not None:
        films = list(dict.fromkeys(film for fault in faults for film in fault.films))
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([[options.id_column], *([film] for film in films)])
        write_table(text.getvalue(), options.fix, options.id_column)
        reporter.result(f"Wrote {options.fix}: {counted(len(films), 'film')} for --exclude.")
        if rest := [fault.what for fault in faults if fault.breaks and not fault.films]:
            reporter.note(f"Not mended by {options.fix}, and to be corrected in the table: {listed(rest, 20)}.")
    number = sum(fault.breaks for fault in faults)
    if number:
        listable = sum(fault.breaks and bool(fault.films) for fault in faults)
        hint = f"Films of {listable} of these faults can be left out: --fix exclude.csv, then --exclude exclude.csv."
        if num_films == len({film for fault in faults if fault.breaks for film in fault.films}):
            hint = "Every film has a fault: correct what the table names."
        raise DataError(
            f"{counted(number, 'fault')} would break a run.",
            hint if listable and options.fix is None else "Correct what the table names.",
        )
    others = f"; {counted(len(faults), 'thing')} to look at" if faults else ""
    split = next((fault for fault in faults if fault.what == SPLIT), None)
    if split is not None:
        reporter.result(f"Nothing in the files that would break a run{others}.")
        reporter.warn(f"But {split.what}: {split.examples[0]} {split.advice}")
    elif has_findings:
        reporter.result(f"Nothing that would break a run{others}.")
        _tell_training(options, reporter)
    else:
        reporter.result(f"Nothing that would break a prediction{others}. To train, there are no findings to learn.")


def _tell_training(options: DataCheckOptions, reporter: Reporter) -> None:
    if options.submission is not None or len(options.against) > 1 or options.split not in (None, ("train",)):
        return
    others = ["--val-csv", *options.against] if options.against else []
    bad = ["--exclude", options.fix] if options.fix is not None else []
    tell_next(reporter, "train", *typed(options, (*ROWS, "image_dir", "findings", "split")), *others, *bad)


def _row(fault: Fault) -> tuple[str, str, str]:
    more = f" and {fault.number - len(fault.examples):,} more" if fault.number > len(fault.examples) else ""
    where = f"{', '.join(fault.examples)}{more}"
    return "breaks" if fault.breaks else "look", f"{fault.number:,}", f"{fault.what}. {fault.advice}\n  {where}"
