from pathlib import Path

import pytest

from cxrlt_cli.config.choices import KINDS
from cxrlt_cli.datasets.kinds import OPTIONS_OF, READERS
from cxrlt_cli.errors import DataError, OptionError
from cxrlt_cli.tables.known_headers import HEADERS
from tests.datasets.sets import SAMPLES, labels_only
from tests.helpers import write_csv


def test_every_kind_has_a_reader_and_a_line_of_help() -> None:
    assert set(READERS) == set(KINDS) - {"auto"}
    assert set(HEADERS.values()) <= set(READERS)
    assert {kind for kinds in OPTIONS_OF.values() for kind in kinds} <= set(READERS)


def test_two_kinds_that_fit_are_an_error_that_names_them(tmp_path: Path) -> None:
    files = [SAMPLES / "nih" / "Data_Entry_2017.csv", SAMPLES / "rsna-pneumonia" / "stage_2_train_labels.csv"]
    with pytest.raises(DataError, match=r"more than one kind: nih \(.*Data_Entry_2017\.csv\), rsna \("):
        labels_only("auto", *files, out=tmp_path / "a.csv")


def test_a_table_that_nobody_knows(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "a.csv", ("ImageID", "Mass"), [("a", 1)])
    with pytest.raises(DataError, match=r"no label file whose header is known(.|\n)*table for a table of your own"):
        labels_only("auto", source, out=tmp_path / "b.csv")
    with pytest.raises(OptionError, match=r"SOURCE .*a\.cs does not exist\. Did you mean a\.csv\?"):
        labels_only("auto", tmp_path / "a.cs", out=tmp_path / "b.csv")


def test_another_kind_than_the_files_are(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is no label file of nih: it has no column"):
        labels_only("nih", SAMPLES / "brax" / "master_spreadsheet_update.csv", out=tmp_path / "a.csv")
    with pytest.raises(
        DataError, match=r"holds no PADCHEST_.*the label file of padchest \(it has test_list\.txt|it has"
    ):
        labels_only("padchest", SAMPLES / "nih", out=tmp_path / "a.csv")
