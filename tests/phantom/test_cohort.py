from itertools import pairwise

import numpy as np
import pytest

from cxrlt_cli.labels import CXR_LT_2026, UNSEEN
from cxrlt_cli.phantom.cohort import (
    COUNTS,
    FACTORS,
    FLOOR,
    LATERAL_SHARE,
    NUM_PADCHEST,
    UNSEEN_PREVALENCE,
    Case,
    prevalences,
    sample,
    task1_labels,
    task2_labels,
    unseen_prevalences,
    with_laterals,
)

NUM_FILMS = 40_000


@pytest.fixture(scope="module")
def films() -> list[Case]:
    return sample(NUM_FILMS, prevalences(NUM_FILMS), np.random.default_rng(0))


def share(films: list[Case], *names: str) -> float:
    return sum(set(names) <= set(film.findings) for film in films) / len(films)


def test_frequencies_are_padchests() -> None:
    assert set(COUNTS) == set(CXR_LT_2026) - {"Normal"}
    large = prevalences(NUM_PADCHEST)
    assert all(large[name] == pytest.approx(COUNTS[name] / NUM_PADCHEST) for name in COUNTS)


def test_what_is_drawn_has_the_frequencies_asked_for(films: list[Case]) -> None:
    for name, asked in prevalences(NUM_FILMS).items():
        # films of one patient are alike: the error is that of fewer, independent ones
        error = 2 * np.sqrt(asked * (1 - asked) / NUM_FILMS)
        assert share(films, name) == pytest.approx(asked, abs=4 * error), name


def test_some_findings_occur_together_and_some_do_not(films: list[Case]) -> None:
    for one, other in (("sternotomy", "Support Devices"), ("Pneumothorax", "Hydropneumothorax"),
                       ("Emphysema", "hyperinflated lung")):  # fmt: skip
        assert share(films, one, other) > 2 * share(films, one) * share(films, other)
    assert share(films, "Emphysema", "hypoexpansion") < 0.3 * share(films, "Emphysema") * share(films, "hypoexpansion")


def test_patients_have_several_films_that_are_alike(films: list[Case]) -> None:
    patients = len({film.patient for film in films})
    assert NUM_FILMS / patients == pytest.approx(2.4, abs=0.05)
    pairs = [(a, b) for a, b in pairwise(films) if a.patient == b.patient]
    again = np.mean(["cardiomegaly" in b.findings for a, b in pairs if "cardiomegaly" in a.findings])
    assert again > 3 * share(films, "cardiomegaly")


def test_imbalance_is_the_ratio_of_the_first_to_the_last() -> None:
    shares = list(prevalences(10**6, imbalance=100).values())
    assert shares[0] / shares[-1] == pytest.approx(100)
    assert shares == sorted(shares, reverse=True)


def test_a_small_set_still_has_a_tail() -> None:
    assert min(prevalences(500).values()) == FLOOR / 500
    assert all(share <= 0.5 for share in prevalences(10).values())


def test_factors_leave_room_for_chance() -> None:
    names = {name for factor in FACTORS for name in factor}
    assert names <= {*CXR_LT_2026, *UNSEEN}
    assert all(sum(factor.get(name, 0) ** 2 for factor in FACTORS) < 1 for name in names)


def test_normal_means_none_of_the_others(films: list[Case]) -> None:
    labels = np.array([task1_labels(film) for film in films[:2000]])
    normal = CXR_LT_2026.index("Normal")
    np.testing.assert_array_equal(labels[:, normal] == 1, labels.sum(axis=1) - labels[:, normal] == 0)


def test_task_2_holds_the_unseen_findings() -> None:
    films = sample(5000, unseen_prevalences(5000), np.random.default_rng(1))
    labels = np.array([task2_labels(film) for film in films])
    np.testing.assert_allclose(labels.mean(axis=0), UNSEEN_PREVALENCE, atol=0.03)


def test_the_old_have_more_of_what_comes_with_age(films: list[Case]) -> None:
    old = [film for film in films if film.age >= 70]
    young = [film for film in films if film.age < 50]
    assert np.mean([film.age for film in films]) == pytest.approx(58, abs=1.5)
    assert {min(film.age for film in films), max(film.age for film in films)} == {18, 95}
    for name in ("aortic atheromatosis", "vertebral degenerative changes"):
        assert share(old, name) > 2 * share(young, name)
    assert share(old, "fracture") < 1.5 * share(young, "fracture")
    ages = {film.patient: {other.age for other in films if other.patient == film.patient} for film in films[:50]}
    assert all(len(age) == 1 for age in ages.values())


def test_lateral_films_stand_behind_the_pa_films_of_their_studies(films: list[Case]) -> None:
    views = with_laterals(films[:1000], 1200, np.random.default_rng(0))
    assert len(views) == 1200
    for before, film in pairwise(views):
        if film.lateral:
            assert (before.study, before.view, before.findings) == (film.study, "PA", film.findings)
        else:
            assert film.study == before.study + 1
    upright = [film for film in views if film.view == "PA"]
    assert sum(film.lateral for film in views) / len(upright) == pytest.approx(LATERAL_SHARE, abs=0.05)
    assert {film.view for film in views} == {"AP", "PA", "L"}
