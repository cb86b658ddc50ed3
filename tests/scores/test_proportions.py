import numpy as np
import pytest
from scipy.stats import binomtest

from cxrlt_cli.scores.proportions import MOST, Share, exact_interval, kish, patients_for_width, share_of, smallest


@pytest.mark.parametrize(("hits", "trials"), [(0, 5), (3, 7), (25, 28), (6, 6), (1, 400)])
def test_the_interval_is_the_exact_one(hits: int, trials: int) -> None:
    reference = binomtest(hits, trials).proportion_ci(0.95, "exact")
    assert exact_interval(hits, trials) == pytest.approx((reference.low, reference.high))


def test_films_of_as_many_patients_have_the_exact_interval() -> None:
    hit = np.arange(40) < 31
    share = share_of(hit, np.arange(40).astype(str).astype(object))
    assert (share.hits, share.films, share.patients, share.value) == (31, 40, 40, 31 / 40)
    assert (share.low, share.high) == exact_interval(31, 40)


def test_copies_of_a_patients_films_tell_nothing_more() -> None:
    hit = np.arange(60) < 45
    names = np.arange(60).astype(str).astype(object)
    once, thrice = share_of(hit, names), share_of(np.tile(hit, 3), np.tile(names, 3))
    assert thrice.value == once.value
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high), abs=0.01)
    found = share_of(np.ones(30, bool), np.repeat(np.arange(6), 5).astype(object))
    assert (found.low, found.high) == exact_interval(6, 6), "five films of each of six patients"


def test_films_of_a_patient_that_differ_are_worth_no_more_than_films_of_others() -> None:
    """One of two films of each patient is hit, and one of another: over patients next to nothing varies."""
    hit, whose = np.append(np.arange(40) % 2 == 0, True), np.append(np.repeat(np.arange(20), 2), 20)
    share = share_of(hit, whose.astype(object))
    assert (share.low, share.high) == exact_interval(21, 41)


def test_nothing_is_known_without_films() -> None:
    nothing = share_of(np.zeros(0, bool), np.zeros(0, object))
    assert nothing == Share(0, 0, 0, 0.0, 1.0)
    assert nothing.value is None
    assert str(nothing) == "–"
    assert str(Share(3, 4, 4, 0.2, 0.99)) == "0.75 (0.20–0.99)"


@pytest.mark.parametrize(("number", "center"), [(20, 1.5), (60, 2.5), (150, 0.0)])
def test_the_interval_covers_the_share_of_all_patients(number: int, center: float) -> None:
    """Patients with 1 to 4 films that are alike: Clopper and Pearson's own interval is too narrow for them."""
    rng = np.random.default_rng(number)

    def drawn(patients: int) -> tuple[np.ndarray, np.ndarray]:
        sizes = rng.integers(1, 5, patients)
        whose = np.repeat(np.arange(patients), sizes)
        own = rng.standard_normal(patients) * 2
        return own[whose] + 0.5 * rng.standard_normal(len(whose)) + center > 0, whose

    truth = drawn(400_000)[0].mean()
    covered = naive = 0
    for _ in range(400):
        hit, whose = drawn(number)
        share = share_of(hit, whose.astype(object))
        low, high = exact_interval(int(hit.sum()), len(hit))
        covered += share.low <= truth <= share.high
        naive += low <= truth <= high
    assert covered / 400 > 0.925
    assert covered > naive


def test_how_many_patients_a_width_takes() -> None:
    for share, width in ((0.9, 0.1), (0.5, 0.2), (1.0, 0.3), (0.95, 0.05)):
        number = patients_for_width(share, width)
        assert number is not None
        widths = [np.diff(exact_interval(share * n, n))[0] for n in (number - 1, number)]
        assert widths[1] <= width < widths[0]
    assert patients_for_width(0.5, 0.0001) is None


def test_the_smallest_number_that_is_enough() -> None:
    for wanted in (1, 2, 3, 7, 8, 9, 1000, MOST):
        assert smallest(wanted.__gt__) == wanted
    assert smallest(MOST.__ge__) is None


def test_kish() -> None:
    assert kish(np.array([1.0, 1, 1])) == 3
    assert kish(np.array([4.0, 4])) == 2
    assert kish(np.array([1.0, 3])) == pytest.approx(1.6)


def test_0_and_1_are_said_of_nothing_and_all_alone() -> None:
    shown = [str(Share(hits, 10_000, 9, 0.0, 1.0)) for hits in (0, 2, 449, 5000, 9960, 9998, 10_000)]
    assert shown == [f"{text} (0.00–1.00)" for text in ("0.00", "0.001", "0.04", "0.50", "0.996", "0.999", "1.00")]
    assert str(Share(0, 0, 0)) == "–"
