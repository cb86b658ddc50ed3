from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest

from cxrlt_cli.errors import DataError
from cxrlt_cli.scores.decisions import (
    Decisions,
    as_scores,
    read_predicted,
    score_decisions,
    share_of,
    wilson,
)
from cxrlt_cli.scores.predictions import Predictions
from tests.helpers import write_csv


def naive(targets: list[float], values: list[float]) -> dict[str, float | None]:
    """Each count film by film; NaN is no label, or no decision."""
    pairs = [(y, d) for y, d in zip(targets, values, strict=True) if y in (0, 1) and d in (0, 1)]

    def share(hits: list[bool]) -> float | None:
        return sum(hits) / len(hits) if hits else None

    tp, wrong = sum(y == d == 1 for y, d in pairs), sum(y != d for y, d in pairs)
    return {
        "sensitivity": share([d == 1 for y, d in pairs if y == 1]),
        "specificity": share([d == 0 for y, d in pairs if y == 0]),
        "ppv": share([y == 1 for y, d in pairs if d == 1]),
        "npv": share([y == 0 for y, d in pairs if d == 0]),
        "f1": 2 * tp / (2 * tp + wrong) if any(y == 1 for y, _ in pairs) else None,
    }


@pytest.mark.parametrize("seed", range(30))
def test_shares_are_those_of_a_count_by_hand(seed: int) -> None:
    rng = np.random.default_rng(seed)
    targets, values = rng.integers(0, 2, (2, int(rng.integers(1, 12)), 1)).astype(float)
    targets[rng.random(targets.shape) < 0.2] = np.nan
    values[rng.random(values.shape) < 0.2] = np.nan
    (one,) = score_decisions(targets, values, np.arange(len(targets)), ["x"])
    expected = naive(targets[:, 0].tolist(), values[:, 0].tolist())
    for name in ("sensitivity", "specificity", "ppv", "npv"):
        share = getattr(one, name)
        assert (None if share is None else share.value) == expected[name]
    assert one.f1 == expected["f1"]
    assert (one.positives, one.negatives) == ((targets == 1).sum(), (targets == 0).sum())
    assert one.undecided == (np.isnan(values) & ~np.isnan(targets)).sum()
    assert one.undecided_positives == (np.isnan(values) & (targets == 1)).sum()


def test_wilson_is_the_published_interval() -> None:
    """81 of 263 and 15 of 148 (Newcombe, Statistics in Medicine 1998, table I); none of 20."""
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15 / 148, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)


def test_with_one_film_a_patient_it_is_wilsons() -> None:
    hits = np.arange(28) < 25
    assert share_of(hits, np.arange(28)).ci == pytest.approx(wilson(25 / 28, 28))


def test_films_of_a_patient_that_are_copies_count_once() -> None:
    hits = np.arange(60) < 20
    copies = share_of(np.repeat(hits, 5), np.repeat(np.arange(60), 5))
    single = share_of(hits, np.arange(60)).ci
    assert copies.num_films == 300
    assert copies.ci == pytest.approx(single, abs=0.01)
    assert copies.ci[1] - copies.ci[0] > single[1] - single[0]
    independent = share_of(np.repeat(hits, 5), np.arange(300)).ci
    assert independent[1] - independent[0] < 0.5 * (single[1] - single[0])


def test_films_of_a_patient_never_count_for_more_than_they_are() -> None:
    """One hit and one miss of each of ten patients: 20 films are no more than 20, though these do not vary."""
    worth = 20 * (1.959964 / 2.262157) ** 2  # Student's t with 9 degrees of freedom
    assert share_of(np.arange(20) % 2 == 0, np.arange(20) // 2).ci == pytest.approx(wilson(0.5, worth), abs=1e-5)


def test_where_all_are_hits_each_patient_counts_once() -> None:
    assert share_of(np.ones(30, bool), np.arange(30) // 3).ci == pytest.approx(wilson(1, 10))
    assert share_of(np.arange(4) < 2, np.zeros(4)).ci == pytest.approx(wilson(0.5, 1)), "of a single patient"


@pytest.mark.parametrize(("share", "alike"), [(0.9, 0.6), (0.8, 0.0), (0.97, 0.8)])
def test_95_percent_intervals_hold_the_share_as_often(share: float, alike: float) -> None:
    threshold, held = NormalDist().inv_cdf(1 - share), 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        patients = np.repeat(np.arange(80), rng.geometric(0.4, 80))
        own, noise = rng.standard_normal(80)[patients], rng.standard_normal(len(patients))
        low, high = share_of(np.sqrt(alike) * own + np.sqrt(1 - alike) * noise > threshold, patients).ci
        held += low <= share <= high
    assert 0.915 < held / 400 < 0.985, held


def test_what_a_file_holds_is_told_by_its_cells(tmp_path: Path) -> None:
    decided = read_predicted(write_csv(tmp_path / "d.csv", ["ImageID", "a", "b"], [["x", 1, ""], ["y", 0, "1.0"]]))
    assert isinstance(decided, Decisions)
    np.testing.assert_array_equal(decided.values, [[1, np.nan], [0, 1]])
    assert decided.rows(["y"]).select(["b"]).values.tolist() == [[1.0]]
    mixed = read_predicted(write_csv(tmp_path / "m.csv", ["ImageID", "a", "b"], [["x", 1, 0], ["y", 0, 0.5]]))
    assert isinstance(mixed, Predictions)
    with pytest.raises(DataError, match="row 2: column 'b' holds '', which is no number"):
        read_predicted(write_csv(tmp_path / "e.csv", ["ImageID", "a", "b"], [["x", 0.5, ""], ["y", 0, 1]]))
    with pytest.raises(DataError, match="row 2: column 'a' holds ''"):
        read_predicted(write_csv(tmp_path / "n.csv", ["ImageID", "a"], [["x", ""], ["y", ""]]))
    with pytest.raises(DataError, match=r"t\.csv: Decisions hold a film more than once: x"):
        read_predicted(write_csv(tmp_path / "t.csv", ["ImageID", "a"], [["x", 1], ["x", 0]]))


def test_as_scores_there_is_f1_and_no_ap() -> None:
    targets, values = np.array([[1, 0, 1.0]]).T, np.array([[1, 1, np.nan]]).T
    scores = as_scores(score_decisions(targets, values, np.arange(3), ["x"]), targets, None, 3)
    content = scores.to_json()
    assert content["macro"]["ap"] is content["findings"][0]["auroc"] is content["macro"]["ece"] is None
    assert content["macro"]["f1"] == pytest.approx(2 / 3)
    assert (content["num_films"], content["num_patients"]) == (3, 3)
    assert content["findings"][0]["prevalence"] == pytest.approx(2 / 3)
