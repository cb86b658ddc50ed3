import re
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from cxrlt_cli.engine import svg_png
from cxrlt_cli.engine.svg_png import as_png, drawn_by, letters_of
from cxrlt_cli.errors import InstallError
from cxrlt_cli.report.figure_files import standalone

CHART = (
    '<svg viewBox="0 0 {} 80"><text class="label bold" x="9" y="30">{}</text><circle class="dot" cx="9" r="4"/></svg>'
)


def pixels(text: str, width: int = 200) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    (png,) = as_png({"a": standalone(CHART.format(width, text))}).values()
    with Image.open(BytesIO(png)) as image:
        assert image.mode == "RGB"
        assert [round(value) for value in image.info["dpi"]] == [300, 300]
        return np.array(image)


def test_a_figure_has_its_size_at_300_dpi_and_is_no_wider_than_two_columns() -> None:
    assert pixels("Nodule", 192).shape[1] == 600  # two inches
    assert pixels("Nodule", 2000).shape[1] == pytest.approx(174 / 25.4 * 300, abs=1)


def test_text_is_there_without_a_font_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = svg_png._rendered
    fonts = []

    def noted(svg: str, settings: dict[str, object]) -> bytes:
        fonts.append(settings["skip_system_fonts"])
        return drawn(svg, settings)

    monkeypatch.setattr(svg_png, "_rendered", noted)
    ink = (pixels("Nodule") < 128).all(axis=2).sum() - (pixels("") < 128).all(axis=2).sum()
    assert ink > 500
    assert set(fonts) == {True}


def test_letters_that_no_font_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InstallError, match="no font of this machine has \U0010fff0"):
        pixels("Nodule \U0010fff0")
    drawn = svg_png._rendered
    bare = {"skip_system_fonts": True}
    monkeypatch.setattr(svg_png, "_rendered", lambda svg, settings: drawn(svg, {**settings, **bare}))
    with pytest.raises(InstallError, match="has é"):
        pixels("Epanchement pleuré")


def test_letters_are_those_of_texts() -> None:
    assert letters_of(['<title>x</title><text x="1">a &lt; b</text>', "<text>b–</text>"]) == ["<", "a", "b", "–"]


def test_without_the_package_the_line_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert re.fullmatch(r"resvg_py \d+(\.\d+)+", drawn_by())
    monkeypatch.setattr(svg_png, "find_spec", lambda _: None)
    with pytest.raises(InstallError) as caught:
        as_png({})
    assert caught.value.hint == 'pip install "cxrlt[png]"'
