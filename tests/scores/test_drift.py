import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import binom, ks_2samp

from cxrlt_cli.scores.drift import LEAST, Meter, Reference
from cxrlt_cli.scores.predictions import Predictions

NAMES = ("a", "b", "c")


def films(patients: int, rng: np.random.Generator, shift: float = 0.0) -> tuple[Predictions, np.ndarray]:
    """1 to 4 films of each patient, which are alike; findings that go together."""
    whose = np.repeat(np.arange(patients), rng.integers(1, 5, patients))
    own = rng.standard_normal((patients, len(NAMES))) + rng.standard_normal((patients, 1))
    z = own[whose] + 0.3 * rng.standard_normal((len(whose), len(NAMES))) + np.array([shift, 0, 0]) - 2
    ids = np.arange(len(whose)).astype(str).astype(object)
    return Predictions(ids, NAMES, expit(z)), whose.astype(object)


def found(reference: Reference, come: Predictions) -> list[str]:
    meter = Meter(reference, NAMES)
    meter.add(come, come)
    return [name for name, drift in meter.drifts(dict.fromkeys(NAMES, 0.2)).items() if drift.found]


def test_films_of_the_same_kind_are_seldom_called_unlike() -> None:
    rng = np.random.default_rng(0)
    alarms = sum(bool(found(Reference.of(*films(150, rng)), films(120, rng)[0])) for _ in range(600))
    assert alarms <= binom.ppf(0.999, 600, 0.01)


def test_without_counting_patients_there_would_be_many_false_alarms() -> None:
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(150):
        mine, _ = films(150, rng)
        as_if = np.arange(len(mine.ids)).astype(object)
        alarms += bool(found(Reference.of(mine, as_if), films(120, rng)[0]))
    assert alarms > 5


def test_another_hospital_is_found() -> None:
    rng = np.random.default_rng(1)
    found_there = [found(Reference.of(*films(150, rng)), films(150, rng, shift=1.2)[0]) for _ in range(50)]
    assert sum("a" in names for names in found_there) >= 48
    assert sum("b" in names for names in found_there) <= 3


def test_the_distance_is_that_of_kolmogorov_and_smirnov_to_a_percentile() -> None:
    rng = np.random.default_rng(2)
    mine, whose = films(300, rng)
    come, _ = films(200, rng, shift=0.5)
    meter = Meter(Reference.of(mine, whose), NAMES)
    for rows in np.array_split(np.arange(len(come.ids)), 7):
        part = come.rows(list(come.ids[rows]))
        meter.add(part, part)
    drifts = meter.drifts({})
    for column, name in enumerate(NAMES):
        exact = ks_2samp(mine.probabilities[:, column], come.probabilities[:, column]).statistic
        assert exact - 0.02 <= drifts[name].distance <= exact + 1e-12
    assert drifts["a"].higher
    assert drifts["a"].prevalence is None


def test_ties_are_no_drift() -> None:
    ids = np.arange(200).astype(str).astype(object)
    same = Predictions(ids, NAMES, np.tile(np.repeat([0.1, 0.5], 100)[:, None], (1, 3)))
    meter = Meter(Reference.of(same, ids), NAMES)
    meter.add(same, same)
    assert max(drift.distance for drift in meter.drifts({}).values()) == 0


def test_the_prevalence_of_films_that_come_is_estimated_from_what_was_counted() -> None:
    rng = np.random.default_rng(3)

    def drawn(share: float, number: int) -> Predictions:
        z = rng.normal(np.where(rng.random(number) < share, 1.0, -1.0), 1.0)
        values = expit(2 * z + np.log(0.2 / 0.8))
        return Predictions(np.arange(number).astype(str).astype(object), ("a",), values[:, None])

    mine, come = drawn(0.2, 2000), drawn(0.5, 2000)
    meter = Meter(Reference.of(mine, mine.ids), ("a",))
    meter.add(come, come)
    drift = meter.drifts({"a": 0.2})["a"]
    assert drift.found
    assert drift.prevalence == pytest.approx(0.5, abs=0.04)


def test_a_few_films_are_not_tested() -> None:
    rng = np.random.default_rng(4)
    mine, whose = films(100, rng)
    few = films(LEAST, rng, shift=9)[0]
    meter = Meter(Reference.of(mine, whose), NAMES)
    meter.add(few.rows(list(few.ids[: LEAST - 1])), few.rows(list(few.ids[: LEAST - 1])))
    assert meter.drifts({}) == {}
