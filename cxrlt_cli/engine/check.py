"""``cxrlt data check``: what is wrong with films, labels and submissions, before a run finds out."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from cxrlt_cli.config import DataCheckOptions
from cxrlt_cli.data import parquet
from cxrlt_cli.data.faults import LONG, SMALL, Look, look_at, near_pairs
from cxrlt_cli.data.naming import find_naming
from cxrlt_cli.data.table import LABELS, read_csv, read_exclusions
from cxrlt_cli.engine.films import image_folder, missing
from cxrlt_cli.engine.reporting import Reporter, counted
from cxrlt_cli.errors import DataError, FilmError, OptionError
from cxrlt_cli.files import require_file, write_text
from cxrlt_cli.labels import CXR_LT_2026, UNSEEN, LabelSpace
from cxrlt_cli.machine import num_cores
from cxrlt_cli.names import fault_of_id, fault_of_name

FILM_FILES = (".png", ".jpg", ".jpeg", ".dcm", ".dicom")
METADATA = (
    *("age", "sex", "gender", "view", "year", "date", "time", "width", "height", "spacing", "followup", "position"),
    *("modality", "manufacturer", "split", "fold", "index", "row", "path", "projection", "study", "weight"),
)
FEW = 8  # positives, from which on a finding can be learned and scored at all


@dataclass(frozen=True)
class Fault:
    """One kind of fault: how many, which, and what to do. ``breaks``: a run would stop at it, or be wrong."""

    what: str
    number: int
    examples: tuple[str, ...]
    breaks: bool
    advice: str
    films: tuple[str, ...] = ()  # that training is better without


def check(options: DataCheckOptions, reporter: Reporter) -> None:
    """Tell every fault in one table; raises DataError, after that, where one would break a run."""
    if options.csv is None:
        raise OptionError("--csv is missing.", "It names the films to check, one row each.")
    inputs = (options.csv, options.submission, *options.against, *options.exclude)
    if options.json_path is not None:
        require_file(options.json_path, "--json", inputs)
    if options.fix is not None:
        parquet.require_table(options.fix, "--fix", inputs)
    frame = read_csv(options.csv)
    if options.id_column not in frame.columns:
        has = ", ".join(list(frame.columns)[:8])
        raise DataError(f"{options.csv} has no column '{options.id_column}' (it has {has}).", "Pass --id-column.")
    excluded = read_exclusions(options.exclude, options.id_column)
    frame = frame[~frame[options.id_column].isin(list(excluded))]
    faults = [*_rows(frame, options), *_labels(frame, options)]
    for other in options.against:
        faults += _shared(frame, other, options)
    if options.checkpoint is not None:
        faults += _vocabulary(frame, options.checkpoint, options)
    if options.submission is not None:
        faults += _submission(frame, options.submission, options)
    if len(frame):
        faults += _films(frame, options, reporter)
    _tell(faults, len(frame), options, reporter)


def _breaking(what: str, found: Iterable[object], advice: str, *, exclude: bool = False) -> Iterator[Fault]:
    """A fault at which a run would stop, or be wrong, if anything was found; ``exclude``: it is films to leave out."""
    names = tuple(map(str, found))
    if names:
        yield Fault(what, len(names), names[:5], True, advice, names if exclude else ())


def _doubtful(what: str, found: Iterable[object], advice: str) -> Iterator[Fault]:
    """Something to look at, if anything was found."""
    for fault in _breaking(what, found, advice):
        yield replace(fault, breaks=False)


def _rows(frame: pd.DataFrame, options: DataCheckOptions) -> Iterator[Fault]:
    ids = frame[options.id_column]
    yield from _breaking(
        "rows without an id", [f"row {row}" for row in frame.index[ids == ""]], "Every row needs the name of its film."
    )
    doubled = [film for film, number in Counter(ids).items() if number > 1 and film]
    yield from _breaking("ids in more than one row", doubled, "Keep one row a film.")
    strange = [film for film in ids if film and fault_of_id(film)]
    yield from _breaking("ids that are refused", strange, "Rename the film: a path below --image-dir.")
    if options.patient_column not in frame.columns:
        yield from _doubtful(
            "no column of patients",
            [options.patient_column],
            "Pass --patient-column; without it, no split is by patient.",
        )
        return
    nameless = ids[frame[options.patient_column] == ""]
    yield from _breaking("rows without a patient", nameless, "Films of one patient must stay together.")


def _findings(frame: pd.DataFrame, options: DataCheckOptions) -> list[str]:
    """Columns that are findings, or are meant to be: most of what they hold is 0 and 1, or a finding's name says so."""
    if options.findings is not None:
        return [name for name in options.findings if name in frame.columns]
    names = []
    for name in frame.columns:
        if name and name not in (options.id_column, options.patient_column):
            held = frame[name][frame[name] != ""]
            known = held.isin(list(LABELS)).sum()
            if 2 * known >= max(1, len(held)) or name in (*CXR_LT_2026, *UNSEEN):
                names.append(name)
    return names


def _labels(frame: pd.DataFrame, options: DataCheckOptions) -> Iterator[Fault]:
    for name in options.findings or ():
        if name not in frame.columns:
            yield from _breaking("findings that are no column", [name], "Check --findings.")
    names = _findings(frame, options)
    if not names:
        yield from _doubtful(
            "no column of 0 and 1", [options.csv], "Findings are such columns; to predict, none is needed."
        )
        return
    strange = [
        f"{name}: {value}"
        for name in names
        for value in frame[name][~frame[name].isin(list(LABELS))].drop_duplicates().tolist()
    ]
    yield from _breaking("labels that are not 0, 1 or empty", strange, "Mend them, or name --findings.")
    yield from _breaking(
        "findings with a name that is refused", [n for n in names if fault_of_name(n)], "Rename the column."
    )
    meant = [
        name
        for name in names
        if any(word in name.lower().replace("_", " ").split() or name.lower().endswith(word) for word in METADATA)
    ]
    yield from _doubtful("findings that look like metadata", meant, "Name the findings: --findings.")
    targets = pd.DataFrame({name: frame[name].map(LABELS) for name in names}).to_numpy(np.float32)
    positives = (targets == 1).sum(axis=0)
    absent = [name for name, number in zip(names, positives, strict=True) if number == 0]
    yield from _doubtful("findings without a positive", absent, "Nothing can be learned or scored of them.")
    few = [f"{name} ({number})" for name, number in zip(names, positives, strict=True) if 0 < number < FEW]
    yield from _doubtful(
        f"findings with fewer than {FEW} positives", few, "Their scores will have wide intervals or none."
    )
    empty = [name for name, column in zip(names, targets.T, strict=True) if np.isnan(column).all()]
    yield from _doubtful("findings without any label", empty, "Every cell is empty.")
    ids = frame[options.id_column].to_numpy(object)
    normal = LabelSpace.of(names).normal
    if normal is not None:
        others = [index for index, name in enumerate(names) if name != normal]
        both = (targets[:, names.index(normal)] == 1) & (targets[:, others] == 1).any(axis=1)
        yield from _doubtful(
            f"films that are '{normal}' and have a finding", ids[both], "One of the two labels is wrong."
        )
        neither = (targets == 0).all(axis=1)
        yield from _doubtful(
            f"films that are neither '{normal}' nor have a finding", ids[neither], "--sampler cas never draws them."
        )


def _shared(frame: pd.DataFrame, other: Path, options: DataCheckOptions) -> Iterator[Fault]:
    theirs = read_csv(other)
    for column, what in ((options.id_column, "films"), (options.patient_column, "patients")):
        if column in frame.columns and column in theirs.columns:
            both = sorted((set(frame[column]) & set(theirs[column])) - {""})
            yield from _breaking(
                f"{what} that stand in {other.name} too", both, "Scores would be too good: leave them out of one."
            )


def _vocabulary(frame: pd.DataFrame, checkpoint: Path, options: DataCheckOptions) -> Iterator[Fault]:
    from cxrlt_cli.nets.checkpoints import Checkpoint

    known, names = Checkpoint.read(checkpoint).findings, _findings(frame, options)
    lower = {name.lower(): name for name in known}
    respelled = [f"{name} for {lower[name.lower()]}" for name in names if name not in known and name.lower() in lower]
    yield from _breaking(
        "findings that the checkpoint spells otherwise", respelled, "Names are compared letter for letter."
    )
    new = [name for name in names if name.lower() not in lower]
    yield from _doubtful("findings that the checkpoint does not know", new, "finetune starts them afresh.")
    lost = [name for name in known if name.lower() not in {own.lower() for own in names}]
    yield from _doubtful("findings of the checkpoint without a column", lost, "finetune drops them.")


def _submission(frame: pd.DataFrame, path: Path, options: DataCheckOptions) -> Iterator[Fault]:
    """A prediction CSV against the films that it must hold."""
    submitted = read_csv(path)
    if options.id_column not in submitted.columns:
        yield from _breaking("submission without a column of ids", [path], f"It is {options.id_column}.")
        return
    ids, wanted = list(submitted[options.id_column]), list(frame[options.id_column])
    yield from _breaking(
        "films that the submission lacks", [f for f in wanted if f not in set(ids)], "One row a film of --csv."
    )
    yield from _breaking(
        "films of the submission that are not asked for", [f for f in ids if f not in set(wanted)], "Leave them out."
    )
    yield from _breaking(
        "films that the submission has twice", [f for f, n in Counter(ids).items() if n > 1], "Keep one row a film."
    )
    if sorted(ids) == sorted(wanted) and ids != wanted:
        first = next(place for place, (a, b) in enumerate(zip(ids, wanted, strict=True)) if a != b)
        yield from _doubtful("rows of the submission in another order", [ids[first]], "Keep --csv's.")
    names = [name for name in submitted.columns if name != options.id_column]
    expected = [name for name in frame.columns if name in (*CXR_LT_2026, *UNSEEN)]
    yield from _breaking(
        "findings that the submission lacks", [n for n in expected if n not in names], "One column a finding."
    )
    cells = submitted[names].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    with np.errstate(invalid="ignore"):
        outside = ~((cells >= 0) & (cells <= 1))
    bad = [f"{ids[row]}, {names[column]}: {submitted[names[column]].iloc[row]}" for row, column in np.argwhere(outside)]
    yield from _breaking("values that are no probability", bad, "From 0 to 1, none empty.")
    same = [name for name, column in zip(names, cells.T, strict=True) if len(column) > 1 and len(set(column)) == 1]
    yield from _doubtful("findings with one value on every film", same, "AP is then the prevalence.")


def _films(frame: pd.DataFrame, options: DataCheckOptions, reporter: Reporter) -> Iterator[Fault]:
    ids = [film for film in dict.fromkeys(frame[options.id_column]) if film and not fault_of_id(film)]
    folder = image_folder(options.csv or Path(), options.image_dir, np.array(ids, object))
    naming = find_naming(folder, ids, reporter.progress, num_cores())
    paths = [naming.path(film) for film in ids]
    gone = {fault.path: fault for fault in missing(paths)}
    absent = [film for film, path in zip(ids, paths, strict=True) if path in gone and "exist" in gone[path].reason]
    yield from _breaking("ids without a film", absent, f"Not in {folder}.", exclude=True)
    named = {path.resolve() for path in paths}
    spare = (p for p in sorted(folder.rglob("*")) if p.suffix.lower() in FILM_FILES and p.resolve() not in named)
    yield from _doubtful("films without an id", [path.relative_to(folder) for path in spare], "No row names them.")
    here = {film: path for film, path in zip(ids, paths, strict=True) if film not in set(absent)}
    with reporter.progress("Looking at films", len(here)) as advance:
        looks = look_at(list(here.values()), max_pixels=options.max_pixels, num_threads=num_cores(), advance=advance)
    seen = dict(zip(here, looks, strict=True))
    broken = {film: look.reason for film, look in seen.items() if isinstance(look, FilmError)}
    for reason, films in _grouped(broken):
        yield from _breaking(f"films that cannot be read: {reason}", films, "Fetch them again.", exclude=True)
    yield from _levels({film: look for film, look in seen.items() if isinstance(look, Look)}, frame, options)


def _grouped(reasons: dict[str, str]) -> list[tuple[str, list[str]]]:
    groups: dict[str, list[str]] = {}
    for film, reason in reasons.items():
        groups.setdefault(reason, []).append(film)
    return list(groups.items())


def _levels(looks: dict[str, Look], frame: pd.DataFrame, options: DataCheckOptions) -> Iterator[Fault]:
    def where(test: str) -> list[str]:
        return [film for film, look in looks.items() if getattr(look, test)]

    yield from _breaking("films of one level", where("constant"), "They show nothing.", exclude=True)
    yield from _doubtful("films that look inverted", where("inverted"), "Air must be dark.")
    yield from _doubtful("films that look turned by a quarter", where("rotated"), "Turn them upright.")
    yield from _doubtful("films that are largely burnt out", where("saturated"), "Export them anew.")
    yield from _doubtful(
        f"films below {SMALL} px",
        [f"{film} ({min(looks[film].shape)} px)" for film in where("small")],
        "Small signs are lost.",
    )
    yield from _doubtful(f"films more than {LONG:g} times as long as wide", where("long"), "Is it a chest film?")
    kinds = Counter(look.kind for look in looks.values())
    if len(kinds) > 1:
        told = [f"{kind} ({number:,})" for kind, number in kinds.most_common()]
        yield from _doubtful("kinds of files in one set", told, "A model may learn to tell them apart.")
    films = list(looks)
    first: dict[bytes, str] = {}
    copies = [
        (first[look.content], film)
        for film, look in looks.items()
        if first.setdefault(look.content, film) != film and not look.constant
    ]
    yield from _told_pairs("films that are copies of another", copies, frame, options, exclude=True)
    chosen = [film for film in films if not looks[film].constant and film not in {second for _, second in copies}]
    if chosen:
        near = near_pairs(np.stack([looks[film].fingerprint for film in chosen]))
        pairs = [(chosen[one], chosen[other]) for one, other in near]
        yield from _told_pairs("films that are nearly alike", pairs, frame, options, exclude=False)


def _told_pairs(
    what: str, pairs: Sequence[tuple[str, str]], frame: pd.DataFrame, options: DataCheckOptions, exclude: bool
) -> Iterator[Fault]:
    told = tuple(f"{second} = {first}" if exclude else f"{second} ~ {first}" for first, second in pairs)
    films = tuple(second for _, second in pairs) if exclude else ()
    if pairs:
        yield Fault(what, len(pairs), told[:5], False, "One of them is enough.", films)
    if options.patient_column in frame.columns:
        owner = dict(zip(frame[options.id_column], frame[options.patient_column], strict=True))
        apart = [text for text, (one, two) in zip(told, pairs, strict=True) if owner[one] != owner[two]]
        yield from _doubtful(
            f"{what}, under another patient", apart, "A split by patient would not keep them together."
        )


def _tell(faults: list[Fault], num_films: int, options: DataCheckOptions, reporter: Reporter) -> None:
    faults = sorted(faults, key=lambda fault: not fault.breaks)
    if faults:
        rows = [
            (
                "breaks" if fault.breaks else "look",
                fault.what,
                f"{fault.number:,}",
                ", ".join(fault.examples),
                fault.advice,
            )
            for fault in faults
        ]
        reporter.table(
            f"{options.csv} ({counted(num_films, 'film')})", ("", "what", "number", "such as", "advice"), rows
        )
    if options.json_path is not None:
        content = {"num_films": num_films, "faults": [asdict(fault) for fault in faults]}
        write_text(options.json_path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
        reporter.result(f"Wrote {options.json_path}.")
    if options.fix is not None:
        films = list(dict.fromkeys(film for fault in faults for film in fault.films))
        parquet.write_rows("\n".join([options.id_column, *map(_cell, films)]) + "\n", options.fix, options.id_column)
        reporter.result(f"Wrote {options.fix}: {counted(len(films), 'film')} for --exclude.")
    number = sum(fault.breaks for fault in faults)
    if number:
        raise DataError(
            f"{counted(number, 'fault')} would break a run.",
            "Mend them; films that are at fault can be left out: --fix exclude.csv, then --exclude exclude.csv.",
        )
    others = f"; {counted(len(faults), 'thing')} to look at" if faults else ""
    reporter.result(f"Nothing that would break a run{others}.")


def _cell(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\n') else text
