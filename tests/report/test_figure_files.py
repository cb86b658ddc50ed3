from xml.etree import ElementTree as Xml

from cxrlt_cli.report.figure_files import ACROSS, EACH, TITLE, _grid, standalone

SVG = "{http://www.w3.org/2000/svg}"


def test_small_charts_stand_in_rows_each_below_its_name() -> None:
    chart = '<svg viewBox="0 0 10 10" role="img"><line x1="0"/></svg>'
    names = [f"finding <{number}>" for number in range(ACROSS + 1)]
    drawn = Xml.fromstring(standalone(_grid([(name, chart) for name in names])))
    assert [text.text for text in drawn.iter(f"{SVG}text")] == names
    charts = [(int(one.attrib["x"]), int(one.attrib["y"])) for one in drawn.iter(f"{SVG}svg") if "x" in one.attrib]
    assert charts == [(n * (EACH + 10), TITLE) for n in range(ACROSS)] + [(0, EACH + TITLE + 10 + TITLE)]
    assert drawn.attrib["width"] == str(ACROSS * (EACH + 10))
    assert drawn.attrib["height"] == str(2 * (EACH + TITLE + 10))
    assert _grid([]) == ""


def test_a_figure_has_its_style_and_its_size() -> None:
    drawn = Xml.fromstring(standalone('<svg viewBox="0 0 658 330.5"><circle class="dot"/></svg>'))
    assert (drawn.attrib["width"], drawn.attrib["height"]) == ("658", "330.5")
    (style,) = drawn.iter(f"{SVG}style")
    assert ".dot {" in str(style.text)
