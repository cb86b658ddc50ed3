import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import binom, fisher_exact, ks_2samp

from cxrlt_cli.scores.drift import ALARMS, CLASSIFIED, LEAST, STATED, Drifts, Meter, Reference, Traits
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
    return [name for name, drift in meter.drifts(dict.fromkeys(NAMES, 0.2)).scores.items() if drift.found]


def traits(whose: np.ndarray, rng: np.random.Generator, less_familiar: float = 0.0, lateral: float = 0.3) -> Traits:
    """Films of a patient are as familiar as each other, nearly; half of the patients have all films of one view."""
    _, place = np.unique(whose.astype(int), return_inverse=True)
    number = place.max() + 1
    z = rng.standard_normal(number)[place] + 0.3 * rng.standard_normal(len(place)) + less_familiar
    alike = (rng.random(number) < 0.5)[place]
    is_lateral = np.where(alike, rng.random(number)[place], rng.random(len(place))) < lateral
    front = np.where((rng.random(number) < 0.1)[place], "AP", "PA")
    return Traits(expit(z), {STATED: np.where(is_lateral, "L", front).tolist()})


def whole(patients: int, rng: np.random.Generator, **changes: float) -> tuple[Predictions, np.ndarray, Traits]:
    predictions, whose = films(patients, rng)
    return predictions, whose, traits(whose, rng, **changes)


def drifts_of(reference: Reference, come: Predictions, others: Traits) -> Drifts:
    meter = Meter(reference, NAMES)
    for rows in np.array_split(np.arange(len(come.ids)), 3):
        part = come.rows(list(come.ids[rows]))
        meter.add(part, part, others.rows(rows.tolist()))
    return meter.drifts({})


def alarms(number: int, seed: int) -> int:
    """Of so many looks at films of the same kind."""
    rng = np.random.default_rng(seed)
    found = 0
    for _ in range(number):
        reference = Reference.of(*whole(150, rng))
        come, _, others = whole(120, rng)
        found += drifts_of(reference, come, others).found
    return found


def test_scores_familiarity_and_views_share_one_rate_of_false_alarms() -> None:
    assert alarms(150, seed=5) <= binom.ppf(0.999, 150, ALARMS)


@pytest.mark.soak
def test_the_rate_of_false_alarms_holds_in_many_simulations() -> None:
    assert alarms(2000, seed=9) <= binom.ppf(0.999, 2000, ALARMS)


def test_each_is_found_where_it_alone_differs() -> None:
    rng = np.random.default_rng(6)
    reference = Reference.of(*whole(150, rng))
    come, _, others = whole(150, rng, less_familiar=1.2)
    strange = drifts_of(reference, come, others)
    assert strange.familiarity is not None
    assert strange.familiarity.found
    assert strange.familiarity.higher
    assert not any(one.found for one in strange.scores.values())
    assert not any(view.found for view in strange.views.values())
    come, _, others = whole(150, rng, lateral=0.7)
    turned = drifts_of(reference, come, others)
    assert turned.views["L"].found
    assert turned.views["L"].now > turned.views["L"].before + 0.2
    assert turned.familiarity is not None
    assert not turned.familiarity.found
    assert drifts_of(reference, come, Traits()).familiarity is None
    assert drifts_of(reference, come, Traits()).views == {}


def test_a_view_is_tested_by_fisher_on_films_of_different_patients() -> None:
    rng = np.random.default_rng(7)
    predictions, _ = films(100, rng)
    number = len(predictions.ids)
    twice = np.repeat(np.arange((number + 1) // 2), 2)[:number].astype(object)
    before = Traits(views={STATED: ["L"] * 30 + ["PA"] * (number - 30)})
    now = Traits(views={STATED: ["L"] * 60 + ["PA"] * (number - 60)})
    drifts = drifts_of(Reference.of(predictions, twice, before), predictions, now)
    half = round(number * Reference.of(predictions, twice).worth / number)
    own, theirs = (round(part * half / number) for part in (30, 60))
    expected = fisher_exact([[own, half - own], [theirs, half - theirs]]).pvalue
    assert drifts.views["L"].p_value == pytest.approx(expected)
    assert (drifts.views["L"].before, drifts.views["L"].now) == (30 / number, 60 / number)


def test_views_are_compared_by_what_says_most_and_as_far_as_both_say_them() -> None:
    rng = np.random.default_rng(8)
    predictions, whose = films(100, rng)
    number = len(predictions.ids)

    def views(stated: list[str], classified: list[str]) -> Traits:
        return Traits(views={STATED: stated, CLASSIFIED: classified})

    unsaid = [""] * number
    fine = views(["PA"] * 50 + ["AP"] * (number - 50), unsaid)
    rough = views(["frontal"] * number, unsaid)
    drifts = drifts_of(Reference.of(predictions, whose, fine), predictions, rough)
    assert {name: one.now for name, one in drifts.views.items()} == {"frontal": 1.0}
    few = views(["PA"] * 10 + [""] * (number - 10), ["LL"] * number)
    drifts = drifts_of(Reference.of(predictions, whose, few), predictions, views(["L"] * number, ["LL"] * number))
    assert set(drifts.views) == {"LL"}
    drifts = drifts_of(Reference.of(predictions, whose, views(unsaid, unsaid)), predictions, fine)
    assert drifts.views == {}


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
    drifts = meter.drifts({}).scores
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
    assert max(drift.distance for drift in meter.drifts({}).scores.values()) == 0


def test_the_prevalence_of_films_that_come_is_estimated_from_what_was_counted() -> None:
    rng = np.random.default_rng(3)

    def drawn(share: float, number: int) -> Predictions:
        z = rng.normal(np.where(rng.random(number) < share, 1.0, -1.0), 1.0)
        values = expit(2 * z + np.log(0.2 / 0.8))
        return Predictions(np.arange(number).astype(str).astype(object), ("a",), values[:, None])

    mine, come = drawn(0.2, 2000), drawn(0.5, 2000)
    meter = Meter(Reference.of(mine, mine.ids), ("a",))
    meter.add(come, come)
    drift = meter.drifts({"a": 0.2}).scores["a"]
    assert drift.found
    assert drift.prevalence == pytest.approx(0.5, abs=0.04)


def test_a_few_films_are_not_tested() -> None:
    rng = np.random.default_rng(4)
    mine, whose = films(100, rng)
    few = films(LEAST, rng, shift=9)[0]
    meter = Meter(Reference.of(mine, whose), NAMES)
    meter.add(few.rows(list(few.ids[: LEAST - 1])), few.rows(list(few.ids[: LEAST - 1])))
    assert meter.drifts({}) == Drifts({})
