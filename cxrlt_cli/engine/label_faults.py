"""What is wrong with labels and submissions: seen in their tables alone, a kind of fault at a time."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from cxrlt_cli.config import DataCheckOptions, TrainOptions
from cxrlt_cli.data.table import LABELS, read_csv, read_labels
from cxrlt_cli.errors import DataError
from cxrlt_cli.labels import CXR_LT_2026, UNSEEN, LabelSpace
from cxrlt_cli.names import fault_of_id, fault_of_name

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


def breaking(what: str, found: Iterable[object], advice: str, *, exclude: bool = False) -> Iterator[Fault]:
    """A fault at which a run would stop, or be wrong, if anything was found; ``exclude``: it is films to leave out."""
    names = tuple(map(str, found))
    if names:
        yield Fault(what, len(names), names[:5], True, advice, names if exclude else ())


def doubtful(what: str, found: Iterable[object], advice: str) -> Iterator[Fault]:
    """Something to look at, if anything was found."""
    for fault in breaking(what, found, advice):
        yield replace(fault, breaks=False)


def rows(frame: pd.DataFrame, options: DataCheckOptions) -> Iterator[Fault]:
    ids = frame[options.id_column]
    yield from breaking(
        "rows without an id", [f"row {row}" for row in frame.index[ids == ""]], "Every row needs the name of its film."
    )
    doubled = [film for film, number in Counter(ids).items() if number > 1 and film]
    yield from breaking("ids in more than one row", doubled, "Keep one row a film.")
    strange = [film for film in ids if film and fault_of_id(film)]
    yield from breaking("ids that are refused", strange, "Rename the film: a path below --image-dir.")
    if options.patient_column not in frame.columns:
        yield from doubtful(
            "no column of patients",
            [options.patient_column],
            "Pass --patient-column; without it, no split is by patient.",
        )
        return
    nameless = ids[frame[options.patient_column] == ""]
    yield from breaking("rows without a patient", nameless, "Films of one patient must stay together.")


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


def labels(frame: pd.DataFrame, options: DataCheckOptions) -> Iterator[Fault]:
    for name in options.findings or ():
        if name not in frame.columns:
            yield from breaking("findings that are no column", [name], "Check --findings.")
    names = _findings(frame, options)
    passed_over = [name for name in frame.columns if name not in (*names, options.id_column, options.patient_column)]
    void = [name for name in passed_over if len(frame) and (frame[name] == "").all()]
    yield from doubtful("columns without any value", void, "They are passed over.")
    if not names:
        yield from doubtful(
            "no column of 0 and 1", [options.csv], "Findings are such columns; to predict, none is needed."
        )
        return
    strange = [
        f"{name}: {value}"
        for name in names
        for value in frame[name][~frame[name].isin(list(LABELS))].drop_duplicates().tolist()
    ]
    yield from breaking("labels that are not 0, 1 or empty", strange, "Mend them, or name --findings.")
    yield from breaking(
        "findings with a name that is refused", [n for n in names if fault_of_name(n)], "Rename the column."
    )
    meant = [
        name
        for name in names
        if any(word in name.lower().replace("_", " ").split() or name.lower().endswith(word) for word in METADATA)
    ]
    yield from doubtful("findings that look like metadata", meant, "Name the findings: --findings.")
    targets = pd.DataFrame({name: frame[name].map(LABELS) for name in names}).to_numpy(np.float32)
    positives = (targets == 1).sum(axis=0)
    absent = [name for name, number in zip(names, positives, strict=True) if number == 0]
    yield from doubtful("findings without a positive", absent, "Nothing can be learned or scored of them.")
    few = [f"{name} ({number})" for name, number in zip(names, positives, strict=True) if 0 < number < FEW]
    yield from doubtful(
        f"findings with fewer than {FEW} positives", few, "Their scores will have wide intervals or none."
    )
    always = [name for name, column in zip(names, targets.T, strict=True) if len(column) and (column == 1).all()]
    yield from doubtful("findings that every film has", always, "AP is 1 whatever is predicted. Is it a finding?")
    empty = [name for name, column in zip(names, targets.T, strict=True) if np.isnan(column).all()]
    yield from doubtful("findings without any label", empty, "Every cell is empty.")
    ids = frame[options.id_column].to_numpy(object)
    normal = LabelSpace.of(names).normal
    if normal is not None:
        others = [index for index, name in enumerate(names) if name != normal]
        both = (targets[:, names.index(normal)] == 1) & (targets[:, others] == 1).any(axis=1)
        yield from doubtful(
            f"films that are '{normal}' and have a finding", ids[both], "One of the two labels is wrong."
        )
        neither = (targets == 0).all(axis=1)
        yield from doubtful(
            f"films that are neither '{normal}' nor have a finding", ids[neither], "--sampler cas never draws them."
        )


def held_out(options: DataCheckOptions, excluded: set[str]) -> Iterator[Fault]:
    """What the films that ``train`` holds out with this seed and its default share lack; nothing where it could not."""
    assert options.csv is not None, "it was read"
    try:
        table = read_labels(
            options.csv,
            id_column=options.id_column,
            patient_column=options.patient_column,
            findings=options.findings,
        ).without(excluded)
    except DataError:
        return  # told of already, fault by fault
    share = TrainOptions.model_fields["val_fraction"].default
    training, validation = table.split(share, options.seed)
    for part, what in ((training, "to learn from"), (validation, f"to score them by, of {100 * share:g} % held out")):
        pairs = zip(table.space.findings, table.counts, part.counts, strict=True)
        lacking = [name for name, number, here in pairs if number and not here]
        yield from doubtful(f"findings without a positive {what}", lacking, "Name other films with --val-csv.")


def between(frame: pd.DataFrame, other: Path, options: DataCheckOptions) -> Iterator[Fault]:
    """What two files share that they must not, and what one has and the other lacks."""
    theirs = read_csv(other)
    known = [name for name in _findings(frame, options) if (frame[name].map(LABELS) == 1).any()]
    unknown = [name for name in known if name not in theirs.columns]
    yield from breaking(f"findings without a column in {other.name}", unknown, "Validation films need the same.")
    absent = [name for name in known if name in theirs.columns and not (theirs[name].map(LABELS) == 1).any()]
    yield from doubtful(f"findings without a positive in {other.name}", absent, "They have no score there.")
    for column, what in ((options.id_column, "films"), (options.patient_column, "patients")):
        if column in frame.columns and column in theirs.columns:
            both = sorted((set(frame[column]) & set(theirs[column])) - {""})
            yield from breaking(
                f"{what} that stand in {other.name} too", both, "Scores would be too good: leave them out of one."
            )


def vocabulary(frame: pd.DataFrame, checkpoint: Path, options: DataCheckOptions) -> Iterator[Fault]:
    from cxrlt_cli.nets.checkpoints import Checkpoint

    known, names = Checkpoint.read(checkpoint).findings, _findings(frame, options)
    lower = {name.lower(): name for name in known}
    respelled = [f"{name} for {lower[name.lower()]}" for name in names if name not in known and name.lower() in lower]
    yield from breaking(
        "findings that the checkpoint spells otherwise", respelled, "Names are compared letter for letter."
    )
    new = [name for name in names if name.lower() not in lower]
    yield from doubtful("findings that the checkpoint does not know", new, "finetune starts them afresh.")
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
    yield from breaking("films of the submission that are not asked for", spare, "Leave them out.")
    yield from breaking(
        "films that the submission has twice", [f for f, n in Counter(ids).items() if n > 1], "Keep one row a film."
    )
    if sorted(ids) == sorted(wanted) and ids != wanted:
        first = next(place for place, (a, b) in enumerate(zip(ids, wanted, strict=True)) if a != b)
        yield from doubtful("rows of the submission in another order", [ids[first]], "Keep --csv's.")
    names = [name for name in submitted.columns if name != options.id_column]
    expected = [name for name in frame.columns if name in (*CXR_LT_2026, *UNSEEN)]
    yield from breaking(
        "findings that the submission lacks", [n for n in expected if n not in names], "One column a finding."
    )
    cells = submitted[names].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    with np.errstate(invalid="ignore"):
        outside = ~((cells >= 0) & (cells <= 1))
    bad = [f"{ids[row]}, {names[column]}: {submitted[names[column]].iloc[row]}" for row, column in np.argwhere(outside)]
    yield from breaking("values that are no probability", bad, "From 0 to 1, none empty.")
    same = [name for name, column in zip(names, cells.T, strict=True) if len(column) > 1 and len(set(column)) == 1]
    yield from doubtful("findings with one value on every film", same, "AP is then the prevalence.")
