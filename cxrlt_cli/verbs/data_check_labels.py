"""What is wrong with labels and submissions: seen in their tables alone, a kind of fault at a time."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrlt_cli.config import DataCheckOptions, FilmOptions, TrainOptions
from cxrlt_cli.engine.labelled import SplitError, labelled_films, scored_by
from cxrlt_cli.engine.reporter import Reporter, Silent, counted
from cxrlt_cli.errors import DataError
from cxrlt_cli.labels import CXR_LT_2026, UNSEEN, LabelSpace
from cxrlt_cli.names import fault_of_id, fault_of_name
from cxrlt_cli.tables import parts
from cxrlt_cli.tables.columns import FILM_FACTS, LISTS, UNCERTAIN, Column, is_known, targets_of
from cxrlt_cli.tables.label_table import read_csv
from cxrlt_cli.tables.number_table import numbers_of
from cxrlt_cli.tables.patients import LOST, hint_without
from cxrlt_cli.tables.values import is_float, lost_digits, meaning_of, number_of, patient_of

SPLIT = "train would stop, with the share that it holds out by itself"
AGE, OLDEST = "PatientAge", 120
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


def breaking(what: str, found: Iterable[object], advice: str, *, exclude: bool = False) -> Iterator[Fault]:
    """A fault at which a run would stop, or be wrong, if anything was found; ``exclude``: it is films to leave out."""
    names = tuple(map(str, found))
    if names:
        yield Fault(what, len(names), names[:5], True, advice, names if exclude else ())


def doubtful(what: str, found: Iterable[object], advice: str) -> Iterator[Fault]:
    """Something to look at, if anything was found."""
    for fault in breaking(what, found, advice):
        yield replace(fault, breaks=False)


def rows(frame: pd.DataFrame, options: DataCheckOptions, *, to_train: bool) -> Iterator[Fault]:
    """Faults of ids and patients; the latter break nothing where the films are not ``to_train`` on."""
    ids = frame[options.id_column]
    yield from breaking(
        "rows without an id", [f"row {row}" for row in frame.index[ids == ""]], "Every row needs the name of its film."
    )
    doubled = [film for film, number in Counter(ids).items() if number > 1 and film]
    yield from breaking("ids in more than one row", doubled, "Keep one row a film.")
    strange = [film for film in ids if film and fault_of_id(film)]
    yield from breaking("ids that are refused", strange, "Rename the film: a path below --image-dir.")
    yield from breaking("ids that lost their digits", [film for film in ids if is_float(film)], LOST)
    found = breaking if to_train else doubtful
    if options.patient_column not in frame.columns:
        found = doubtful if options.against else found  # films of their own to score by: no split is needed
        hint = hint_without(frame, options.id_column, options.patient_column) if len(frame) else ""
        yield from found("no column of patients", [options.patient_column], f"No split by patient without it. {hint}")
        return
    cells = frame[options.patient_column]
    nameless = ids[np.array([patient_of(cell) == "" for cell in cells], bool)]
    yield from found("rows without a patient", nameless, "Films of one patient must stay together.")
    yield from found("patients that lost their digits", sorted(lost_digits(cells)), LOST)


def labels(frame: pd.DataFrame, columns: Sequence[Column], options: DataCheckOptions) -> Iterator[Fault]:
    """Faults of labels, by what ``tables.columns`` says of each column."""
    asked = [name for name in options.findings or () if name not in frame.columns]
    yield from breaking("findings that are not a column", asked, "Check --findings.")
    findings = [column for column in columns if column.kind == "finding"]
    others = [column for column in columns if column.kind != "finding"]
    void = [column.name for column in others if column.kind == "empty"]
    advice = "They are ignored."
    yield from doubtful("columns without any value", [name for name in void if not is_known(name)], advice)
    empty = [column.name for column in findings if not column.holds]
    empty += [name for name in void if is_known(name)]
    yield from doubtful("findings without any label", empty, "Every cell is empty.")
    if options.findings is None:
        binary = [column for column in others if column.is_binary]
        advice = "No name, or one like metadata. If they are findings, name all with --findings."
        yield from doubtful("columns of 0 and 1 that are not read as findings", binary, advice)
    lists = [column for column in others if column.kind == "lists"]
    stops = breaking if lists and not findings and options.submission is None else doubtful
    yield from stops("columns that name findings instead of saying 0 and 1, not read", lists, LISTS)
    if not findings:
        if not lists:
            yield from doubtful(
                "no column of 0 and 1", [options.csv], "Findings are such columns; to predict, none is needed."
            )
        return
    yield from _values(frame, findings)
    meant = [column.name for column in findings if column.why]
    yield from doubtful("findings that look like metadata", meant, "Name the findings: --findings.")
    yield from _counts(frame, [column.name for column in findings], options)


def _values(frame: pd.DataFrame, findings: Sequence[Column]) -> Iterator[Fault]:
    """Cells of findings that are no labels, and names that no finding may have."""
    told: dict[bool, list[str]] = {True: [], False: []}
    for column in findings:
        for value, number in column.strange:
            first = frame.index[int((frame[column.name] == value).to_numpy().argmax())]
            where = f"row {first}" + (f" and {number - 1:,} more" if number > 1 else "")
            told[meaning_of(value) == "uncertain"].append(f"{column.name}: {value} ({where})")
    yield from breaking("labels that are -1", told[True], UNCERTAIN)
    yield from breaking("labels that are not 0, 1 or empty", told[False], "Correct them, or name --findings.")
    refused = [column.name for column in findings if fault_of_name(column.name)]
    yield from breaking("findings with a name that is refused", refused, "Rename the column.")


def _counts(frame: pd.DataFrame, names: list[str], options: DataCheckOptions) -> Iterator[Fault]:
    """Findings that can hardly be learned, and films whose labels contradict each other."""
    targets = np.stack([targets_of(frame[name]) for name in names], axis=1)
    positives, negatives = (targets == 1).sum(axis=0), (targets == 0).sum(axis=0)
    numbers = list(zip(names, positives.tolist(), negatives.tolist(), strict=True))
    absent = [name for name, number, _ in numbers if number == 0]
    advice = "They can be neither trained nor scored. If one is no finding, name the others: --findings."
    yield from doubtful("findings without a positive", absent, advice)
    few = [f"{name} ({number})" for name, number, _ in numbers if 0 < number < FEW]
    yield from doubtful(
        f"findings with fewer than {FEW} positives", few, "Their scores will have wide intervals or none."
    )
    always = [name for name, number, _ in numbers if 0 < number == len(frame)]
    yield from doubtful("findings that every film has", always, "AP is 1 for any prediction. Is it a finding?")
    alone = [
        f"{name} ({counted(number, 'film')} of 1)"
        for name, number, none in numbers
        if 0 < number < len(frame) and not none
    ]
    advice = "Empty is not labelled, so nothing can be learned. Where it means that there is none, write 0 "
    advice += "(cxrlt data import: --unmentioned 0)."
    yield from doubtful("findings of 1 and empty, without a 0", alone, advice)
    yield from _opposites(names, targets)
    ids = frame[options.id_column].to_numpy(object)
    space = LabelSpace.of(names)
    if space.normal is not None:
        others = [index for index, name in enumerate(names) if name not in (space.normal, *space.devices)]
        both = (targets[:, names.index(space.normal)] == 1) & (targets[:, others] == 1).any(axis=1)
        yield from doubtful(
            f"films that are '{space.normal}' and have a finding", ids[both], "One of the two labels is wrong."
        )
        neither = (targets == 0).all(axis=1)
        yield from doubtful(
            f"films that are neither '{space.normal}' nor have a finding",
            ids[neither],
            "Is a label missing?",
        )


def _opposites(names: Sequence[str], targets: NDArray[Any]) -> Iterator[Fault]:
    """Pairs of findings of which every film has exactly one."""
    pairs = [
        f"{second} = not {names[place]}"
        for place in range(len(names))
        for other, second in enumerate(names[place + 1 :], place + 1)
        if (targets[:, place] + targets[:, other] == 1).all() and 0 < targets[:, place].sum() < len(targets)
    ]
    yield from doubtful("findings that are the opposite of another", pairs, "If one was made from the other, keep one.")


def ages(frame: pd.DataFrame, options: DataCheckOptions) -> Iterator[Fault]:
    """Ages in years that no patient has."""
    if AGE not in frame.columns:
        return
    cells = zip(frame[options.id_column], frame[AGE], strict=True)
    odd = [
        f"{film} ({cell})" for film, cell in cells if (age := number_of(cell)) is not None and not 0 <= age <= OLDEST
    ]
    yield from doubtful(f"ages below 0 or above {OLDEST} ({AGE})", odd, "Correct them, or leave them empty.")


def training(options: DataCheckOptions, val_csv: Path | None, known: Sequence[Fault]) -> Iterator[Fault]:
    """What ``train`` says of these tables, by its own code: why it would stop, or what held out films would lack."""
    assert options.csv is not None, "it was read"
    shared = set(FilmOptions.model_fields)
    given = options.model_dump(include=shared | {"corrections"}) | ({"val_csv": val_csv} if val_csv else {})
    asked = TrainOptions.model_validate(given)
    try:
        pair = labelled_films(asked, options.csv, Silent())
    except SplitError as error:
        yield from doubtful(SPLIT, [error.message], error.hint)
        return
    except DataError as error:
        if not any(fault.breaks for fault in known):
            yield from breaking("train would stop", [error.message], error.hint)
        return
    if val_csv is not None:
        return
    scored = scored_by(asked, options.csv, Silent())
    whose = f"{100 * asked.val_fraction:g} % held out" if scored is None else str(scored)
    total = pair[0].counts + pair[1].counts
    for part, what in zip(pair, ("training", f"validation ({whose})"), strict=True):
        pairs = zip(part.space.findings, total, part.counts, strict=True)
        lacking = [name for name, number, here in pairs if number and not here]
        yield from doubtful(f"findings without a positive film for {what}", lacking, "Name other films with --val-csv.")


def between(
    frame: pd.DataFrame, names: Sequence[str], other: Path, excluded: Collection[str], options: DataCheckOptions
) -> Iterator[Fault]:
    """What two files share that they must not, and what one has and the other lacks; ``names`` are the findings."""
    theirs = read_csv(other)
    if options.id_column not in theirs.columns:
        yield from breaking(f"no column of ids in {other.name}", [options.id_column], "It names them in both files.")
        return
    theirs = theirs[~theirs[options.id_column].isin(list(excluded))]
    unknown = [name for name in names if name not in theirs.columns]
    yield from breaking(f"findings without a column in {other.name}", unknown, "Validation films need the same.")
    known = [name for name in names if name in theirs.columns and (targets_of(frame[name]) == 1).any()]
    absent = [name for name in known if not (targets_of(theirs[name]) == 1).any()]
    yield from doubtful(f"findings without a positive in {other.name}", absent, "They have no score there.")
    advice = "Scores would be too good: leave their films out of one of the two, such as with --fix and --exclude."
    for column, what in ((options.id_column, "films"), (options.patient_column, "patients")):
        if column in frame.columns and column in theirs.columns:
            spelled = str if what == "films" else patient_of
            mine = [spelled(cell) for cell in frame[column]]
            both = set(mine) & {spelled(cell) for cell in theirs[column]} - {""}
            shared = [film for film, one in zip(frame[options.id_column], mine, strict=True) if one in both]
            for fault in breaking(f"{what} that are in {other.name} too (data leakage)", sorted(both), advice):
                yield replace(fault, films=tuple(shared))


def between_parts(frame: pd.DataFrame, options: DataCheckOptions) -> Iterator[Fault]:
    """Patients whose films stand in several parts of a set: what is scored on one was learned from another."""
    if parts.COLUMN not in frame.columns or options.patient_column not in frame.columns:
        return
    patients = frame[options.patient_column].map(patient_of)
    where = frame[parts.COLUMN].mask(patients == "")
    number = where.replace("", None).groupby(patients).nunique()
    shared = sorted(number.index[number > 1])
    learned = patients.isin(shared) & (where == parts.TRAINING)
    what = f"patients with films in several parts ({parts.COLUMN})"
    for fault in doubtful(what, shared, "Scores would be too good: leave their training films out (--fix, --exclude)."):
        yield replace(fault, films=tuple(frame[options.id_column][learned]))


def vocabulary(names: Sequence[str], checkpoint: Path, reporter: Reporter) -> Iterator[Fault]:
    """What the findings of a checkpoint and these have in common, and what not."""
    from cxrlt_cli.engine.predict import read_checkpoint

    known = read_checkpoint(checkpoint, reporter).findings
    lower = {name.lower(): name for name in known}
    respelled = [f"{name} for {lower[name.lower()]}" for name in names if name not in known and name.lower() in lower]
    yield from breaking(
        "findings that the checkpoint spells differently", respelled, "Names must match letter for letter."
    )
    new = [name for name in names if name.lower() not in lower]
    yield from doubtful("findings that the checkpoint does not know", new, "finetune trains them from scratch.")
    lost = [name for name in known if name.lower() not in {own.lower() for own in names}]
    yield from doubtful("findings of the checkpoint without a column", lost, "finetune drops them.")


def submission(frame: pd.DataFrame, path: Path, options: DataCheckOptions) -> Iterator[Fault]:
    """A prediction CSV against the films that it must hold."""
    submitted = read_csv(path)
    if options.id_column not in submitted.columns:
        yield from breaking("submission without a column of ids", [path], f"It is {options.id_column}.")
        return
    ids, wanted = list(submitted[options.id_column]), list(frame[options.id_column])
    there, asked = set(ids), set(wanted)
    lacking, spare = [film for film in wanted if film not in there], [film for film in ids if film not in asked]
    yield from breaking("films that the submission lacks", lacking, "One row a film of --csv.")
    yield from breaking("films of the submission that are not in --csv", spare, "Leave them out.")
    yield from breaking(
        "films that the submission has twice", [f for f, n in Counter(ids).items() if n > 1], "Keep one row a film."
    )
    if sorted(ids) == sorted(wanted) and ids != wanted:
        first = next(place for place, (a, b) in enumerate(zip(ids, wanted, strict=True)) if a != b)
        yield from doubtful("rows of the submission in another order", [ids[first]], "Keep --csv's.")
    facts = [name for name in submitted.columns if name in FILM_FACTS and name != options.id_column]
    yield from doubtful("columns of the submission that are no findings", facts, "A submission holds only findings.")
    names = [name for name in submitted.columns if name not in (options.id_column, *facts)]
    expected = [name for name in frame.columns if name in (*CXR_LT_2026, *UNSEEN)]
    yield from breaking(
        "findings that the submission lacks", [n for n in expected if n not in names], "One column a finding."
    )
    cells = numbers_of(submitted[names])
    with np.errstate(invalid="ignore"):
        outside = ~((cells >= 0) & (cells <= 1))
    bad = [f"{ids[row]}, {names[column]}: {submitted[names[column]].iloc[row]}" for row, column in np.argwhere(outside)]
    yield from breaking("values that are not probabilities", bad, "From 0 to 1, none empty.")
    same = [name for name, column in zip(names, cells.T, strict=True) if len(column) > 1 and len(set(column)) == 1]
    yield from doubtful("findings with one value on every film", same, "AP is then the prevalence.")
