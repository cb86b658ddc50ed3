"""``cxrlt data phantom``: digital phantoms in the challenge's layout."""

import json
from collections import Counter
from pathlib import Path

from cxrlt_cli.config import DataPhantomOptions
from cxrlt_cli.engine.next_step import tell_next
from cxrlt_cli.engine.reporter import Reporter, counted
from cxrlt_cli.errors import OptionError
from cxrlt_cli.files import require_file
from cxrlt_cli.machine import num_cores
from cxrlt_cli.phantom.cohort import FLOOR
from cxrlt_cli.phantom.folder import PhantomRecipe, ensure, num_training, other_recipe
from cxrlt_cli.phantom.hospitals import HOSPITALS
from cxrlt_cli.phantom.sheet import write_sheet


def draw_phantoms(options: DataPhantomOptions, reporter: Reporter) -> None:
    """Films in the challenge's layout, and a contact sheet where one is asked for: ``cxrlt data phantom``."""
    recipe = PhantomRecipe(
        options.films, options.size, options.seed, options.imbalance, options.studies, options.hospital
    )
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
    views = f" ({_views(folder)})" if recipe.studies else ""
    reporter.result(f"Wrote {folder}: {drawn}{views}, train.csv, test_task1.csv, test_task2.csv.")
    if options.sheet is not None:
        write_sheet(options.sheet, options.seed, studies=recipe.studies, hospital=HOSPITALS[recipe.hospital])
        views = ", and a lateral one where it shows" if recipe.studies else ""
        reporter.result(f"Wrote {options.sheet}: a film for each finding{views}.")
    films = ("--csv", folder / "train.csv", "--image-dir", folder / "images", "--exclude", folder / "Removal.csv")
    tell_next(reporter, "train", *films, "--preset", "phantom")


def _views(folder: Path) -> str:
    """How many films there are of each view."""
    records = map(json.loads, (folder / "records.jsonl").read_text(encoding="utf-8").splitlines())
    numbers = Counter(record["view"] for record in records)
    return ", ".join(f"{numbers[view]:,} {view}" for view in ("PA", "AP", "L"))


def _tell_floor(recipe: PhantomRecipe, reporter: Reporter) -> None:
    """Say where a small set has more of its rare findings than was asked for."""
    number = num_training(recipe)
    drawn, asked = recipe.frequencies(number), recipe.frequencies(10**9)
    raised = sum(drawn[name] > 1.01 * asked[name] for name in drawn)
    if raised:
        ratio = max(drawn.values()) / min(drawn.values())
        wanted = max(asked.values()) / min(asked.values())
        reporter.note(
            f"{raised} of {len(drawn)} findings are drawn more often than asked, so that each stands on about {FLOOR} "
            f"of the {number:,} training films: the most frequent is {ratio:.0f} times as frequent as the least, "
            f"not {wanted:.0f} times."
        )
