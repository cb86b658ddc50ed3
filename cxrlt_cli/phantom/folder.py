"""A folder of phantom films in the challenge's own layout, drawn on all cores, kept until the version changes.

``images/``, ``train.csv``, ``Removal.csv``, ``test_task1.csv`` and ``test_task2.csv`` with the truth in files of their
own, and ``records.jsonl`` with the side, severity and box of every finding that a film shows. Labels are the study's.
"""

import csv
import json
import shutil
import signal
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from multiprocessing import get_context, resource_tracker
from pathlib import Path

import cv2
import numpy as np

from cxrlt_cli.documents import read_json
from cxrlt_cli.files import cache_root, real, replacing, working_path, write_text
from cxrlt_cli.labels import CXR_LT_2026, UNSEEN
from cxrlt_cli.machine import end_with_parent
from cxrlt_cli.phantom import draw, sex_of, shown_on
from cxrlt_cli.phantom.cohort import (
    Case,
    prevalences,
    sample,
    task1_labels,
    task2_labels,
    unseen_prevalences,
    with_laterals,
)
from cxrlt_cli.phantom.hospitals import HOSPITALS

VERSION = 3  # of what is drawn: a cached folder of another version is drawn again
RECIPE = "phantom.json"
BEFORE = (("studies", False), ("hospital", 1))  # as all sets were before there was a choice
STRETCH = 512  # films for each process that are handed out at a time: handing them out holds Ctrl-C back
FACTS = ("StudyID", "ViewPosition", "PatientSex", "PatientAge")  # with studies, behind PatientID
TEST_SHARE = 0.15  # of the films, for each of the two tasks


@dataclass(frozen=True)
class PhantomRecipe:
    """What decides every byte of a folder of phantoms."""

    films: int
    size: int = 256
    seed: int = 42
    imbalance: float | None = None
    studies: bool = False  # of a frontal and often a lateral film, with columns that say so
    hospital: int = 1  # of HOSPITALS

    def to_json(self) -> str:
        """Without what is as it was before there was a choice."""
        values = {name: value for name, value in vars(self).items() if (name, value) not in BEFORE}
        return json.dumps({"version": VERSION, **values}, indent=2) + "\n"

    def frequencies(self, num_films: int) -> dict[str, float]:
        """Share of so many films with each finding of Task 1."""
        return self._here(prevalences(num_films, self.imbalance))

    def unseen_frequencies(self, num_films: int) -> dict[str, float]:
        """The same of Task 2."""
        return self._here(unseen_prevalences(num_films))

    def _here(self, shares: dict[str, float]) -> dict[str, float]:
        times = HOSPITALS[self.hospital].times
        return {name: min(0.5, share * times.get(name, 1.0)) for name, share in shares.items()}


@dataclass(frozen=True)
class _Drawing:
    name: str
    film: Case
    patient_seed: int
    film_seed: int
    spoiled: bool


def cache_folder(recipe: PhantomRecipe) -> Path:
    """Where phantoms are kept."""
    tail = f"-r{recipe.imbalance:g}" if recipe.imbalance else ""
    tail += "-studies" * recipe.studies + f"-h{recipe.hospital}" * (recipe.hospital != 1)
    return cache_root() / f"phantom-v{VERSION}-{recipe.films}x{recipe.size}-s{recipe.seed}{tail}"


def is_complete(folder: Path, recipe: PhantomRecipe) -> bool:
    """Whether a folder holds all films of this recipe and version."""
    path = folder / RECIPE
    return path.is_file() and path.read_bytes() == recipe.to_json().encode()


def other_recipe(folder: Path) -> str | None:
    """What a folder's recipe says that is not the one that was asked for; None where it has none."""
    if not (folder / RECIPE).is_file():
        return None
    try:
        content = read_json(folder / RECIPE)
        number = content["version"]
        PhantomRecipe(**{name: value for name, value in content.items() if name != "version"})
    except (ValueError, TypeError, KeyError, AttributeError):
        return f"{RECIPE} is damaged"
    if number != VERSION:
        return f"its films are of version {str(number)[:40]}, and this cxrlt draws version {VERSION}"
    return "its films were drawn with other options"


def write(folder: Path, recipe: PhantomRecipe, num_processes: int, advance: Callable[[int], None]) -> None:
    """Draw all films into ``folder``; the recipe is written last, when everything else stands."""
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    drawings = _planned(recipe)
    everything = [drawing for part in drawings.values() for drawing in part]
    paint = partial(_paint, images=images, recipe=recipe)
    stretch = STRETCH * num_processes
    records = []
    fresh = get_context("spawn")  # a fork of a process whose libraries run threads can hang
    with ProcessPoolExecutor(num_processes, fresh, initializer=_begin_worker) as pool:
        try:
            for start in range(0, len(everything), stretch):
                with _ctrl_c_held_back():
                    drawn = pool.map(paint, everything[start : start + stretch], chunksize=8)
                for record in drawn:
                    records.append(json.dumps(record) + "\n")
                    advance(1)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    write_text(folder / "records.jsonl", "".join(records))
    facts, facts_of = (FACTS, _facts) if recipe.studies else ((), _no_facts)
    days = np.random.default_rng([recipe.seed, 9]).integers(0, 3285, len(drawings["train"]))
    dates = [(date(2009, 1, 1) + timedelta(int(day))).strftime("%Y%m%d") for day in days]
    _write_csv(
        folder / "train.csv",
        ["ImageID", "StudyDate_DICOM", "PatientID", *facts, *CXR_LT_2026],
        [(d.name, dates[d.film.study], d.patient_seed, *facts_of(d), *task1_labels(d.film)) for d in drawings["train"]],
    )
    _write_csv(folder / "Removal.csv", ["ImageID"], [(d.name,) for d in drawings["train"] if d.spoiled])
    for part, names, labels in (
        ("test_task1", CXR_LT_2026, task1_labels),
        ("test_task2", UNSEEN, task2_labels),
    ):
        whose = ["PatientID", *facts] if recipe.studies else []
        bare = [(d.name, *([d.patient_seed, *facts_of(d)] if recipe.studies else [])) for d in drawings[part]]
        _write_csv(folder / f"{part}.csv", ["ImageID", *whose], bare)
        rows = [(d.name, d.patient_seed, *facts_of(d), *labels(d.film)) for d in drawings[part]]
        _write_csv(folder / f"{part}_truth.csv", ["ImageID", "PatientID", *facts, *names], rows)
    write_text(folder / RECIPE, recipe.to_json())


def ensure(folder: Path, recipe: PhantomRecipe, num_processes: int, advance: Callable[[int], None]) -> bool:
    """Draw what is not there yet; the folder appears whole or not at all. False where it holds something else."""
    if is_complete(folder, recipe):
        return True
    folder = real(folder)
    temporary = working_path(folder)
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        if folder.exists() and any(folder.iterdir()):
            return False
        write(temporary, recipe, num_processes, advance)
        with suppress(OSError):  # another command may have drawn into it meanwhile
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return is_complete(folder, recipe)


def cached(recipe: PhantomRecipe, num_processes: int, advance: Callable[[int], None]) -> Path:
    """The folder of this recipe in the cache, drawn if it is not there."""
    folder = cache_folder(recipe)
    if folder.exists() and not is_complete(folder, recipe):  # of a version under way; nobody else writes there
        shutil.rmtree(folder)
    assert ensure(folder, recipe, num_processes, advance), f"{folder} was just cleared"
    return folder


def num_training(recipe: PhantomRecipe) -> int:
    """Training films of a recipe; the others are shared out among the two tests."""
    return recipe.films - 2 * max(1, round(TEST_SHARE * recipe.films))


def truth_csv(ids: Collection[str]) -> Path | None:
    """The CSV of the truth on phantoms of the cache, if it is these that ``ids`` name."""
    for path in sorted(cache_folder(PhantomRecipe(0)).parent.glob(f"phantom-v{VERSION}-*/*.csv")):
        if path.name == "train.csv" or path.stem.endswith("_truth"):
            with path.open(newline="", encoding="utf-8") as file:
                if set(ids) <= {row["ImageID"] for row in csv.DictReader(file)}:
                    return path
    return None


def _planned(recipe: PhantomRecipe) -> dict[str, list[_Drawing]]:
    """The films of each part."""
    hospital = HOSPITALS[recipe.hospital]
    elsewhere = [] if recipe.hospital == 1 else [recipe.hospital]  # other patients
    rng = np.random.default_rng([recipe.seed, *elsewhere] if elsewhere else recipe.seed)
    num_train = num_training(recipe)
    num_test = (recipe.films - num_train) // 2
    shares = {
        "train": (num_train, recipe.frequencies(num_train)),
        "test_task1": (num_test, recipe.frequencies(num_train)),
        "test_task2": (num_test, recipe.unseen_frequencies(num_test)),
    }
    planned = {}
    for part, (name, (number, wanted)) in enumerate(shares.items()):
        films = sample(number, wanted, rng, in_bed=hospital.in_bed, age=hospital.age)
        if recipe.studies:
            films = with_laterals(films, number, np.random.default_rng([recipe.seed, part, 8, *elsewhere]))
        planned[name] = _drawings(films, recipe, part, elsewhere)
    return planned


def _drawings(films: Sequence[Case], recipe: PhantomRecipe, part: int, elsewhere: list[int]) -> list[_Drawing]:
    """Names and seeds: patients have numbers of 39 digits and films long names, as in PadChest."""
    drawings = []
    ending = "jpg" if HOSPITALS[recipe.hospital].jpeg else "png"
    first = (recipe.seed * 10 + part + 10**9 * (recipe.hospital - 1)) * 10**7
    for number, film in enumerate(films):
        rng = np.random.default_rng([recipe.seed, part, film.patient, 7, *elsewhere])
        patient = int("".join(map(str, [int(rng.integers(1, 10)), *rng.integers(0, 10, 38)])))
        name = f"{patient % 10**30}{part}{number:07d}_{part + 1:02d}-{film.patient % 1000:03d}-{number % 1000:03d}"
        drawings.append(
            _Drawing(f"{name}.{ending}", film, patient, first + film.study, part == 0 and number % 100 == 50)
        )
    return drawings


def _facts(drawing: _Drawing) -> tuple[object, ...]:
    """The cells of ``FACTS``."""
    film = drawing.film
    return f"s{drawing.film_seed}", film.view, sex_of(drawing.patient_seed), film.age


def _no_facts(_: _Drawing) -> tuple[object, ...]:
    return ()


@contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    """Processes that start meanwhile never hear it: a Python that is starting would end with a traceback."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which lets Ctrl-C through again when it has started
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_worker() -> None:
    """On one core, until the process that it draws for ends, which hears Ctrl-C for both."""
    end_with_parent()
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _paint(drawing: _Drawing, images: Path, recipe: PhantomRecipe) -> dict[str, object]:
    hospital, names = HOSPITALS[recipe.hospital], drawing.film.findings
    if recipe.studies:
        names = shown_on(names, drawing.film_seed, lateral=drawing.film.lateral)
    film, findings = draw(
        names,
        patient_seed=drawing.patient_seed,
        film_seed=drawing.film_seed,
        size=recipe.size,
        from_front=drawing.film.from_front,
        lateral=drawing.film.lateral,
        hospital=hospital,
    )
    if drawing.spoiled:  # fogged: for Removal.csv
        film = (film // 16 + 3700).astype(np.uint16)
    if hospital.jpeg:
        data = cv2.imencode(".jpg", (film >> 4).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, hospital.jpeg])[1]
    else:
        data = cv2.imencode(".png", film, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
    (images / drawing.name).write_bytes(data.tobytes())
    shown = [finding.to_json() for finding in findings]
    return {"ImageID": drawing.name, "view": drawing.film.view, "findings": shown}


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
