import os
import subprocess
import sys

import albumentations as A  # noqa: N812
import numpy as np
import pytest

from cxrlt_cli.data.augment import Augmentation

FILM = np.random.default_rng(0).integers(40, 200, (64, 64)).astype(np.uint8)


def test_an_augmented_film_is_a_function_of_its_seed() -> None:
    first, second = Augmentation(), Augmentation()
    second(FILM, 99)
    for seed in range(20):
        np.testing.assert_array_equal(first(FILM, seed), second(FILM, seed))


def test_seeds_differ_and_films_keep_their_kind() -> None:
    augment = Augmentation()
    films = [augment(FILM, seed) for seed in range(50)]
    assert len(set(map(bytes, films))) > 30
    assert all(film.dtype == np.uint8 and film.shape == FILM.shape for film in films)


def test_transforms_decide_apart() -> None:
    """albumentations' own set_random_seed makes all of them draw one number: half of the films stay as they are."""
    augment = Augmentation()
    films = [augment(FILM, seed) for seed in range(1000)]
    untouched = sum(np.array_equal(film, FILM) for film in films) / 1000
    mirrored = sum(np.array_equal(film, FILM[:, ::-1]) for film in films) / 1000
    expected = 0.5 * 0.6 * 0.8 * 0.8 * 0.85 * 0.85
    assert untouched == pytest.approx(expected, abs=0.04)
    assert mirrored == pytest.approx(expected, abs=0.04)


def test_changes_are_small() -> None:
    """With albumentations 2 the challenge winner's noise was 83 grey levels: its arguments were passed over."""
    flat = np.full((64, 64), 120, np.uint8)
    augment = Augmentation()
    inner = np.stack([augment(flat, seed)[12:52, 12:52] for seed in range(200)]).astype(int)
    brightness = np.abs(np.median(inner, axis=(1, 2)) - 120)
    assert brightness.max() <= 0.17 * 255
    spread = np.median(np.abs(inner - np.median(inner, axis=(1, 2), keepdims=True)), axis=(1, 2))
    assert spread.max() <= 4


def test_an_argument_that_is_not_known_is_an_error() -> None:
    with pytest.raises(ValueError, match="var_limit"), pytest.warns(UserWarning, match="var_limit"):
        A.Compose([A.GaussNoise(var_limit=(1, 5))], strict=True)


def test_albumentations_does_not_ask_the_network_for_news() -> None:
    code = "import cxrlt_cli.data.augment, os; print(os.environ['NO_ALBUMENTATIONS_UPDATE'])"
    environment = {name: value for name, value in os.environ.items() if name != "NO_ALBUMENTATIONS_UPDATE"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
