"""Digital phantoms for commands that were given no films."""

from pathlib import Path

from cxrlt_cli.config import DataPhantomOptions, TrainOptions
from cxrlt_cli.data.phantom.dataset import RECIPE, Recipe, cached, is_complete, write
from cxrlt_cli.data.phantom.sheet import write_sheet
from cxrlt_cli.engine.reporting import Reporter, counted
from cxrlt_cli.errors import OptionError
from cxrlt_cli.machine import num_cores

DEFAULT = Recipe(films=1200, size=128)


def draw_phantoms(options: DataPhantomOptions, reporter: Reporter) -> None:
    """Films in the challenge's layout, and a contact sheet where one is asked for: ``cxrlt data phantom``."""
    recipe = Recipe(options.films, options.size, options.seed, options.imbalance)
    folder = options.directory
    if (folder / "train.csv").exists() and not is_complete(folder, recipe):
        raise OptionError(f"{folder} holds other films already.", "Pass another folder.")
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"{folder} is a file; films need a folder.")
    with reporter.progress("Drawing phantoms", recipe.films) as advance:
        write(folder, recipe, num_cores(), advance)
    drawn = counted(recipe.films, "phantom film")
    reporter.result(f"Wrote {folder}: {drawn}, train.csv, test_task1.csv, test_task2.csv.")
    if options.sheet is not None:
        write_sheet(options.sheet, options.seed)
        reporter.result(f"Wrote {options.sheet}: a film for each finding.")


def with_phantoms(options: TrainOptions, reporter: Reporter) -> TrainOptions:
    """Options that name the default phantoms as their films; they are drawn the first time and kept."""
    with reporter.progress("Drawing phantoms", DEFAULT.films) as advance:
        folder = cached(DEFAULT, num_cores(), advance)
    reporter.plan(
        "Digital phantoms",
        {
            "why": "no --csv was given, so this run uses synthetic films whose findings are known",
            "films": str(folder),
            "note": "a demonstration: what is learned from drawings says nothing about real films",
        },
    )
    films = {"csv": folder / "train.csv", "image_dir": folder / "images"}
    return options.model_copy(update={**films, "exclude": (*options.exclude, folder / "Removal.csv")})


def phantom_test_csv(training_csv: str | None) -> Path | None:
    """The CSV of the phantom test films that belong to a model's training films, if those were phantoms."""
    if training_csv is None or not (Path(training_csv).parent / RECIPE).is_file():
        return None
    return Path(training_csv).parent / "test_task1.csv"
