import pytest

from cxrlt_cli.labels import band
from cxrlt_cli.report.score_texts import is_shown, told_apart, told_frequency
from cxrlt_cli.scores.differences import Difference
from cxrlt_cli.scores.metrics import Comparison


@pytest.mark.parametrize(
    ("share", "told"), [(0.4, "40.0 %"), (0.0097, "0.97 %"), (0.00996, "0.996 %"), (0.1001, "10.01 %"), (0.01, "1.0 %")]
)
def test_a_frequency_shows_its_band(share: float, told: str) -> None:
    assert told_frequency(share) == told
    assert band(float(told.removesuffix(" %")) / 100) == band(share)


def test_differences_have_a_sign() -> None:
    assert told_apart(Difference(0.0123, (-0.05, 0.0312))) == "+0.012 (−0.050 to +0.031)"
    assert told_apart(Difference(-0.5)) == "−0.500"


def test_a_difference_is_shown_on_one_side_of_0() -> None:
    shown = {(0.01, 0.03): True, (-0.03, -0.01): True, (-0.01, 0.03): False, (0.0, 0.03): False, None: False}
    assert {ci: is_shown(Comparison(0.02, ci, 0.5)) for ci in shown} == shown
