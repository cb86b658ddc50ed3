"""``cxrlt data cache``: every film of a CSV decoded once, into the folder that ``--cache`` names."""

from cxrlt_cli.config import DataCacheOptions
from cxrlt_cli.data.cache import FilmCache
from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.engine.films import FilmList
from cxrlt_cli.engine.reporter import Reporter, counted, size, tell_needless
from cxrlt_cli.engine.sources import keep_films
from cxrlt_cli.errors import OptionError


def build_cache(options: DataCacheOptions, reporter: Reporter) -> None:
    """``cxrlt data cache``: every film of ``--csv`` into ``--cache``."""
    if options.csv is None:
        raise OptionError("--csv is missing.", "It names the films to keep, one row each.")
    if options.cache is None:
        raise OptionError("--cache is missing.", "It names the folder that keeps them.")
    tell_needless(reporter, options, ["patient_column", "findings"], "films are kept whatever their labels")
    recipe = Preprocessing(options.image_size)
    before = len(FilmCache(options.cache, recipe))
    films = FilmList.of(options, options.csv, reporter)
    raw = keep_films(films.path_stretches(), films.number, [recipe], options, reporter)
    cache = FilmCache(options.cache, recipe)
    reporter.result(
        f"{options.cache} keeps {counted(len(cache), 'film')} of {recipe.image_size} px "
        f"({counted(len(cache) - before, 'new one')}): {size(cache.num_bytes)}; "
        f"the files of {options.csv} are {size(raw)}."
    )
