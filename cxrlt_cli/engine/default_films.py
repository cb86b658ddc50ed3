"""Digital phantoms for commands that were given no films."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from cxrlt_cli.config import FitOptions
from cxrlt_cli.engine.reporter import Reporter
from cxrlt_cli.errors import OptionError
from cxrlt_cli.machine import num_cores
from cxrlt_cli.nets.checkpoints import Checkpoint
from cxrlt_cli.phantom.folder import RECIPE, PhantomRecipe, cache_folder, cached

DEFAULT = PhantomRecipe(films=1200, size=128)
FitT = TypeVar("FitT", bound=FitOptions)


def with_phantoms(options: FitT, reporter: Reporter) -> FitT:
    """Options that name the default phantoms as their films; they are drawn the first time and kept."""
    with reporter.progress("Drawing phantoms", DEFAULT.films) as advance:
        folder = cached(DEFAULT, num_cores(), advance)
    reporter.plan(
        "Digital phantoms",
        {
            "why": "no --csv was given, so this run uses synthetic films whose findings are known",
            "films": f"{folder} (without the spoiled ones of its Removal.csv)",
            "note": "a demonstration: what is learned from drawings says nothing about real films",
        },
    )
    films = {"csv": folder / "train.csv", "image_dir": folder / "images"}
    return options.model_copy(update={**films, "exclude": (*options.exclude, folder / "Removal.csv")})


def unseen_phantoms(reporter: Reporter) -> Path:
    """The CSV of the default phantoms that have the findings of Task 2."""
    with reporter.progress("Drawing phantoms", DEFAULT.films) as advance:
        return cached(DEFAULT, num_cores(), advance) / "test_task2.csv"


def is_of_phantoms(training_csv: str | None) -> bool:
    """Whether the training films of a model were phantoms: those of a folder that is there, or the default ones."""
    if training_csv is None:
        return False
    folder = Path(training_csv).parent
    return (folder / RECIPE).is_file() or folder == cache_folder(DEFAULT)


def phantom_test_csv(training_csv: str | None, reporter: Reporter) -> Path | None:
    """The CSV of the test films that belong to a model's training films, if those were phantoms.

    The default ones are drawn again where they are gone from the cache.
    """
    if training_csv is None or not is_of_phantoms(training_csv):
        return None
    folder = Path(training_csv).parent
    if folder == cache_folder(DEFAULT):
        with reporter.progress("Drawing phantoms", DEFAULT.films) as advance:
            cached(DEFAULT, num_cores(), advance)
    return folder / "test_task1.csv"


def films_csv(given: Path | None, checkpoints: Sequence[Checkpoint], reporter: Reporter) -> Path:
    """``--csv``; or, of models that were trained on phantoms, the test films that belong to those."""
    if given is not None:
        return given
    for checkpoint in checkpoints:
        csv = phantom_test_csv(checkpoint.training.get("options", {}).get("csv"), reporter)
        if csv is not None:
            return csv
    raise OptionError("--csv is missing.", "It names the films to predict. Or pass their folder: --image-dir.")
