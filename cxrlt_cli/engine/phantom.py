"""Digital phantoms for commands that were given no films."""

from pathlib import Path
from typing import TypeVar

from cxrlt_cli.config import DataPhantomOptions, FitOptions
from cxrlt_cli.data.phantom.cohort import FLOOR, prevalences
from cxrlt_cli.data.phantom.dataset import RECIPE, Recipe, cache_folder, cached, ensure, num_training, other_recipe
from cxrlt_cli.data.phantom.sheet import write_sheet
from cxrlt_cli.engine.reporting import Reporter, counted
from cxrlt_cli.errors import OptionError
from cxrlt_cli.files import require_file
from cxrlt_cli.machine import num_cores

DEFAULT = Recipe(films=1200, size=128)
FitT = TypeVar("FitT", bound=FitOptions)


def draw_phantoms(options: DataPhantomOptions, reporter: Reporter) -> None:
    """Films in the challenge's layout, and a contact sheet where one is asked for: ``cxrlt data phantom``."""
    recipe = Recipe(options.films, options.size, options.seed, options.imbalance)
    folder = options.directory
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"{folder} is a file; films need a folder.")
    if options.sheet is not None and options.sheet.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise OptionError(f"--sheet {options.sheet}: a sheet is a .png or a .jpg file.")
    if options.sheet is not None:
        require_file(options.sheet, "--sheet")
    with reporter.progress("Drawing phantoms", recipe.films) as advance:
        if not ensure(folder, recipe, num_cores(), advance):
            reason = other_recipe(folder)
            raise OptionError(
                f"{folder} holds other files already{f': {reason}' * bool(reason)}.", "Pass another folder."
            )
    _tell_floor(recipe, reporter)
    drawn = counted(recipe.films, "phantom film")
    reporter.result(f"Wrote {folder}: {drawn}, train.csv, test_task1.csv, test_task2.csv.")
    if options.sheet is not None:
        write_sheet(options.sheet, options.seed)
        reporter.result(f"Wrote {options.sheet}: a film for each finding.")


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


def _tell_floor(recipe: Recipe, reporter: Reporter) -> None:
    """Say where a small set has more of its rare findings than was asked for."""
    number = num_training(recipe)
    drawn = prevalences(number, recipe.imbalance)
    asked = prevalences(10**9, recipe.imbalance)
    raised = sum(drawn[name] > 1.01 * asked[name] for name in drawn)
    if raised:
        ratio = max(drawn.values()) / min(drawn.values())
        wanted = max(asked.values()) / min(asked.values())
        reporter.note(
            f"{raised} of {len(drawn)} findings are drawn more often than asked, so that each stands on about {FLOOR} "
            f"of the {number:,} training films: the most frequent is {ratio:.0f} times as frequent as the least, "
            f"not {wanted:.0f} times."
        )
