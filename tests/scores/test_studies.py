"""Films to studies, held against loops over each study."""

import math
from collections.abc import Mapping

import numpy as np
import pytest

from cxrlt_cli.errors import DataError
from cxrlt_cli.labels import LabelSpace
from cxrlt_cli.scores.predictions import OOD_SCORE, Predictions
from cxrlt_cli.scores.studies import PerStudy, Studies
from cxrlt_cli.tables.label_table import LabelTable

RNG = np.random.default_rng(0)
NUM = 40
NAMES = np.array([f"study {number}" for number in RNG.integers(0, 15, NUM)], object)
VIEWS = np.array(RNG.choice(["PA", "AP", "LL", "oblique", ""], NUM), object)
VALUES = RNG.random((NUM, 3))
STUDIES = Studies.of(NAMES, VIEWS)
WEIGHTS = {"frontal": 7.0, "lateral": 3.0, "other": 5.0, "AP": 6.0}
OF_VIEW = {"PA": 7.0, "AP": 6.0, "LL": 3.0, "oblique": 5.0, "": 5.0}


def naive(how: PerStudy, weights: Mapping[str, float] | None) -> list[list[float]]:
    out = []
    for name in dict.fromkeys(NAMES):
        films = [row for row in range(NUM) if NAMES[row] == name]
        shares = [1.0 if weights is None else OF_VIEW[VIEWS[row]] for row in films]
        values = []
        for column in range(3):
            mine = [VALUES[row, column] for row in films]
            if how == "mean":
                values.append(sum(a * b for a, b in zip(shares, mine, strict=True)) / sum(shares))
            else:
                values.append(max(mine) if how == "max" else 1 - math.prod(1 - one for one in mine))
        out.append(values)
    return out


@pytest.mark.parametrize(("how", "weights"), [("mean", None), ("mean", WEIGHTS), ("max", None), ("noisy-or", None)])
def test_films_become_studies(how: PerStudy, weights: Mapping[str, float] | None) -> None:
    np.testing.assert_allclose(STUDIES.merged(VALUES, how, weights), naive(how, weights), atol=1e-12)
    assert STUDIES.names.tolist() == list(dict.fromkeys(NAMES))


@pytest.mark.parametrize("how", ["mean", "max", "noisy-or"])
def test_a_film_alone_and_certain_films_stay_what_they_are(how: PerStudy) -> None:
    alone = Studies.of(np.array(["a", "b"], object), np.array(["PA", ""], object))
    values = np.array([[0.0, 1.0, 0.3], [1e-12, 1 - 1e-12, 0.7]])
    np.testing.assert_allclose(alone.merged(values, how), values, rtol=1e-12)
    certain = Studies.of(np.array(["a", "a"], object), np.array(["PA", ""], object))
    assert certain.merged(np.ones((2, 1)), how).tolist() == [[1.0]]
    assert certain.merged(np.zeros((2, 1)), how).tolist() == [[0.0]]


def test_a_view_without_a_weight_is_told() -> None:
    with pytest.raises(DataError, match=r"none for the views oblique, \(empty\)"):
        STUDIES.shares({"frontal": 7.0, "lateral": 3.0})


def test_films_of_which_all_weigh_nothing_count_alike() -> None:
    studies = Studies.of(np.array(["a", "a", "b", "b"], object), np.array(["PA", "LL", "LL", "LL"], object))
    assert studies.shares({"frontal": 1.0, "lateral": 0.0}).tolist() == [1, 0, 0.5, 0.5]


def test_familiarity_is_a_mean_however_findings_are_merged() -> None:
    studies = Studies.of(np.array(["a", "a"], object), np.array(["PA", "LL"], object))
    films = Predictions(np.array(["1", "2"], object), ("nodule", OOD_SCORE), np.array([[0.2, 0.2], [0.6, 0.6]]))
    merged = studies.predictions(films, "max")
    assert merged.ids.tolist() == ["a"]
    np.testing.assert_allclose(merged.probabilities, [[0.6, 0.4]])


def test_a_finding_of_one_film_is_one_of_the_study() -> None:
    targets = np.array([[1, 0, np.nan, 0], [0, 0, np.nan, np.nan], [np.nan, 1, 0, 0]], np.float32)
    names = np.array(["a", "a", "b"], object)
    studies = Studies.of(names, np.array(["PA", "LL", "PA"], object))
    np.testing.assert_array_equal(studies.targets(targets), [[1, 0, np.nan, 0], [np.nan, 1, 0, 0]])
    assert studies.unlike(targets).tolist() == [True, False]
    patients = np.array(["p", "p", "q"], object)
    table = studies.table(LabelTable(names, patients, targets, LabelSpace.of(["w", "x", "y", "z"])))
    assert (table.ids.tolist(), table.patients.tolist()) == (["a", "b"], ["p", "q"])
