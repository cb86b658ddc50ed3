import numpy as np
import pytest
from scipy.special import expit

from cxrlt_cli.scores import suspects
from cxrlt_cli.scores.suspects import Stop, Suspicion, suspicion

NUM_FILMS = 1200
PREVALENCES = (0.3, 0.15, 0.08, 0.04)


def planted(share: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True and given labels, some of them turned, and the probabilities of a model that sees the truth well."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((NUM_FILMS, len(PREVALENCES))) < PREVALENCES).astype(float)
    probabilities = expit(rng.normal(np.where(truth == 1, 2.0, -3.0), 1.2))
    given = np.where(rng.random(truth.shape) < share, 1 - truth, truth)
    return truth, given, probabilities


def test_turned_labels_come_first_and_their_number_is_known() -> None:
    truth, given, probabilities = planted(0.05)
    found = suspicion(given, probabilities, np.arange(NUM_FILMS))
    wrong = truth != given
    assert 0.85 < found.total / wrong.sum() < 1.15
    for c in range(len(PREVALENCES)):
        first = found.ranked(c)[: int(wrong[:, c].sum() / 2)]
        assert wrong[first, c].mean() > 0.9
    order = np.argsort(-found.wrong.ravel())
    assert wrong.ravel()[order[: wrong.size // 100]].mean() > 0.95


def test_correct_labels_are_few_suspects() -> None:
    _, given, probabilities = planted(0.0)
    found = suspicion(given, probabilities, np.arange(NUM_FILMS))
    assert found.total < 0.01 * given.size
    assert found.total < 0.2 * suspicion(planted(0.05)[1], probabilities, np.arange(NUM_FILMS)).total


def test_how_probably_a_label_is_wrong_is_what_bayes_says() -> None:
    """Scores of both classes are normal and of one variance, so that the logit of the truth is a line."""
    rng = np.random.default_rng(1)
    truth = rng.random(20_000) < 0.3
    z = rng.normal(np.where(truth, 1.5, -1.5), 1.0)
    given = np.where(rng.random(len(z)) < 0.05, ~truth, truth).astype(float)[:, None]
    found = suspicion(given, expit(z)[:, None], np.arange(len(z)))
    q = expit(3 * z + np.log(0.3 / 0.7))
    exact = np.where(
        given[:, 0] == 1, 0.05 * (1 - q) / (0.05 * (1 - q) + 0.95 * q), 0.05 * q / (0.05 * q + 0.95 * (1 - q))
    )
    assert np.abs(found.wrong[:, 0] - exact).mean() < 0.01


def test_what_is_not_labelled_is_no_suspect_and_changes_nothing() -> None:
    _, given, probabilities = planted(0.05)
    empty = np.vstack([given, np.full((100, 4), np.nan)])
    more = np.vstack([probabilities, np.full((100, 4), 0.99)])
    found = suspicion(empty, more, np.arange(len(empty)))
    assert np.isnan(found.wrong[NUM_FILMS:]).all()
    np.testing.assert_allclose(found.wrong[:NUM_FILMS], suspicion(given, probabilities, np.arange(NUM_FILMS)).wrong)
    assert sorted(found.ranked(0)) == list(range(NUM_FILMS))


def test_the_scale_of_the_probabilities_does_not_matter() -> None:
    _, given, probabilities = planted(0.05)
    z = np.log(probabilities / (1 - probabilities))
    found, shifted = (suspicion(given, one, np.arange(NUM_FILMS)) for one in (probabilities, expit(0.5 * z - 2)))
    np.testing.assert_allclose(found.wrong, shifted.wrong, atol=1e-6)


def test_intervals_hold_the_estimate_and_are_wider_for_fewer_patients() -> None:
    truth, given, probabilities = planted(0.05)
    alone = suspicion(given, probabilities, np.arange(NUM_FILMS), 40)
    again = suspicion(given, probabilities, np.arange(NUM_FILMS), 40)
    few = suspicion(given, probabilities, np.arange(NUM_FILMS) // 40, 40)
    assert alone.interval == again.interval
    assert alone.interval is not None
    assert few.interval is not None
    assert alone.interval[0] < (truth != given).sum() < alone.interval[1]
    for bounds, value in zip(alone.intervals, alone.expected, strict=True):
        assert bounds is not None
        assert bounds[0] <= value <= bounds[1]
    assert np.isfinite(few.interval).all()


def test_resamples_are_fitted_as_far_as_they_would_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of signs that are hard to see, where EM is slow; after 25 steps the interval is half as wide."""
    rng = np.random.default_rng(0)
    truth = rng.random((711, 3)) < (0.1, 0.05, 0.02)
    probabilities = expit(rng.normal(np.where(truth, 0.4, -0.4), 1.0))
    given = np.where(rng.random(truth.shape) < 0.05, ~truth, truth).astype(float)

    def width() -> float:
        interval = suspicion(given, probabilities, np.arange(711), 10).interval
        assert interval is not None
        return interval[1] - interval[0]

    usual = width()
    monkeypatch.setattr(suspects, "AGAIN", Stop(800, 1e-6))
    assert usual == pytest.approx(width(), rel=0.05)


@pytest.mark.parametrize("labels", [[], [0.0], [1.0], [0.0, 0.0, 0.0], [1.0, 1.0], [np.nan, np.nan]])
def test_findings_of_few_films_stay_finite(labels: list[float]) -> None:
    targets = np.column_stack([np.full(6, np.nan), [0, 0, 1, 1, 0, 1]])
    targets[: len(labels), 0] = labels
    probabilities = np.column_stack([np.full(6, 0.5), [0.1, 0.2, 0.9, 0.8, 0.9, 0.1]])
    found = suspicion(targets, probabilities, np.arange(6), 10)
    assert np.isfinite(found.expected).all()
    assert found.expected[0] <= np.sum(~np.isnan(targets[:, 0]))


def test_whole_numbers_add_up_to_the_whole_of_the_total() -> None:
    """Rounded one by one, four times 0.4 would be 0, and four times 2.5 would be 8."""
    for expected, numbers in (([0.4] * 4, 2), ([2.5] * 4, 10), ([3.0, 0.2], 3)):
        found = Suspicion(np.zeros((1, len(expected))), np.array(expected), [None] * len(expected))
        assert found.numbers.sum() == numbers == round(found.total)
        assert np.all(np.abs(found.numbers - found.expected) < 1)
