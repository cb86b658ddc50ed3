import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from cxrlt_cli.scores.predictions import Predictions, blend, normal_gating
from cxrlt_cli.scores.selection import choose

NUM_FILMS = 300
RNG = np.random.default_rng(0)
TARGETS = (RNG.random((NUM_FILMS, 3)) < (0.4, 0.2, 0.1)).astype(float)
IDS = np.arange(NUM_FILMS).astype(str).astype(object)


def member(share: float, seed: int) -> Predictions:
    noise = np.random.default_rng(seed).random(TARGETS.shape)
    return Predictions(IDS, ("Normal", "a", "b"), share * TARGETS + (1 - share) * noise)


def macro(predictions: Predictions) -> float:
    return float(np.mean([average_precision_score(TARGETS[:, c], predictions.probabilities[:, c]) for c in range(3)]))


def chosen(members: list[Predictions], normal: str | None = None):  # type: ignore[no-untyped-def]
    settings = {"findings": ("Normal", "a", "b"), "num_resamples": 60, "seed": 0, "num_threads": 1}
    return choose(lambda _: members, TARGETS, np.arange(NUM_FILMS) // 2, normal=normal, **settings)  # type: ignore[arg-type]


def test_the_choice_is_as_good_as_it_says_and_no_worse_than_each_member() -> None:
    members = [member(0.3, 1), member(0.35, 2), member(0.0, 3)]
    choice = chosen(members)
    assert choice.ap == pytest.approx(macro(blend(members, choice.weights, choice.merge)))
    assert choice.ap >= max(macro(one) for one in members)
    assert choice.weights[2] < 0.15
    assert choice.gain == pytest.approx(choice.ap - macro(blend(members)))
    assert choice.gain_ci is not None
    assert choice.gain_ci[0] <= choice.gain <= choice.gain_ci[1]


def test_gating_is_taken_where_it_surely_helps_and_nowhere_else() -> None:
    """Findings that were scored without a look at Normal gain from it; noise in its place does not help."""
    ungated = member(0.25, 1).probabilities.copy()
    ungated[:, 0] = np.clip(1 - TARGETS[:, 1:].max(axis=1), 0.02, 0.98)
    helps = [Predictions(IDS, ("Normal", "a", "b"), ungated)]
    assert chosen(helps, "Normal").alpha > 0
    assert chosen(helps, None).alpha == 0
    for seed in range(10):  # in half of them, noise seems to help
        useless = ungated.copy()
        useless[:, 0] = np.random.default_rng(seed).random(NUM_FILMS)
        assert chosen([Predictions(IDS, ("Normal", "a", "b"), useless)], "Normal").alpha == 0, seed
    choice = chosen(helps, "Normal")
    assert choice.ap == pytest.approx(macro(normal_gating(helps[0], choice.alpha)))
