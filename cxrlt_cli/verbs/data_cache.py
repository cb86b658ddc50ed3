"""``cxrlt data cache``: every film of a CSV or of a folder decoded once, into the folder that ``--cache`` names."""

from cxrlt_cli.config import DataCacheOptions
from cxrlt_cli.data.cache import FilmCache
from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.engine.folder_films import takes_folder
from cxrlt_cli.engine.next_step import tell_next, typed
from cxrlt_cli.engine.reporter import Reporter, counted, size, tell_needless
from cxrlt_cli.engine.sharding import films_of_shard
from cxrlt_cli.engine.sources import keep_films
from cxrlt_cli.errors import OptionError
from cxrlt_cli.tables.columns import is_known
from cxrlt_cli.tables.label_table import read_header


def build_cache(options: DataCacheOptions, reporter: Reporter) -> None:
    """``cxrlt data cache``: every film of ``--csv``, or of a folder, into ``--cache``."""
    if not takes_folder(options, options.films) and options.csv is None:
        raise OptionError("--csv is missing.", "It lists the films to cache. Or pass their folder: --image-dir.")
    if options.cache is None:
        raise OptionError("--cache is missing.", "It names the folder of the cache.")
    tell_needless(reporter, options, ["patient_column", "findings"], "films are cached without looking at labels")
    recipe = Preprocessing(options.image_size, fit=options.fit)
    before = len(FilmCache(options.cache, recipe))
    films = films_of_shard(options, options.shard, options.films, options.csv, reporter)
    raw = keep_films(films.path_stretches(), films.number, [recipe], options, reporter)
    cache = FilmCache(options.cache, recipe)
    reporter.result(
        f"{options.cache} keeps {counted(len(cache), 'film')} of {recipe.told} "
        f"({counted(len(cache) - before, 'new one')}): {size(cache.num_bytes)}; "
        f"the files of {films.source} are {size(raw)}."
    )
    if options.csv is not None and options.shard is None and any(map(is_known, read_header(options.csv))):
        rows = ("csv", "image_dir", "cache", "id_column", "patient_column", "findings", "where", "exclude", "fit")
        side = options.image_size if isinstance(options.image_size, int) else "x".join(map(str, options.image_size))
        tell_next(reporter, "train", *typed(options, rows), "--image-size", side)
