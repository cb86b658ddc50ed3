"""The second hospital, and the studies: what they must do to a model is shown on one, a ridge on coarse pixels."""

from collections.abc import Sequence

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from cxrlt_cli.phantom import draw, shown_on
from cxrlt_cli.phantom.anatomy import Anatomy, build
from cxrlt_cli.phantom.cohort import sample
from cxrlt_cli.phantom.exposure import Exposure, expose
from cxrlt_cli.phantom.folder import PhantomRecipe
from cxrlt_cli.phantom.hospitals import FIRST, HOSPITALS, SECOND

Films = tuple[NDArray[np.float64], NDArray[np.int64]]  # [N, pixels], [N]


def coarse(film: NDArray[np.uint16]) -> NDArray[np.float64]:
    return np.asarray(cv2.resize((film >> 4).astype(np.uint8), (24, 24), interpolation=cv2.INTER_AREA)).ravel() / 255


def of_studies(name: str, seeds: Sequence[int], *, lateral: bool) -> Films:
    """Films of studies, every second of which has the finding."""
    films = [
        draw(shown_on([name] * (seed % 2), seed, lateral=lateral), patient_seed=seed, film_seed=seed, size=64,
             lateral=lateral)[0] for seed in seeds
    ]  # fmt: skip
    return np.stack([coarse(film) for film in films]), np.array([seed % 2 for seed in seeds])


def test_both_films_of_a_study_say_more_than_one() -> None:
    known, new = range(160), range(1000, 1160)
    scores, alone = [], []
    for lateral in (False, True):
        model = Ridge(alpha=3).fit(*of_studies("pleural effusion", known, lateral=lateral))
        films, has = of_studies("pleural effusion", new, lateral=lateral)
        scores.append(model.predict(films))
        alone.append(roc_auc_score(has, scores[-1]))
    both = roc_auc_score(has, sum((score - score.mean()) / score.std() for score in scores))
    assert both > max(alone) + 0.02, (both, alone)
    assert alone[1] > alone[0]  # from the side it is seen earlier


def cohort(hospital: int, number: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Films ``[N, pixels]`` of a hospital, and which have devices, an effusion, an enlarged heart."""
    place, shares = HOSPITALS[hospital], PhantomRecipe(number, hospital=hospital).frequencies(number)
    cases = sample(number, shares, np.random.default_rng([seed, hospital]), in_bed=place.in_bed, age=place.age)
    films = [
        draw(case.findings, patient_seed=seed + 1000 * hospital + case.patient, film_seed=seed + case.study, size=64,
             from_front=case.from_front, hospital=place)[0] for case in cases
    ]  # fmt: skip
    names = ("Support Devices", "central venous catheter", "pleural effusion")
    return np.stack([coarse(film) for film in films]), np.array([[n in c.findings for n in names] for c in cases], int)


@pytest.mark.soak
def test_a_model_of_the_first_hospital_loses_at_the_second() -> None:
    """Against the second hospital's own model, on the same films."""
    train = {hospital: cohort(hospital, 350, 10) for hospital in (1, 2)}
    films, has = cohort(2, 250, 90_000)
    auroc = {
        hospital: np.mean([roc_auc_score(has[:, c], predicted) for c, predicted in enumerate(model.predict(films).T)])
        for hospital, model in ((number, Ridge(alpha=10).fit(*train[number])) for number in (1, 2))
    }
    assert auroc[1] < auroc[2] - 0.05, auroc


def test_the_second_hospital_sees_sicker_older_patients_in_bed() -> None:
    cases = {
        number: sample(
            3000, PhantomRecipe(3000, hospital=number).frequencies(3000), np.random.default_rng(0),
            in_bed=HOSPITALS[number].in_bed, age=HOSPITALS[number].age,
        ) for number in (1, 2)
    }  # fmt: skip
    normal, beds, ages, devices = (
        [np.mean([look(case) for case in cases[number]]) for number in (1, 2)]
        for look in (lambda c: not c.findings, lambda c: c.from_front, lambda c: c.age,
                     lambda c: "Support Devices" in c.findings)
    )  # fmt: skip
    assert normal[1] < 0.8 * normal[0]
    assert beds == pytest.approx([0.15, 0.45], abs=0.04)
    assert ages == pytest.approx([58, 65], abs=2)
    assert devices[1] > 2 * devices[0]


def test_the_first_hospital_changes_nothing_and_draws_nothing() -> None:
    rng, exposure = np.random.default_rng(3), Exposure.sample(np.random.default_rng(0))
    assert FIRST.takes(exposure, rng) is exposure
    assert rng.random() == np.random.default_rng(3).random()
    plain, here = (draw(["Mass"], patient_seed=1, film_seed=2, size=64, **more)[0]  # type: ignore[arg-type]
                   for more in ({}, {"hospital": FIRST}))  # fmt: skip
    np.testing.assert_array_equal(plain, here)


def test_films_of_the_second_are_softer_and_noisier() -> None:
    scene = build(Anatomy(), 128, np.random.default_rng(0))
    here, there = (expose(scene, Exposure(noise=0.0, blur=blur), np.random.default_rng(0)).astype(float)
                   for blur in (0.0, SECOND.blur))  # fmt: skip
    sharp = [np.abs(cv2.Laplacian(film, cv2.CV_64F)).mean() for film in (here, there)]
    assert sharp[1] < 0.8 * sharp[0]
    exposure = Exposure.sample(np.random.default_rng(1))
    assert SECOND.takes(exposure, np.random.default_rng(1)).noise > 1.5 * exposure.noise


def test_electrodes_are_where_monitors_are_and_are_no_finding() -> None:
    wired = {}
    for place in (FIRST, SECOND):
        scenes = [build(Anatomy(), 64, np.random.default_rng(0)) for _ in range(60)]
        for seed, scene in enumerate(scenes):
            place.wires(scene, np.random.default_rng(seed))
        wired[place.monitored] = np.mean([scene.metal.max() > 0 for scene in scenes])
    assert wired == pytest.approx({0.0: 0.0, 0.8: 0.8}, abs=0.15)
    assert draw([], patient_seed=1, film_seed=1, size=64, from_front=True, hospital=SECOND)[1] == ()
