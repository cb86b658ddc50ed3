"""Work that several commands share without knowing of each other: which films each takes, and where it writes.

Parts are stretches of the films in their order, so that their files, one after another, are what one command writes.
"""

import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.config import FilmOptions, PredictOptions, ShardOptions, shard_of
from cxrlt_cli.engine.film_studies import all_studies
from cxrlt_cli.engine.films import FilmList
from cxrlt_cli.engine.folder_films import film_list, films_below, warn_of_others
from cxrlt_cli.engine.reporter import Reporter, Silent, counted
from cxrlt_cli.errors import OptionError
from cxrlt_cli.files import is_stream
from cxrlt_cli.scores.studies import Studies
from cxrlt_cli.tables.label_table import Texts

ShardT = TypeVar("ShardT", bound=ShardOptions)


def part_of(number: int, shard: str, what: str = "film", many: str = "films") -> slice:
    """Which of ``number`` things ``3/16`` takes; the parts differ by one at most.

    Raises OptionError where there are more parts than things.
    """
    part, parts = shard_of(shard)
    if parts > number:
        raise OptionError(f"--shard {shard}: there are {counted(number, what, many)}.", "Take fewer parts.")
    return slice((part - 1) * number // parts, part * number // parts)


def named_by_shard(options: ShardT, names: Sequence[str] = ("out",)) -> ShardT:
    """Options whose files, by these ``names``, say which part they hold; as they are without ``--shard``."""
    if options.shard is None:
        return options
    part, parts = shard_of(options.shard)
    paths = {name: getattr(options, name) for name in names}
    told = f"-{part:0{len(str(parts))}}-of-{parts}"
    return options.model_copy(
        update={
            name: path.with_name(f"{path.stem}{told}{path.suffix}")
            for name, path in paths.items()
            if path is not None and not is_stream(path)
        }
    )


def told_of_parts(out: Path, shard: str) -> str:
    """How the CSVs of all parts become one, with the header of the first."""
    parts = shard_of(shard)[1]
    whole = out.with_name(re.sub(rf"-\d+-of-{parts}$", "", out.stem))
    files = f"{whole}-*-of-{parts}{out.suffix}"
    if out.suffix != ".csv":
        return f"When all {parts} parts are there, {files} are the whole."
    pattern = f"{shlex.quote(str(whole))}-*-of-{parts}{out.suffix}"
    return f"When all {parts} parts are there: awk 'NR == 1 || FNR > 1' {pattern} > {shlex.quote(f'{whole}.csv')}"


def films_of_shard(
    options: FilmOptions, shard: str | None, given: Sequence[Path], csv: Path | None, reporter: Reporter
) -> FilmList:
    """``film_list``, or that part of it; with ``--per-study``, whole studies."""
    if shard is None:
        return film_list(options, given, csv, reporter)
    films = films_below(options, given, reporter) if csv is None else FilmList.of(options, csv, reporter)
    if isinstance(options, PredictOptions) and options.per_study is not None:
        (ids,) = films.stretches([films.number])
        studies = all_studies(films, options, Silent())
        assert studies is not None, "asked for"
        films = films.part(ids[_in_studies(studies, shard)])
    else:
        taken = part_of(films.number, shard)
        films = films.part(next(films.stretches([taken.stop - taken.start], taken.start)))
    if csv is not None:
        warn_of_others(films, options, reporter)
    return films


def ids_of_shard(ids: Texts, shard: str | None, studies: Callable[[], Studies] | None) -> Texts:
    """``films_of_shard`` of films that are known by their ids alone."""
    if shard is None:
        return ids
    return ids[part_of(len(ids), shard) if studies is None else _in_studies(studies(), shard)]


def _in_studies(studies: Studies, shard: str) -> NDArray[np.bool_]:
    """Which films ``[N]`` are those of a part of the studies."""
    taken = part_of(len(studies), shard, "study", "studies")
    return np.isin(studies.member, np.arange(taken.start, taken.stop))
