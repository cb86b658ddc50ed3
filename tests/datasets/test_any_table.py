from pathlib import Path

import pytest

from cxrlt_cli.errors import DataError, OptionError
from tests.datasets.sets import labels_only
from tests.helpers import write_csv


def test_columns_of_labels_with_uncertain_and_blank(tmp_path: Path) -> None:
    source = write_csv(
        tmp_path / "a.csv",
        ("file", "pid", "age", "Split", "Mass", "Edema"),
        [("a.png", "007", 41, "training", 1, -1), ("b.png", "7", 42, "dev", 0, "")],
    )
    rows, _ = labels_only("table", source, out=tmp_path / "b.csv", id_column="file", patient_column="pid")
    assert rows == [
        {"ImageID": "a.png", "PatientID": "007", "Split": "train", "Mass": "1", "Edema": ""},
        {"ImageID": "b.png", "PatientID": "7", "Split": "val", "Mass": "0", "Edema": ""},
    ]
    rows, _ = labels_only("table", source, out=tmp_path / "b.csv", id_column="file", uncertain="1", unmentioned="0")
    assert [row["Edema"] for row in rows] == ["1", "0"]
    assert [row["PatientID"] for row in rows] == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("cells", "separator"),
    [
        (("Mass; Edema", "Edema", "[]"), None),
        (("Mass, right; Edema", "Edema", "[]"), None),
        (("Mass/Edema", "Edema", "[]"), "/"),
        (("['Mass', ' Edema']", "['Edema']", "[]"), None),
        (('["Mass", "Edema"]', '["Edema"]', "[]"), None),
    ],
)
def test_lists_in_a_cell(cells: tuple[str, ...], separator: str | None, tmp_path: Path) -> None:
    rows = [(f"{number}.png", cell) for number, cell in enumerate(cells)]
    source = write_csv(tmp_path / "a.csv", ("ImageID", "labels"), rows)
    options = {} if separator is None else {"separator": separator}
    written, _ = labels_only("table", source, out=tmp_path / "b.csv", list_column="labels", **options)
    mass = list(written[0])[-1]
    assert [(row["Edema"], row[mass]) for row in written] == [("1", "1"), ("1", "0"), ("0", "0")]


def test_an_empty_cell_says_nothing_and_each_file_knows_the_names_of_all(tmp_path: Path) -> None:
    rows = {"a": [("a.png", "Mass"), ("b.png", "")], "b": [("c.png", "Edema"), ("d.png", "nan")]}
    sources = [write_csv(tmp_path / f"{name}.csv", ("ImageID", "l"), rows[name]) for name in rows]
    written, _ = labels_only("table", *sources, out=tmp_path / "o.csv", list_column="l")
    assert [(row["Edema"], row["Mass"]) for row in written] == [("0", "1"), ("", ""), ("1", "0"), ("", "")]
    written, _ = labels_only("table", *sources, out=tmp_path / "o.csv", list_column="l", unmentioned="0")
    assert written[1]["Mass"] == "0"


def test_what_is_not_read_is_told(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "a.csv", ("ImageID", "Rib count", "Mass"), [("a", 12, 1), ("b", 11, 0)])
    _, recorder = labels_only("table", source, out=tmp_path / "b.csv")
    assert "Not read, for they are no findings: Rib count." in recorder.notes


def test_errors_name_the_way_out(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "a.csv", ("image", "labels", "n"), [("a", "Mass|Edema", 40), ("b", "Mass", 41)])
    with pytest.raises(DataError, match=r"no column 'ImageID'.*Did you mean image\?(.|\n)*Pass --id-column image"):
        labels_only("table", source, out=tmp_path / "b.csv")
    with pytest.raises(DataError, match=r"column 'labels' holds lists\.(.|\n)*--list-column 'labels'"):
        labels_only("table", source, out=tmp_path / "b.csv", id_column="image")
    with pytest.raises(OptionError, match=r"no column 'label'(.|\n)*--list-column 'labels'"):
        labels_only("table", source, out=tmp_path / "b.csv", id_column="image", list_column="label")
    lost = write_csv(tmp_path / "c.csv", ("ImageID", "PatientID", "Mass"), [("a", "1.5e+38", 1), ("b", "2", 0)])
    with pytest.raises(DataError, match=r"holds 1\.5e\+38 as a patient"):
        labels_only("table", lost, out=tmp_path / "b.csv")
    formula = write_csv(tmp_path / "d.csv", ("ImageID", "l"), [("a", "=cmd|x"), ("b", "x")])
    with pytest.raises(DataError, match="a spreadsheet would run as a formula"):
        labels_only("table", formula, out=tmp_path / "b.csv", list_column="l", separator="|")
    with pytest.raises(DataError, match="holds several tables"):
        labels_only("table", tmp_path, out=tmp_path / "z" / "b.csv")
