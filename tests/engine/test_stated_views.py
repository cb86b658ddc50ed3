"""How films were taken: the column goes before the headers, and a column that was named must be there."""

from pathlib import Path

import numpy as np
import pytest

from cxrlt_cli.config import InferOptions
from cxrlt_cli.engine.stated_views import StatedViews
from cxrlt_cli.errors import DataError
from tests.exports import dicom
from tests.helpers import write_csv

IDS = np.array(["a", "b"], object)


def options(**changes: object) -> InferOptions:
    return InferOptions.model_validate({"checkpoint": "m", **changes})


def test_a_column_says_it_and_no_header_is_read(tmp_path: Path) -> None:
    csv = write_csv(tmp_path / "a.csv", ["ImageID", "ViewPosition"], [("a", "Lateral"), ("b", "AP")])

    def paths(_: object) -> list[Path]:
        raise AssertionError("headers are not asked")

    views = StatedViews.of(IDS, csv, paths, options())
    assert views.of_films(IDS).tolist() == ["Lateral", "AP"]
    assert views.comparable(IDS) == ["L", "AP"]


def test_without_a_column_headers_say_it(tmp_path: Path) -> None:
    csv = write_csv(tmp_path / "a.csv", ["ImageID"], [("a",), ("b",)])
    dicom(tmp_path / "a.dcm", ViewPosition="PA")
    (tmp_path / "b.png").write_bytes(b"no DICOM")
    views = StatedViews.of(IDS, csv, lambda _: [tmp_path / "a.dcm", tmp_path / "b.png"], options())
    assert views.comparable(IDS) == ["PA", ""]
    assert StatedViews.of(IDS, csv, None, options()).comparable(IDS) == ["", ""]


def test_a_column_that_was_named_must_be_there(tmp_path: Path) -> None:
    csv = write_csv(tmp_path / "a.csv", ["ImageID", "View"], [("a", "PA"), ("b", "PA")])
    with pytest.raises(DataError, match=r"has no column 'Views'.*Did you mean View") as caught:
        StatedViews.of(IDS, csv, None, options(view_column="Views"))
    assert caught.value.hint == "Pass --view-column View."
