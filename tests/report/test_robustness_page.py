import re
from dataclasses import replace

from cxrlt_cli.report.robustness_page import robustness_section
from cxrlt_cli.scores.robustness import Kind, Level, Robustness, Trend
from tests.report.test_page import EVIL, Reader

PLAIN = Level(0.5, 0.8, (0.4, 0.6), (0.7, 0.9))
TREND = Trend(
    Kind(EVIL, (2, 5), EVIL), (Level(0.4, 0.7, (0.3, 0.5), (0.6, 0.8)), Level(0.25, 0.6, None, None)), -0.125, -0.1,
    (-0.2, -0.05), None,
)  # fmt: skip


def made(**changes: object) -> str:
    return robustness_section(replace(Robustness(EVIL, 1234, ("a",), PLAIN, (TREND,)), **changes))  # type: ignore[arg-type]


def test_every_score_is_on_the_page_and_nothing_that_was_read_is_html() -> None:
    html = made()
    reader = Reader()
    reader.feed(html.replace("<polygon", "<polyline").replace("</polygon", "</polyline"))
    assert reader.open == []
    assert "<script" not in html
    assert not [1 for _, attributes in reader.tags if "onload" in attributes]
    for shown in (
        "1,234 unperturbed films",
        "0.500",
        "0.400",
        "0.250",
        "0.300 to 0.500",
        "0.600 to 0.800",
        "-0.125 (-0.200 to -0.050)",
    ):
        assert shown in html, shown


def test_a_curve_goes_through_the_scores_from_left_to_right_and_down() -> None:
    points = re.search(r'<polyline class="curve" points="([^"]+)"', made())
    assert points is not None
    xs, ys = zip(*(tuple(map(float, point.split(","))) for point in points[1].split()), strict=True)
    assert len(xs) == 3
    assert list(xs) == sorted(xs)
    assert list(ys) == sorted(ys)  # lower scores stand lower
    drop, gap = ys[1] - ys[0], ys[2] - ys[0]
    assert abs(gap / drop - 2.5) < 0.05


def test_scores_that_do_not_exist_are_left_out() -> None:
    nothing = Level(None, None)
    html = made(plain=nothing, trends=(replace(TREND, levels=(nothing, nothing), ap_slope=None),))
    assert "None" not in html
    assert "nan" not in html
    assert "polygon" not in html
