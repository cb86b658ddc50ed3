from pathlib import Path

import numpy as np
import pytest

from cxrlt_cli.errors import DataError
from cxrlt_cli.labels import LabelSpace
from cxrlt_cli.tables.label_table import LabelTable, read_csv, read_exclusions, read_ids, read_labels
from tests.helpers import write_csv

LONG = "313257652463271541323716421675467814123"  # 39 digits


def csv_of(tmp_path: Path, text: str, encoding: str = "utf-8") -> Path:
    path = tmp_path / "labels.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_columns_of_0_1_and_empty_are_findings(tmp_path: Path) -> None:
    path = csv_of(
        tmp_path, "ImageID,PatientID,Age,View,Normal,Mass\na.png,1,70,PA,1,0\nb.png,1,71,AP,0.0,\nc.png,2,9,L,,1.0\n"
    )
    table = read_labels(path)
    assert table.space.findings == ("Normal", "Mass")
    assert table.space.normal == "Normal"
    np.testing.assert_array_equal(table.targets, [[1, 0], [0, np.nan], [np.nan, 1]])
    assert table.targets.dtype == np.float32
    assert table.counts.tolist() == [1, 1]
    assert table.num_labelled.tolist() == [2, 2]
    assert table.num_patients == 2


def test_long_numbers_stay_what_they_are(tmp_path: Path) -> None:
    other = LONG[:-1] + "4"
    table = read_labels(csv_of(tmp_path, f"ImageID,PatientID,Mass\n007,{LONG},0\n7,{other},1\n"))
    assert table.patients.tolist() == [LONG, other]
    assert table.ids.tolist() == ["007", "7"]


@pytest.mark.parametrize("text", [
    "\ufeffImageID,PatientID,Mass\r\na.png,1,0\r\nb.png,2,1\r\n",
    'Mass,"PatientID","ImageID"\n0,1,"a.png"\n1,2,b.png\n\n',
    "ImageID , PatientID, Mass\na.png, 1, 0\n b.png,2,1\n",
])  # fmt: skip
def test_spreadsheets_dialects_are_read_alike(tmp_path: Path, text: str) -> None:
    table = read_labels(csv_of(tmp_path, text))
    assert table.ids.tolist() == ["a.png", "b.png"]
    assert table.targets.tolist() == [[0], [1]]


GOOD = "ImageID,PatientID,Normal,Mass\na.png,1,1,0\nb.png,2,0,1\nc.png,3,0,0\n"


@pytest.mark.parametrize(("text", "said"), [
    (GOOD.replace("b.png", "a.png"), ["row 3", "'ImageID'", "a.png", "row 2"]),
    (GOOD.replace("b.png", ""), ["row 3", "'ImageID'", "empty"]),
    (GOOD.replace("b.png", "../b.png"), ["row 3", "'ImageID'", "../b.png", "leaves the image folder"]),
    (GOOD.replace("b.png", "/etc/b.png"), ["row 3", "leaves the image folder"]),
    (GOOD.replace("b.png", "C:\\b.png"), ["row 3", "leaves the image folder"]),
    (GOOD.replace("b.png", "x\\..\\..\\b.png"), ["row 3", "leaves the image folder"]),
    (GOOD.replace("2,0,1", "2,0,2"), ["row 3", "'Mass'", "'2'"]),
    (GOOD.replace("2,0,1", "2,0,-1"), ["row 3", "'Mass'", "'-1'"]),
    (GOOD.replace("2,0,1", "2,0,maybe"), ["row 3", "'Mass'", "'maybe'"]),
    (GOOD.replace("b.png,2", "b.png,"), ["row 3", "'PatientID'", "empty"]),
    (GOOD.replace("PatientID", "Patient"), ["no column 'PatientID'", "--patient-column", "Normal"]),
    (GOOD.replace("ImageID", "Image"), ["no column 'ImageID'", "--id-column"]),
    (GOOD.replace("Normal", "Mass"), ["more than one column 'Mass'"]),
    (GOOD.replace("2,0,1", "2,0"), ["line 3", "3 cells", "4"]),
    (GOOD.replace("2,0,1", "2,0,1,1"), ["line 3", "5 cells", "4"]),
    (GOOD.replace("b.png", '"b.png'), ["labels.csv, line"]),
    ("", ["empty"]),
    ("ImageID,PatientID,Mass\n", ["no row"]),
    ("ImageID,PatientID,Age\na.png,1,70\n", ["has no column of 0 and 1", "--findings"]),
])  # fmt: skip
def test_faults_name_file_column_and_row(tmp_path: Path, text: str, said: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        read_labels(csv_of(tmp_path, text))
    for words in ["labels.csv", *said]:
        assert words in str(caught.value)


def test_rows_are_those_of_a_spreadsheet(tmp_path: Path) -> None:
    text = GOOD.replace("b.png,2,0,1", "\n,,,\nb.png,2,0,7")
    with pytest.raises(DataError, match="row 5: column 'Mass' holds '7'"):
        read_labels(csv_of(tmp_path, text))


def test_columns_that_are_passed_over_are_told(tmp_path: Path) -> None:
    path = csv_of(tmp_path, "ImageID,PatientID,Age,Side,Mass\na,1,70,left,0\nb,2,50,right,1\nc,2,NA,,1\n")
    table = read_labels(path)
    assert table.space.findings == ("Mass",)
    assert list(map(str, table.ignored)) == ["Age (70, 50)", "Side (left, right)"]


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.csv does not exist"):
        read_csv(tmp_path / "nothing.csv")
    with pytest.raises(DataError, match="is a folder"):
        read_csv(tmp_path)
    with pytest.raises(DataError, match="not UTF-8"):
        read_csv(csv_of(tmp_path, "ImageID,Größe\na,1\n", "latin-1"))


def test_metadata_is_told_from_a_finding_with_a_typing_error(tmp_path: Path) -> None:
    ages = csv_of(tmp_path, "ImageID,PatientID,Visits,Mass\na,1,0,0\nb,2,3,1\nc,3,4,0\n")
    assert read_labels(ages).space.findings == ("Mass",)
    rare = csv_of(tmp_path, "ImageID,PatientID,Hernia,Mass\na,1,x,0\nb,2,y,1\nc,3,z,0\n")
    with pytest.raises(DataError, match="'Hernia' holds 'x'"):
        read_labels(rare)


def test_findings_are_taken_in_the_order_asked_for(tmp_path: Path) -> None:
    path = csv_of(tmp_path, GOOD)
    assert read_labels(path, findings=["Mass", "Normal"]).targets[0].tolist() == [0, 1]
    with pytest.raises(DataError, match="no column 'Hernia'"):
        read_labels(path, findings=["Hernia"])


def test_exclusions_and_ids(tmp_path: Path) -> None:
    path = csv_of(tmp_path, GOOD)
    removal = write_csv(tmp_path / "Removal.csv", ["ImageID"], [["b.png"], ["zzz.png"]])
    assert read_ids(path).tolist() == ["a.png", "b.png", "c.png"]
    assert read_labels(path).without(read_exclusions([removal])).ids.tolist() == ["a.png", "c.png"]


def long_tailed(num_films: int = 3000) -> LabelTable:
    rng = np.random.default_rng(0)
    frequencies = (0.4, 0.1, 0.03, 0.01, 0.003)
    targets = (rng.random((num_films, 5)) < frequencies).astype(np.float32)
    patients = np.array([f"p{number}" for number in rng.integers(0, num_films // 2, num_films)], object)
    ids = np.array([f"{index}.png" for index in range(num_films)], object)
    return LabelTable(ids, patients, targets, LabelSpace.of("abcde"))


@pytest.mark.parametrize("seed", range(5))
def test_the_split_keeps_patients_apart_and_shares_out_the_tail(seed: int) -> None:
    table = long_tailed()
    training, validation = table.split(0.2, seed)
    assert not set(training.patients) & set(validation.patients)
    assert sorted([*training.ids, *validation.ids]) == sorted(table.ids)
    assert abs(len(validation) - 0.2 * len(table)) <= 0.02 * len(table)
    np.testing.assert_allclose(validation.counts, 0.2 * table.counts, atol=2)


def test_the_split_is_a_function_of_its_seed() -> None:
    table = long_tailed(300)
    first, again, other = (table.split(0.2, seed)[1].ids.tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_select_reorders_by_name() -> None:
    table = long_tailed(50).select(["e", "a"])
    assert table.space.findings == ("e", "a")
    np.testing.assert_array_equal(table.targets[:, 1], long_tailed(50).targets[:, 0])


@pytest.mark.parametrize(
    "film", ["=1+1", "@SUM(A1)", "+A1", "-A1+cmd|' /C calc'!A0", "－A1", '"x;=1+1"', '"a\nb.png"', "a\x1b[2J"]
)
def test_ids_that_do_harm_elsewhere_are_refused(tmp_path: Path, film: str) -> None:
    """In a spreadsheet, or on a terminal; nothing is changed on the way out, so that ids match."""
    path = csv_of(tmp_path, GOOD.replace("b.png", film))
    for read in (read_labels, read_ids):
        with pytest.raises(
            DataError, match=r"(?s)row 3: column 'ImageID' holds .*(formula|control character)"
        ) as caught:
            read(path)
        assert "Rename" in caught.value.hint
        assert "\x1b" not in str(caught.value)


def test_signed_numbers_and_quoted_ids_are_read(tmp_path: Path) -> None:
    path = csv_of(tmp_path, 'ImageID,Mass\n-12.png,0\n+1,1\n"a, ""b"".png",0\n')
    assert read_ids(path).tolist() == ["-12.png", "+1", 'a, "b".png']


def test_findings_are_no_formulas_and_other_columns_may_be(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has the column '=Mass', which a spreadsheet would run"):
        read_labels(csv_of(tmp_path, GOOD.replace("Mass", "=Mass")))
    path = csv_of(tmp_path, "ImageID,PatientID,=Age,Mass\na.png,1,70,0\nb.png,2,80,1\n")
    assert [column.name for column in read_labels(path).ignored] == ["=Age"]
