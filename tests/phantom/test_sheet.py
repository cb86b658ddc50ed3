from pathlib import Path

import cv2

from cxrlt_cli.phantom.sheet import COLUMNS, write_sheet


def test_the_contact_sheet_has_36_panels(tmp_path: Path) -> None:
    write_sheet(tmp_path / "sheet.png", seed=1, panel=64)
    sheet = cv2.imread(str(tmp_path / "sheet.png"), cv2.IMREAD_UNCHANGED)
    assert sheet is not None
    assert sheet.shape == (6 * (64 + 26), COLUMNS * 64)
