"""Films by way of ``--cache``: decoded once by all cores, then read as they are."""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from cxrlt_cli.config import ComputeOptions, FilmOptions
from cxrlt_cli.data.cache import FilmCache, FilmTransform
from cxrlt_cli.data.image import report_faults
from cxrlt_cli.data.loading import FilmFiles, FilmSource
from cxrlt_cli.engine.disk_space import require_room
from cxrlt_cli.engine.reporter import Reporter
from cxrlt_cli.errors import DataError, FilmError, OptionError
from cxrlt_cli.machine import num_cores


def keep_films(
    stretches: Iterable[Sequence[Path]],
    number: int,
    recipes: Sequence[FilmTransform],
    options: FilmOptions,
    reporter: Reporter,
) -> int:
    """Decode what ``--cache`` does not keep yet, if there is one; gives the bytes of all the files.

    Raises DataError with all films that cannot be read; the others are kept.
    """
    if options.cache is None:
        return 0
    recipe = _only(recipes)
    faults: list[FilmError] = []
    num_bytes = 0
    cache = FilmCache(options.cache, recipe)
    new = number - len(cache)
    require_room("--cache", options.cache, new * math.prod(recipe.shape), f"{number:,} films of {recipe.told}")
    with reporter.progress("Keeping films", number) as advance:
        for paths in stretches:
            num_bytes += sum(path.stat().st_size for path in paths)
            faults += cache.fill(paths, max_pixels=options.max_pixels, num_threads=num_cores(), advance=advance)
    if faults:
        raise report_faults(faults, number)
    return num_bytes


def film_source(
    paths: Sequence[Path], recipes: Sequence[FilmTransform], options: ComputeOptions, reporter: Reporter
) -> FilmSource:
    """Where these films are read from: ``--cache``, in which they are kept by now, or their files."""
    return film_sources(recipes, options, reporter)(paths)


def film_sources(
    recipes: Sequence[FilmTransform], options: ComputeOptions, reporter: Reporter
) -> Callable[[Sequence[Path]], FilmSource]:
    """``film_source`` for one stretch of films after another: ``--cache`` is opened once."""
    files = partial(FilmFiles, preprocessings=recipes, max_pixels=options.max_pixels)
    if options.cache is None:
        return files
    cache, tell = FilmCache(options.cache, _only(recipes)), partial(_warn, reporter.remote())

    def kept(paths: Sequence[Path]) -> FilmSource:
        films = cache.films(paths, max_pixels=options.max_pixels, tell=tell)
        if films is None and not options.dry_run:
            raise DataError("Films changed while this command read them.", "Run it again when they stay as they are.")
        return files(paths) if films is None else films

    return kept


def _warn(remote: Callable[[], Reporter], message: str) -> None:
    """From a process that reads films, which has no reporter."""
    remote().warn(message)


def _only(recipes: Sequence[FilmTransform]) -> FilmTransform:
    if len(recipes) > 1:
        sizes = " and ".join(recipe.told for recipe in recipes)
        raise OptionError(
            f"--cache keeps films in one way, and these models want {len(recipes)} ({sizes}).", "Leave it out."
        )
    return recipes[0]
