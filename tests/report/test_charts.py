import re
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from cxrlt_cli.report import charts
from cxrlt_cli.scores.metrics import score


def test_a_curve_is_thinned_out_and_stays_in_its_frame() -> None:
    rng = np.random.default_rng(0)
    targets, probabilities = (rng.random(5000) < 0.3).astype(float), rng.random(5000)
    for draw in (charts.precision_recall, charts.receiver_operating, charts.reliability, charts.decision_curve):
        svg = draw("x", targets, probabilities)
        assert len(svg) < 16000
        for points in re.findall(r'points="(.*?)"', svg):
            values = [float(value) for value in re.split("[ ,]", points)]
            assert 0 <= min(values) <= max(values) <= charts.SMALL


def test_what_is_drawn_of_a_rare_finding_is_its_ap() -> None:
    """Among 50,000 points, the 50 of a rare finding's positives must not be left out."""
    rng = np.random.default_rng(0)
    targets = np.zeros(50_000)
    targets[:50] = 1
    probabilities = rng.random(50_000) * 0.5 + targets * rng.random(50_000) * 0.6
    svg = charts.precision_recall("x", targets, probabilities)
    (points,) = re.findall(r'<polyline class="curve" points="(.*?)"', svg)
    x, y = np.array([[float(value) for value in point.split(",")] for point in points.split()]).T
    side = charts.SMALL - 6 - charts.MARGIN
    recall, precision = (x - charts.MARGIN) / side, (charts.SMALL - charts.MARGIN - y) / side
    drawn = float(np.sum(np.diff(recall) * precision[1:]))
    assert drawn == pytest.approx(average_precision_score(targets, probabilities), abs=0.02)


def test_a_model_that_does_harm_is_drawn_below_the_line_of_acting_on_none() -> None:
    targets = np.repeat([1.0, 0.0], (20, 80))
    harmful, helpful = np.where(targets == 1, 0.1, 0.99), np.where(targets == 1, 0.9, 0.1)
    curve = r'<polyline class="curve" points="(.*?)"'
    (none,) = re.findall(r'<line class="chance" x1="\S+" y1="(\S+)"', charts.decision_curve("x", targets, harmful))
    lowest, side = charts.SMALL - charts.MARGIN, charts.SMALL - 6 - charts.MARGIN
    assert float(none) == pytest.approx(lowest - side * -charts.WORST / (1 - charts.WORST), abs=0.05)
    for probabilities, ends_at in ((harmful, lowest), (helpful, lowest - side)):
        (points,) = re.findall(curve, charts.decision_curve("x", targets, probabilities))
        heights = {float(point.split(",")[0]): float(point.split(",")[1]) for point in points.split()}
        above_half = [y for x, y in heights.items() if x > charts.MARGIN + 0.4 * side]
        assert above_half == pytest.approx([ends_at] * len(above_half), abs=0.05)
        assert above_half


def test_reliability_of_a_rare_finding_is_drawn_over_the_range_of_its_data() -> None:
    targets = np.repeat([1.0, 0.0], (2, 98))
    svg = charts.reliability("x", targets, np.full(100, 0.01))
    assert svg.count(">0.02</text>") == 2, "at the end of either axis"
    ((x, y),) = re.findall(r'cx="(\S+)" cy="(\S+)"', svg)
    side = charts.SMALL - 6 - charts.MARGIN
    assert [float(x), float(y)] == pytest.approx([charts.MARGIN + side / 2, 6], abs=0.06)
    assert charts.reliability("x", targets, np.full(100, 0.6)).count(">1</text>") == 2


def test_the_long_tail_names_every_finding_and_leads_to_those_that_are_close_together() -> None:
    targets, probabilities = np.repeat([1.0, 0.0], (20, 80))[:, None], np.linspace(1, 0, 100)[:, None]
    (one,) = score(targets, probabilities, ["x"]).findings
    close = [replace(one, name=f"finding {number}", ap=0.1 + number / 1000) for number in range(20)]
    svg = charts.long_tail(close)
    assert all(f">finding {number}</text>" in svg for number in range(20))
    assert 0 < svg.count('class="leader"') < 20


def test_co_occurrence_is_the_share_of_the_films_that_are_labelled_for_both() -> None:
    targets = np.array([[1, 1, np.nan], [1, 0, 1], [1, 0, np.nan], [0, 1.0, 0]])
    svg = charts.co_occurrence(["a", "b", "c"], targets)
    assert "a (3 films): 33 % have b" in svg
    assert "b (2 films): 50 % have a" in svg
    assert "a (1 films): 100 % have c" in svg
