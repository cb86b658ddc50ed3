import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from cxrlt_cli.errors import DataError, InstallError, OptionError
from cxrlt_cli.tables import embeddings, parquet
from cxrlt_cli.tables.embeddings import Embeddings, checkpoint_of, finish_records, require_embeddings, to_records
from cxrlt_cli.tables.label_table import Texts
from tests.helpers import flipped

NAMES = ("e.npz", "e.parquet")
IDS = np.array(["a,1.png", "sub/ä 2.png", '"x".png'], object)
FEATURES = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)


def written(path: Path, ids: Texts = IDS, features: NDArray[np.float32] = FEATURES, column: str = "ImageID") -> Path:
    records = path.with_name("records")
    records.write_bytes(to_records(ids[:1], features[:1]) + to_records(ids[1:], features[1:]))
    finish_records(records, path, width=features.shape[1], id_column=column, checkpoint="abc")
    assert not records.exists()
    return path


@pytest.mark.parametrize("name", NAMES)
def test_features_read_back_bit_by_bit(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = written(tmp_path / name).read_bytes()
    for films in (1, 2):
        monkeypatch.setattr(embeddings, "FILMS", films)
        read = Embeddings.read(written(tmp_path / name))
        assert read.ids.tolist() == IDS.tolist()
        assert read.features.dtype == np.float32
        np.testing.assert_array_equal(read.features, FEATURES)
        assert read.checkpoint == checkpoint_of(tmp_path / name) == "abc"
        if name == "e.npz":
            assert (tmp_path / name).read_bytes() == whole


def test_other_programs_read_them(tmp_path: Path) -> None:
    with np.load(written(tmp_path / "e.npz")) as content:
        assert content["ids"].tolist() == IDS.tolist()
        np.testing.assert_array_equal(content["features"], FEATURES)
        assert str(content["checkpoint"]) == "abc"
    frame = pd.read_parquet(written(tmp_path / "e.parquet", column="dicom_id"))
    assert frame["dicom_id"].tolist() == IDS.tolist()
    np.testing.assert_array_equal(np.stack(list(frame["features"])), FEATURES)


def test_a_path_that_says_neither_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError, match=r"(?s)--embeddings .*e.csv.*\.parquet or \.npz"):
        require_embeddings(tmp_path / "e.csv", "--embeddings", (), "ImageID")
    with pytest.raises(OptionError, match="--id-column features"):
        require_embeddings(tmp_path / "e.parquet", "--embeddings", (), "features")
    require_embeddings(tmp_path / "e.npz", "--embeddings", (), "features")
    monkeypatch.setattr(parquet, "find_spec", lambda _: None)
    with pytest.raises(InstallError, match="pyarrow is missing"):
        require_embeddings(tmp_path / "e.parquet", "--embeddings", (), "ImageID")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_embeddings_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="does not exist"):
        Embeddings.read(tmp_path / name)
    (tmp_path / name).write_bytes(b"ImageID,Mass\na.png,0.5\n")
    with pytest.raises(DataError, match=f"{name} is damaged, or holds no embeddings"):
        Embeddings.read(tmp_path / name)
    nan = FEATURES.copy()
    nan[1, 1] = np.nan
    with pytest.raises(DataError, match="no finite numbers"):
        Embeddings.read(written(tmp_path / name, features=nan))
    with pytest.raises(DataError, match="more than once"):
        Embeddings.read(written(tmp_path / name, IDS[[0, 1, 0]]))
    for film, said in (("=cmd()", "spreadsheet"), ("../a.png", "leaves the image folder")):
        with pytest.raises(DataError, match=said):
            Embeddings.read(written(tmp_path / name, np.array(["a", "b", film], object)))


def test_files_of_the_same_ending_and_other_content_are_told(tmp_path: Path) -> None:
    pd.DataFrame({"ImageID": ["a"], "Mass": [0.5]}).to_parquet(tmp_path / "p.parquet")
    np.savez(tmp_path / "p.npz", a=np.ones(3))
    np.savez(tmp_path / "objects.npz", ids=IDS, features=FEATURES, checkpoint=np.array("abc"))
    np.savez_compressed(tmp_path / "small.npz", ids=IDS.astype(str), features=FEATURES, checkpoint=np.array("abc"))
    for name in ("p.parquet", "p.npz", "objects.npz", "small.npz"):
        with pytest.raises(DataError, match=f"{name} is damaged, or holds no embeddings"):
            Embeddings.read(tmp_path / name)
    with zipfile.ZipFile(written(tmp_path / "e.npz")) as parts:
        assert parts.namelist() == ["ids.npy", "features.npy", "checkpoint.npy"]
    with pytest.raises(DataError, match="Parquet or npz"):
        Embeddings.read(tmp_path / "p.csv")


@pytest.mark.parametrize("name", NAMES)
def test_a_bit_that_is_turned_is_no_crash(tmp_path: Path, name: str) -> None:
    whole = written(tmp_path / name).read_bytes()
    refused = 0
    for spoilt in flipped(whole, 150):
        (tmp_path / name).write_bytes(spoilt)
        try:
            Embeddings.read(tmp_path / name)
        except DataError:
            refused += 1
    assert refused > 30
