"""SVG figures as PNG, for journals that take no SVG: drawn by resvg, which comes with ``pip install "cxrlt[png]"``.

Text is set in the font that Pillow carries, so that it is there, and the same, on a machine without fonts; letters that
this font lacks are looked for in the fonts of the machine.
"""

import html
import re
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cxrlt_cli.errors import InstallError, listed

DPI, WIDEST = 300, 174.0  # millimetres: two columns of a journal's page
_CSS_DPI, _INCH = 96, 25.4  # pixels of CSS in an inch, millimetres in an inch
_PACKAGE, _ABSENT = "resvg_py", "\U0010fffd"  # the second: a letter that no font has
_WIDTH = re.compile(r'<svg[^>]* width="([\d.]+)"')
_TEXT = re.compile(r"<text\b[^>]*>([^<]*)</text>")
_SAMPLE = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40"><text x="8" y="28" font-family="sans-serif" '
    'font-size="20">{}</text></svg>'
)


def drawn_by() -> str:
    """Name and version of what draws; raises InstallError where it is not installed."""
    if find_spec(_PACKAGE) is None:
        raise InstallError(
            f"Figures are not written as PNG: the package {_PACKAGE} is missing.", 'pip install "cxrlt[png]"'
        )
    import resvg_py

    return f"{_PACKAGE} {resvg_py.__version__}"


def as_png(svgs: Mapping[str, str]) -> dict[str, bytes]:
    """Each SVG as PNG of ``DPI`` on white, in its own size (96 of its pixels an inch) or ``WIDEST``.

    Raises InstallError where the package is missing, or a font for any letter: no figure lacks its text.
    """
    drawn_by()
    with TemporaryDirectory() as folder:
        font = Path(folder) / "font.ttf"
        family = _write_font(font)
        settings: dict[str, Any] = {"background": "white", "font_files": [str(font)], "font_family": family,
                                    "sans_serif_family": family, "skip_system_fonts": True}  # fmt: skip
        letters = letters_of(svgs.values())
        if _without_glyph(letters, settings):
            settings["skip_system_fonts"] = False
            if lost := _without_glyph(letters, settings):
                raise InstallError(
                    f"Figures are not written as PNG: no font of this machine has {listed(lost, 10)}.",
                    "Install a font that has them, such as one of the Noto fonts.",
                )
        return {name: _drawn(svg, settings) for name, svg in svgs.items()}


def letters_of(svgs: Iterable[str]) -> list[str]:
    """Every letter of the texts that leaves ink, sorted."""
    texts = (html.unescape(text) for svg in svgs for text in _TEXT.findall(svg))
    return sorted({letter for text in texts for letter in text if not letter.isspace()})


def _write_font(path: Path) -> str:
    """The font of Pillow as a file; its family."""
    from PIL import ImageFont

    font = ImageFont.load_default(size=12)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow comes with FreeType"
    path.write_bytes(font.font_bytes)
    return str(font.getname()[0])


def _without_glyph(letters: Iterable[str], settings: Mapping[str, Any]) -> list[str]:
    """Those that are drawn as a letter is that no font has: as a box, or not at all."""
    absent = _rendered(_SAMPLE.format(_ABSENT), settings)
    return [one for one in letters if _rendered(_SAMPLE.format(html.escape(one)), settings) == absent]


def _drawn(svg: str, settings: Mapping[str, Any]) -> bytes:
    """PNG without transparency, and with its resolution in it, which resvg leaves out."""
    from PIL import Image

    width = _WIDTH.search(svg)
    assert width is not None, "every figure says how wide it is"
    zoom = min(DPI / _CSS_DPI, WIDEST / _INCH * DPI / float(width[1]))
    png = BytesIO()
    with Image.open(BytesIO(_rendered(svg, {**settings, "zoom": zoom}))) as image:
        image.convert("RGB").save(png, "PNG", dpi=(DPI, DPI))
    return png.getvalue()


def _rendered(svg: str, settings: Mapping[str, Any]) -> bytes:
    import resvg_py

    return bytes(resvg_py.svg_to_bytes(svg_string=svg, **settings))
