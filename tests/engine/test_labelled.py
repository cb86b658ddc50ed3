"""``train`` and ``data check`` give one verdict of a table."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from cxrlt_cli.config import DataCheckOptions, TrainOptions
from cxrlt_cli.engine.films import find_films
from cxrlt_cli.engine.labelled import labelled_films, labelled_folds
from cxrlt_cli.errors import CxrltError, DataError
from cxrlt_cli.verbs.data_check import check
from tests.helpers import Recorder, make_films, write_csv

Table = list[list[str]]
Change = Callable[[Table], Table]
HEADER = ["ImageID", "PatientID", "ViewPosition", "Age", "Normal", "effusion", "nodule"]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_films(tmp_path_factory.mktemp("labelled") / "set", 30)


def column(name: str, cell: Callable[[str, int], str]) -> Change:
    def change(table: Table) -> Table:
        place = HEADER.index(name)
        return [
            table[0],
            *([*row[:place], cell(row[place], index), *row[place + 1 :]] for index, row in enumerate(table[1:])),
        ]

    return change


def words(one: str, none: str) -> Change:
    return lambda table: [
        table[0], *([*row[:4], *(one if cell == "1" else none for cell in row[4:])] for row in table[1:])
    ]  # fmt: skip


def without(name: str) -> Change:
    return lambda table: [row[: HEADER.index(name)] + row[HEADER.index(name) + 1 :] for row in table]


def renamed(old: str, new: str) -> Change:
    return lambda table: [[new if cell == old else cell for cell in table[0]], *table[1:]]


FINE: dict[str, Change] = {
    "as it is": lambda table: table,
    "True and False": words("True", "False"),
    "yes and no": words("Yes", "No"),
    "pos and neg": words("pos", "neg"),
    "floats": words("1.00", "0."),
    "NULL in most cells": column("effusion", lambda cell, index: cell if index % 3 == 0 else "NULL"),
    "columns without names": lambda table: [[*row, "", ""] for row in table],
    "an index of pandas": lambda table: [["", *table[0]], *([str(index), *row] for index, row in enumerate(table[1:]))],
    "numbers as floats": column("PatientID", lambda _, index: f"{index // 2}.0"),
    "lists beside findings": renamed("Age", "Labels"),
}
FAULTY: dict[str, tuple[Change, str]] = {
    "no patients": (without("PatientID"), "no column 'PatientID'"),
    "another id column": (renamed("ImageID", "Image Index"), "no column 'ImageID'"),
    "uncertain": (words("-1", "0"), "holds '-1'"),
    "letters": (words("Y", "N"), "holds '[YN]'"),
    "an odd value": (column("nodule", lambda cell, index: "2" if index == 3 else cell), "row 5: .* '2'"),
    "another odd value": (column("nodule", lambda cell, index: "maybe" if index < 9 else cell), "holds 'maybe'"),
    "a list": (lambda table: [["ImageID", "PatientID", "Labels"],
                              *([row[0], row[1], "Mass|Edema"] for row in table[1:])], "no column of 0 and 1"),
    "an id twice": (lambda table: [*table, table[1]], "as row 2 does"),
    "nan for a patient": (column("PatientID", lambda cell, index: "nan" if index == 2 else cell), "row 4: .*'nan'"),
    "spoilt patients": (column("PatientID", lambda _, index: f"3.2412576{index % 10}e+38"), "' as a patient"),
    "spoilt ids": (column("ImageID", lambda _, index: f"3.24125765246327{index:02d}e+38"), "e\\+38' as an id"),
    "a formula": (renamed("nodule", "=nodule"), "a spreadsheet would run"),
    "no positive": (words("0", "0"), "No training film has a finding"),
}  # fmt: skip


def verdicts(films: Path, change: Change, **options: object) -> tuple[CxrltError | None, CxrltError | None, Recorder]:
    """The errors of ``train`` and of ``data check``, and what the latter said."""
    with films.open(newline="") as file:
        table = change(list(csv.reader(file)))
    path = films.with_name("changed.csv")
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(table)
    errors: list[CxrltError | None] = [None, None]
    recorder = Recorder()
    given = {"csv": path, **options}
    try:
        find_films(TrainOptions.model_validate(given), path, Recorder())
    except CxrltError as error:
        errors[0] = error
    try:
        check(DataCheckOptions.model_validate(given), recorder)
    except CxrltError as error:
        errors[1] = error
    return errors[0], errors[1], recorder


@pytest.mark.parametrize("what", FINE)
def test_what_train_reads_data_check_lets_pass(what: str, films: Path) -> None:
    train, checked, recorder = verdicts(films, FINE[what])
    assert (train, checked) == (None, None)
    assert recorder.results[-1].startswith("Nothing that would break a run")


@pytest.mark.parametrize("what", FAULTY)
def test_what_train_stops_at_data_check_finds(what: str, films: Path) -> None:
    change, said = FAULTY[what]
    train, checked, _ = verdicts(films, change)
    assert isinstance(train, DataError)
    assert isinstance(checked, DataError)
    with pytest.raises(DataError, match=said):
        raise train


def test_without_findings_nothing_is_said_of_a_run(films: Path) -> None:
    train, checked, recorder = verdicts(films, lambda table: [row[:4] for row in table])
    assert isinstance(train, DataError)
    assert checked is None
    assert recorder.results[-1].startswith("Nothing that would break a prediction")
    assert "To train, there are no findings" in recorder.results[-1]


def test_a_share_that_does_not_do_is_no_fault_of_the_files(films: Path) -> None:
    train, checked, recorder = verdicts(films, lambda table: table[:7])
    assert isinstance(train, DataError)
    assert checked is None
    assert "train would stop, with the share that it holds out" in recorder.warnings[-1]


def test_rows_that_are_excluded_are_not_judged(films: Path, tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("ImageID\nfilm003.png\n")
    change, _ = FAULTY["an odd value"]
    assert verdicts(films, change, exclude=[tmp_path / "out.csv"])[:2] == (None, None)


def test_a_label_that_was_looked_at_again_mends_what_stands_in_the_table(films: Path, tmp_path: Path) -> None:
    """An odd value in row 5 is no fault once a reader has said what it is."""
    change, _ = FAULTY["an odd value"]
    answers = [("film003.png", "nodule", 1), ("film004.png", "nodule", "")]
    given = {"corrections": [write_csv(tmp_path / "again.csv", ["ImageID", "finding", "label"], answers)]}
    train, checked, recorder = verdicts(films, change, **given)
    assert (train, checked) == (None, None)
    assert recorder.notes[0] == "--corrections: 2 labels of 2 films corrected."


def test_corrections_reach_both_tables_and_what_is_not_read_is_told(films: Path, tmp_path: Path) -> None:
    other = make_films(tmp_path / "other", 12, first=100)
    before = labelled_films(TrainOptions(csv=films, val_csv=other), films, Recorder())
    places = [before[0].space.findings.index("nodule"), before[1].space.findings.index("effusion")]
    answers = [
        ("film000.png", "nodule", int(1 - before[0].targets[0, places[0]])),
        ("film100.png", "effusion", int(before[1].targets[0, places[1]])),
        ("film002.png", "Normal", 0),
    ]
    again = write_csv(tmp_path / "again.csv", ["ImageID", "finding", "label"], answers)
    recorder = Recorder()
    asked = TrainOptions.model_validate(
        {"csv": films, "val_csv": other, "corrections": [again], "findings": "nodule,effusion"}
    )
    training, validation = labelled_films(asked, films, recorder)
    assert training.targets[0, 0] == 1 - before[0].targets[0, places[0]]
    assert training.policy == "1 label of 1 film corrected"
    assert validation.policy == "0 labels of 0 films corrected, 1 confirmed"
    assert recorder.notes[:2] == [
        "--corrections: 1 label of 1 film corrected, 1 confirmed.",
        "Of --corrections, 1 label of films or findings that are not read here.",
    ]


@pytest.mark.parametrize("spelled", ["{}", "{}.0", "00{}"])
def test_a_patient_in_both_files_stops_either(spelled: str, films: Path, tmp_path: Path) -> None:
    """With the films that ``--fix`` lists left out, neither says anything more."""
    rows = [line.split(",") for line in films.read_text().splitlines()]
    for row in rows[1:]:
        row[1] = str(int(row[1]) - 10**38 + 100)
    part = {"train.csv": rows[:21], "val.csv": [rows[0], *rows[19:]]}
    part["val.csv"] = [rows[0], *([film, spelled.format(patient), *rest] for film, patient, *rest in rows[20:])]
    for name, lines in part.items():
        films.with_name(name).write_text("\n".join(",".join(line) for line in lines))
    train_csv, val_csv, fix = films.with_name("train.csv"), films.with_name("val.csv"), tmp_path / "fix.csv"
    options = {"csv": train_csv, "val_csv": val_csv}
    with pytest.raises(
        DataError, match=r"1 patient of .*train\.csv are in .*val\.csv too \(data leakage\) \(109\)"
    ) as caught:
        find_films(TrainOptions.model_validate(options), train_csv, Recorder())
    assert "--fix" in caught.value.hint
    checked = {"csv": train_csv, "against": [val_csv]}
    with pytest.raises(DataError, match="would break a run"):
        check(DataCheckOptions.model_validate({**checked, "fix": fix}), Recorder())
    training, validation = find_films(TrainOptions.model_validate({**options, "exclude": [fix]}), train_csv, Recorder())
    assert not set(training.table.patients) & set(validation.table.patients)
    check(DataCheckOptions.model_validate({**checked, "exclude": [fix]}), Recorder())


def test_a_study_is_not_parted_where_no_column_says_whose_it_is(tmp_path: Path) -> None:
    rows = [[f"{film}.png", f"s{film // 3}", int(film % 5 == 0)] for film in range(60)]
    csv = write_csv(tmp_path / "labels.csv", ["ImageID", "StudyID", "nodule"], rows)
    options, recorder = TrainOptions(csv=csv, patient_column="ImageID", val_fraction=0.3), Recorder()
    training, validation = labelled_films(options, csv, recorder)
    study = {row[0]: row[1] for row in rows}
    parts = [{study[film] for film in part.ids} for part in (training, validation)]
    assert not parts[0] & parts[1]
    assert len(validation.ids) % 3 == 0
    assert any("Films of a study (StudyID)" in note for note in recorder.notes)
    _, fold = labelled_folds(TrainOptions(csv=csv, patient_column="ImageID", folds=4), csv, Recorder())
    of_study = {(study[str(row[0])], int(one)) for row, one in zip(rows, fold, strict=True)}
    assert len(of_study) == 20


def test_a_finding_in_one_fold_alone_is_told_as_not_learned_there(tmp_path: Path) -> None:
    rows = [(f"{film}.png", film // 2, film % 3 == 0, film in (8, 9), film in (8, 9)) for film in range(24)]
    cells = [(film, patient, *map(int, labels)) for film, patient, *labels in rows]
    csv = write_csv(tmp_path / "l.csv", ["ImageID", "PatientID", "common", "Hernia", "Fibrosis"], cells)
    recorder = Recorder()
    table, fold = labelled_folds(TrainOptions(csv=csv, folds=3), csv, recorder)
    one = int(fold[list(table.ids).index("8.png")]) + 1
    told = [text for text in recorder.warnings if "mean nothing" in text]
    assert len(told) == 1
    assert f"in one fold: fold {one} is trained without Hernia, Fibrosis. Such" in told[0]
