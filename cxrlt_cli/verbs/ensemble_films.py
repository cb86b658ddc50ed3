"""``ensemble`` of checkpoints, a stretch of films at a time: only what is said of one stretch is in memory.

What needs all films at once goes another way, by ``ensemble_held``: ``--fit``, ``--merge rank``, and ``--per-study``
without ``--by-view``. With it, each film is blended as its view wants, and the films of a study are merged at the end.
"""

from functools import partial

from cxrlt_cli.config import EnsembleOptions
from cxrlt_cli.engine.by_view import ByView
from cxrlt_cli.engine.disk_space import require_room_for_table
from cxrlt_cli.engine.film_facts import FilmFacts
from cxrlt_cli.engine.film_studies import finish_studies
from cxrlt_cli.engine.films import FilmList
from cxrlt_cli.engine.launch import launch
from cxrlt_cli.engine.member_films import Blend, Blending, Looking, Part, prepare, stated_views
from cxrlt_cli.engine.partial import Output, table, write_predictions
from cxrlt_cli.engine.predict import stretches
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporter import Advance, Reporter, counted
from cxrlt_cli.engine.stated_views import StatedViews
from cxrlt_cli.scores.studies import Studies
from cxrlt_cli.tables.label_table import Texts


def streams(options: EnsembleOptions) -> bool:
    """Whether films can be blended without knowing of the others."""
    return not (options.fit or options.merge == "rank" or (options.per_study is not None and not options.by_view))


def predict_stretches(
    blend: Blend,
    films: FilmList,
    facts: FilmFacts,
    by_view: ByView | None,
    studies: Studies | None,
    reporter: Reporter,
) -> None:
    """Write the blend of every film. After a stop, the same command goes on where it was.

    ``studies``: to which films that are blended ``by_view`` are merged at the end.
    """
    options = blend.options
    if not options.dry_run:
        require_room_for_table("--out", options.out, films.number, len(blend.findings))
    prepare(blend, films, reporter)
    launch(_predict, options, reporter, blend, films, facts, by_view, studies, stated_views(blend, films))


def _predict(
    process: Process,
    reporter: Reporter,
    blend: Blend,
    films: FilmList,
    facts: FilmFacts,
    by_view: ByView | None,
    studies: Studies | None,
    stated: StatedViews | None,
) -> None:
    options, members = blend.options, blend.members
    looking, blending = Looking(blend, films, process, reporter), Blending(blend, stated)
    everyone = range(len(members.paths))

    def predicted(ids: Texts, advance: Advance) -> list[Part]:
        parts = [(ids, everyone)] if by_view is None else by_view.parts(ids, members, looking.features)
        return [looking.predict(mine, places, advance) for mine, places in parts]

    def rows(ids: Texts, parts: list[Part], first: bool) -> list[bytes]:
        tables = [facts.added(one, reporter) for one in blending.blended(ids, parts)]
        return [one.to_csv(options.id_column, header=first).encode() for one in tables]

    if options.dry_run:
        (ids,) = films.stretches([films.number])
        for mine, places in [(ids, everyone)] if by_view is None else by_view.parts(ids, members, None):
            looking.rehearse(mine, places, reporter)
        return
    what = counted(len(blend.findings), "finding")
    files = [table(path, what, options.id_column) for path in (options.out, options.decisions) if path is not None]
    if studies is not None:
        finish = partial(finish_studies, studies=studies, options=options)
        files = [Output(options.out, f"{what} of {counted(len(studies), 'study', 'studies')}", finish)]
    sizes, key = stretches(options.batch_size, looking.process), blend.key(films, looking.process, by_view)
    write_predictions(files, key, films, sizes, predicted, rows, looking.process, reporter)
    if process.is_main and blend.watch is not None:
        blend.watch.tell(reporter, films.number)
