from pathlib import Path

import cv2

from cxrlt_cli.phantom.hospitals import SECOND
from cxrlt_cli.phantom.sheet import COLUMNS, write_sheet


def test_the_contact_sheet_has_36_panels(tmp_path: Path) -> None:
    write_sheet(tmp_path / "sheet.png", seed=1, panel=64)
    sheet = cv2.imread(str(tmp_path / "sheet.png"), cv2.IMREAD_UNCHANGED)
    assert sheet is not None
    assert sheet.shape == (6 * (64 + 26), COLUMNS * 64)
    write_sheet(tmp_path / "studies.png", seed=1, panel=64, studies=True)
    both = cv2.imread(str(tmp_path / "studies.png"), cv2.IMREAD_UNCHANGED)
    assert both is not None
    assert both.shape == (10 * (64 + 26), COLUMNS * 64)
    assert (both[: len(sheet)] == sheet).all()
    write_sheet(tmp_path / "second.png", seed=1, panel=64, hospital=SECOND)
    second = cv2.imread(str(tmp_path / "second.png"), cv2.IMREAD_UNCHANGED)
    assert second is not None
    assert (second[:64] != sheet[:64]).mean() > 0.5
