"""From options to films on the disk: which folder, which files, and whether they are there."""

from collections.abc import Sequence
from pathlib import Path

from cxrlt_cli.data.image import find_faults, report_faults
from cxrlt_cli.data.table import Texts
from cxrlt_cli.engine.process import num_cores
from cxrlt_cli.engine.reporting import Reporter
from cxrlt_cli.errors import DataError, FilmError, OptionError


def image_folder(csv: Path, image_dir: Path | None, ids: Texts) -> Path:
    """``image_dir``; or, of the CSV's folder and ``images/`` beside the CSV, the one that has the first film."""
    if image_dir is not None:
        if not image_dir.is_dir():
            raise OptionError(f"--image-dir {image_dir} is not a folder.")
        return image_dir
    folders = (csv.parent, csv.parent / "images")
    for folder in folders:
        if (folder / str(ids[0])).is_file():
            return folder
    raise DataError(
        f"The film '{ids[0]}' of {csv} is neither in {folders[0]} nor in {folders[1]}.", "Pass the folder with --image-dir."
    )


def film_paths(folder: Path, ids: Texts) -> list[Path]:
    """Where the films are; raises DataError with all that are missing or empty."""
    paths = [folder / str(film) for film in ids]
    faults = []
    for path in paths:
        try:
            if path.stat().st_size == 0:
                faults.append(FilmError(path, "is empty"))
        except FileNotFoundError:
            faults.append(FilmError(path, "does not exist"))
        except OSError as error:
            faults.append(FilmError(path, f"cannot be read: {error.strerror}"))
    if faults:
        raise report_faults(faults, len(paths))
    return paths


def check_films(paths: Sequence[Path], max_pixels: int, reporter: Reporter) -> None:
    """Read every film once, on all cores; raises DataError with all that cannot be read."""
    with reporter.progress("Checking films", len(paths)) as advance:
        faults = find_faults(paths, max_pixels=max_pixels, num_threads=num_cores(), advance=advance)
    if faults:
        raise report_faults(faults, len(paths))
