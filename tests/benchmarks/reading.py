"""Films from the disk, and films of a cache with the training augmentation.

PadChest's films are 1,916 x 2,000 on average, 12 bits in PNGs of 16. These are phantoms of that size with the noise of
a detector, which decides how well they compress: 5 MB each, as PadChest's are.
"""

import os
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A  # noqa: N812
import cv2
import numpy as np

from cxrlt_cli.data.augment import Augmentation
from cxrlt_cli.data.cache import FilmCache
from cxrlt_cli.data.image import Preprocessing, read_film
from cxrlt_cli.data.loading import FilmDataset
from cxrlt_cli.machine import keep_freed_memory
from cxrlt_cli.phantom.folder import PhantomRecipe, write
from tests.benchmarks.harness import Benchmark

NUM_FILMS, SIDE = 12, 512
RECIPE = Preprocessing(SIDE)


def prepare(folder: Path) -> None:
    """``films/0.png`` to ``films/11.png``, and each of them again under eight names in ``many/``."""
    if (folder / "films").exists():
        return
    write(folder / "drawn", PhantomRecipe(NUM_FILMS, 512), 2, lambda _: None)
    (folder / "films").mkdir()
    rng = np.random.default_rng(0)
    for index, path in enumerate(sorted((folder / "drawn" / "images").iterdir())):
        drawn = np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
        film = cv2.resize(drawn, (1916, 2000), interpolation=cv2.INTER_CUBIC)
        noisy = film.astype(np.float32) + rng.normal(0, 12, film.shape)
        cv2.imwrite(str(folder / "films" / f"{index}.png"), noisy.clip(0, 4095).astype(np.uint16))
    (folder / "many").mkdir()
    for path in films(folder):
        for number in range(8):
            (folder / "many" / f"{number}-{path.name}").hardlink_to(path)
    check(folder)


def prepare_cache(folder: Path) -> None:
    prepare(folder)
    cached(RECIPE, folder / "kept").fill(films(folder), max_pixels=10**8, num_threads=2, advance=lambda _: None)


def cached(recipe: Preprocessing, folder: Path) -> FilmCache:
    return FilmCache(folder, recipe)


def films(folder: Path) -> list[Path]:
    return sorted((folder / "films").iterdir())


def on_cores(number: int) -> None:
    """This process and its threads, from now on; OpenCV has no threads of its own."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:number])
    cv2.setNumThreads(0)


def bare_decode(folder: Path) -> Callable[[], int]:
    on_cores(1)
    return lambda: sum(cv2.imread(str(path), cv2.IMREAD_UNCHANGED) is not None for path in films(folder))


def bare_decode_keeping_memory(folder: Path) -> Callable[[], int]:
    keep_freed_memory()
    return bare_decode(folder)


def script(path: Path) -> Any:
    """What scripts do: read, cut at percentiles, resize."""
    film = np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
    low, high = np.percentile(film, (0.5, 99.5))
    film = (np.clip((film.astype(np.float32) - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    return cv2.resize(film, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def by_script(folder: Path) -> Callable[[], int]:
    on_cores(1)
    return lambda: sum(script(path) is not None for path in films(folder))


def ours(folder: Path, num_threads: int = 1) -> Callable[[], int]:
    keep_freed_memory()  # as every command does
    on_cores(num_threads)
    rounds = iter(range(1000))

    def once() -> int:
        fresh = FilmCache(folder / f"kept-{num_threads}-{os.getpid()}-{next(rounds)}", RECIPE)
        many = sorted((folder / "many").iterdir())
        fresh.fill(many, max_pixels=10**8, num_threads=num_threads, advance=lambda _: None)
        return len(many)

    return once


@cache
def float_augmentation() -> Any:
    """The same augmentation by albumentations alone."""
    transforms = list(Augmentation()._pipeline.transforms)
    transforms[4] = A.GaussNoise(std_range=(1 / 255, 5**0.5 / 255), p=0.15)
    return A.Compose(transforms)


def float_film(path: Path) -> Any:
    return np.repeat(script(path)[..., None], 3, axis=2).astype(np.float32) / 255


def augmented_raw(folder: Path) -> Callable[[], int]:
    cv2.setNumThreads(0)
    augment = float_augmentation()
    return lambda: sum(augment(image=float_film(path)) is not None for path in films(folder))


def augmented_float(folder: Path) -> Callable[[], int]:
    cv2.setNumThreads(0)
    augment, ready = float_augmentation(), [float_film(path) for path in films(folder)]
    return lambda: sum(augment(image=film) is not None for _ in range(8) for film in ready)


def augmented_cached(folder: Path) -> Callable[[], int]:
    keep_freed_memory()
    cv2.setNumThreads(0)
    kept = FilmCache(folder / "kept", RECIPE).films(films(folder))
    assert kept is not None
    dataset, rounds = FilmDataset(kept, Augmentation()), iter(range(10**6))
    return lambda: sum(dataset[index % NUM_FILMS, next(rounds)] is not None for index in range(20 * NUM_FILMS))


def check(folder: Path) -> None:
    """Both ways see the same films, but for rounding."""
    for path in films(folder):
        assert np.abs(RECIPE(read_film(path)).astype(int) - script(path)).max() <= 2


BENCHMARKS = (
    Benchmark("first reading, one core, to bare decoding", "films/s", bare_decode, ours, 0.87, prepare=prepare),
    Benchmark(
        "the same, freed memory kept by both", "films/s", bare_decode_keeping_memory, ours, 0.87, prepare=prepare
    ),
    Benchmark("first reading, one core, to a script", "films/s", by_script, ours, 1.0, prepare=prepare),
    Benchmark("first reading, two cores to one", "films/s", ours, partial(ours, num_threads=2), 1.8, prepare=prepare),
    Benchmark(
        "augmented epoch: cache to 16-bit files", "films/s", augmented_raw, augmented_cached, 100, prepare=prepare_cache
    ),
    Benchmark("augmentation alone", "films/s", augmented_float, augmented_cached, 5, prepare=prepare_cache),
)
