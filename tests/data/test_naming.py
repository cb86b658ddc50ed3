import pickle
from pathlib import Path

import numpy as np
import pytest

from cxrlt_cli.config import ComputeOptions
from cxrlt_cli.data.naming import find_naming
from cxrlt_cli.engine.films import FilmList
from cxrlt_cli.errors import DataError
from tests.data.test_image import dicom
from tests.helpers import Recorder, write_csv

PIXELS = np.arange(64, dtype=np.uint16).reshape(8, 8)


def test_ids_with_and_without_an_ending(tmp_path: Path) -> None:
    film = dicom(tmp_path / "a.dcm", PIXELS)
    for name in ("a.dcm", "a"):
        assert find_naming(tmp_path, [name], Recorder().progress, 2).path(name) == film


def test_uids_are_found_below_images_and_doubled_ones_told(tmp_path: Path) -> None:
    folder = tmp_path / "images" / "series"
    folder.mkdir(parents=True)
    films = [dicom(folder / f"{number}", PIXELS, SOPInstanceUID=f"1.2.{number}") for number in (3, 4)]
    csv = write_csv(tmp_path / "films.csv", ["ImageID"], [["1.2.4"], ["1.2.3"]])
    recorder = Recorder()
    found = FilmList.of(ComputeOptions(csv=csv), csv, recorder)
    assert pickle.loads(pickle.dumps(found)).paths(np.array(["1.2.4", "1.2.3"], object)) == films[::-1]
    assert recorder.advanced == {"Reading DICOM headers": 2}
    dicom(folder / "again", PIXELS, SOPInstanceUID="1.2.4")
    with pytest.raises(DataError, match=r"4 and .*again have one SOPInstanceUID, 1\.2\.4"):
        FilmList.of(ComputeOptions(csv=csv), csv, Recorder())
    gone = write_csv(tmp_path / "gone.csv", ["ImageID"], [["1.2.9"]])
    with pytest.raises(DataError, match="1 of 1 films"):
        FilmList.of(ComputeOptions(csv=gone), gone, Recorder())
