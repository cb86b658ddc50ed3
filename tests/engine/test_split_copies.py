import shutil
from pathlib import Path

import pytest

from cxrlt_cli.engine.split_copies import copies
from cxrlt_cli.tables.label_table import read_labels
from tests.helpers import Recorder, make_films


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return make_films(tmp_path / "set", 12)


def test_copies_count_where_they_are_in_two_parts(labels: Path) -> None:
    table = read_labels(labels)
    ids = list(map(str, table.ids))
    parts = {film: ("train", "val", "fold-10")[number % 3] for number, film in enumerate(ids)}
    images = labels.parent / "images"
    shutil.copy(images / ids[0], images / ids[1])  # train and val
    shutil.copy(images / ids[2], images / ids[5])  # both of fold-10
    found = copies([labels], [table], parts, {}, Recorder())
    assert found is not None
    assert found["num_films"] == 12
    assert list(found["pairs"]) == ["train val", "train fold-10", "val fold-10"]
    assert [pair["identical"] for pair in found["pairs"].values()] == [1, 0, 0]
    assert [pair["alike"] for pair in found["pairs"].values()] == [0, 0, 0]


def test_one_part_is_told_and_nothing_is_read(labels: Path) -> None:
    recorder = Recorder()
    table = read_labels(labels)
    shutil.rmtree(labels.parent / "images")
    assert copies([labels], [table], dict.fromkeys(map(str, table.ids), "val"), {}, recorder) is None
    assert "of one part" in recorder.notes[-1]
