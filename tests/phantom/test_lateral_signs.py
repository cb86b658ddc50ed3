import numpy as np
import pytest

from cxrlt_cli.phantom import HIDDEN, SMALL, draw, shown_on
from cxrlt_cli.phantom.anatomy import Scene
from cxrlt_cli.phantom.exposure import Exposure, expose
from cxrlt_cli.phantom.lateral_signs import LATERAL
from cxrlt_cli.phantom.signs import SIGNS

SIZE = 128


def film(*findings: str, seed: int, **settings: float) -> np.ndarray:
    return draw(findings, patient_seed=seed, film_seed=seed, size=SIZE, lateral=True, **settings)[0].astype(float)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", LATERAL)
def test_a_finding_changes_its_box_more_than_the_rest_and_more_where_it_is_gross(name: str) -> None:
    ratios, changes = [], []
    for seed in range(5):
        plain = film(seed=seed)
        _, (record,) = draw([name], patient_seed=seed, film_seed=seed, size=SIZE, severity=0.6, lateral=True)
        x0, y0, x1, y1 = (round(value * SIZE) for value in record.box)
        inside = np.zeros((SIZE, SIZE), bool)
        inside[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)] = True
        change = np.abs(film(name, seed=seed, severity=0.6) - plain)
        ratios.append(change[inside].mean() / max(change[~inside].mean(), 1.0))
        changes.append([np.abs(film(name, seed=seed, severity=gross) - plain).mean() for gross in (0.0, 1.0)])
    assert np.median(ratios) > (3 if SIGNS[name].focal and not SIGNS[name].shape else 1.3), ratios
    faint, gross = np.mean(changes, axis=0)
    assert 0 < faint < gross


def test_what_does_not_show_from_the_side_leaves_the_film_as_it_is() -> None:
    silent = [name for name in SIGNS if name not in LATERAL and not SIGNS[name].shape]
    assert {"azygos lobe", "Pneumothorax", "fracture"} <= set(silent)
    image, records = draw(silent, patient_seed=3, film_seed=3, size=SIZE, lateral=True)
    assert records == ()
    np.testing.assert_array_equal(image, film(seed=3))


def test_a_finding_has_its_height_its_side_and_its_grossness_on_both_films() -> None:
    for seed in range(10):
        (front,), (side,) = (draw(["Nodule"], patient_seed=seed, film_seed=seed, size=SIZE, lateral=lateral)[1]
                             for lateral in (False, True))  # fmt: skip
        assert (front.side, front.severity) == (side.side, side.severity)
        heights = [(record.box[1] + record.box[3]) / 2 for record in (front, side)]
        assert heights[0] == pytest.approx(heights[1], abs=0.06)  # films are shifted and turned


def test_every_finding_shows_on_one_of_the_films_and_shares_are_those_that_were_asked_for() -> None:
    number = 2000
    for name, (behind, before) in HIDDEN.items():
        front, side = ([bool(shown_on([name], seed, lateral=lateral)) for seed in range(number)]
                       for lateral in (False, True))  # fmt: skip
        assert all(one or other for one, other in zip(front, side, strict=True))
        assert 1 - np.mean(side) == pytest.approx(before * (1 if name not in SMALL else 0.75), abs=0.05)
        if name not in SMALL:
            assert 1 - np.mean(front) == pytest.approx(behind, abs=0.04)
    assert shown_on(["sternotomy", "fracture"], 5, lateral=False) == ("sternotomy", "fracture")


def test_a_small_effusion_shows_from_the_side_alone() -> None:
    seen = {}
    for seed in range(300):
        (record,) = draw(["pleural effusion"], patient_seed=1, film_seed=seed, size=64)[1]
        seen[record.severity] = shown_on(["pleural effusion"], seed, lateral=False)
    assert all(bool(shown) == (gross >= SMALL["pleural effusion"]) for gross, shown in seen.items())
    assert 0.15 < np.mean([not shown for shown in seen.values()]) < 0.4


def test_films_of_a_study_are_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has an exposure of its own, with its own turn, shift and noise."""
    seen: list[Exposure] = []

    def watched(scene: Scene, exposure: Exposure, rng: np.random.Generator) -> np.ndarray:
        seen.append(exposure)
        return expose(scene, exposure, rng)

    monkeypatch.setattr("cxrlt_cli.phantom.expose", watched)
    for lateral in (False, True):
        draw([], patient_seed=1, film_seed=1, size=64, lateral=lateral)
    assert seen[0].turn != seen[1].turn
    assert seen[0].noise != seen[1].noise
