import pytest

from cxrlt_cli.labels import band
from cxrlt_cli.report.score_texts import is_shown, told_frequency
from cxrlt_cli.scores.metrics import Comparison


@pytest.mark.parametrize(
    ("share", "told"), [(0.4, "40.0 %"), (0.0097, "0.97 %"), (0.00996, "0.996 %"), (0.1001, "10.01 %"), (0.01, "1.0 %")]
)
def test_a_frequency_shows_its_band(share: float, told: str) -> None:
    assert told_frequency(share) == told
    assert band(float(told.removesuffix(" %")) / 100) == band(share)


def test_a_difference_is_shown_on_one_side_of_0() -> None:
    shown = {(0.01, 0.03): True, (-0.03, -0.01): True, (-0.01, 0.03): False, (0.0, 0.03): False, None: False}
    assert {ci: is_shown(Comparison(0.02, ci, 0.5)) for ci in shown} == shown
