"""Files that grow film by film, and go on growing after a stop: nothing is computed or written twice."""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from cxrlt_cli.documents import read_json
from cxrlt_cli.engine.films import FilmList
from cxrlt_cli.engine.locks import partial_paths
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporter import Advance, Reporter, counted, told_of_written
from cxrlt_cli.errors import DataError
from cxrlt_cli.files import is_stream, write_text
from cxrlt_cli.tables.label_table import Texts
from cxrlt_cli.tables.outputs import finish_table

T = TypeVar("T")
PIECE = 2**24  # bytes that are read at a time


@dataclass(frozen=True)
class Output:
    """A file that grows: what is told of it, and how it is made of its rows, which are gone then."""

    path: Path
    what: str  # such as ``30 findings``
    finish: Callable[[Path, Path], None]


def table(path: Path, what: str, id_column: str, texts: Collection[str] = ()) -> Output:
    """A CSV, or Parquet where its path ends so; ``texts``: columns that are no numbers, besides the ids'."""
    return Output(path, what, partial(finish_table, id_column=id_column, texts=texts))


def write_predictions(
    outputs: Sequence[Output],
    key: Mapping[str, Any],
    films: FilmList,
    sizes: Iterable[int],
    predict: Callable[[Texts, Advance], T],
    rows: Callable[[Texts, T, bool], Sequence[bytes]],
    process: Process,
    reporter: Reporter,
) -> None:
    """Predict the films, a stretch of ``sizes`` films at a time, and write rows to each of ``outputs``.

    All processes ``predict``; of what that gives, the first makes ``rows``, told whether they are the first ones. After
    a stop, the same ``key`` (all that decides what is written) goes on where it was.
    """
    if len(set(process.collected(json.dumps(films.to_json().get("ids"))))) > 1:
        raise DataError(
            f"The processes found different films in {films.source}.", "Run it again when they stay as they are."
        )
    existed = [output.path.is_file() for output in outputs]
    growing = PartialFiles(outputs, {**key, "id_column": films.id_column}) if process.is_main else None
    if growing is not None and growing.note:
        reporter.note(growing.note)
    done = process.collected(growing.num_films if growing else 0)[0]
    if done:
        reporter.note(f"Going on after {counted(done, 'film')} that were predicted before.")
    with reporter.progress("Predicting", films.number) as advance:
        advance(done)
        for ids in films.stretches(sizes, done):
            given = predict(ids, advance)
            if growing is not None:
                growing.append(len(ids), rows(ids, given, growing.num_films == 0))
    if growing is not None:
        growing.finish()
    for output, replaced in zip(outputs, existed, strict=True):
        reporter.result(told_of_written(output.path, replaced, films.number, output.what))


class PartialFiles:
    """Rows beside the path of each of ``outputs``, as ``.NAME.partial``, until ``finish`` makes the files.

    ``key``: all that decides the rows; partial files of another key are thrown away, and so are damaged ones, of which
    ``note`` says so. How many films are whole stands in one file beside the first path, with digests, and is written
    after their rows are on the disk. Rows for a pipe or a device wait in a temporary folder, which no stop survives.
    """

    def __init__(self, outputs: Sequence[Output], key: Mapping[str, Any]) -> None:
        paths = [output.path for output in outputs]
        self._temporary = tempfile.TemporaryDirectory(prefix="cxrlt-") if any(map(is_stream, paths)) else None
        places = [self._places(path, number) for number, path in enumerate(paths)]
        self._rows = [rows for rows, _ in places]
        self._outputs = outputs
        self._known = places[0][1]
        text = json.dumps([dict(key), [str(path) for path in paths]], sort_keys=True, default=str)
        self._key = hashlib.sha256(text.encode()).hexdigest()
        self.num_films, self.note = 0, ""
        self._digests = {rows: hashlib.sha256() for rows in self._rows}
        try:
            self._go_on()
        except (OSError, EOFError, ValueError, LookupError, TypeError):
            self.num_films = 0
            self._digests = {rows: hashlib.sha256() for rows in self._rows}
            self.note = f"{self._known} or its rows are damaged, and are thrown away: all films are predicted again."
        if not self.num_films:
            for path in (self._known, *self._rows):
                path.unlink(missing_ok=True)

    def _places(self, path: Path, number: int) -> tuple[Path, Path]:
        if self._temporary is not None and is_stream(path):
            path = Path(self._temporary.name) / f"{number}{path.suffix}"
        return partial_paths(path)

    def _go_on(self) -> None:
        """Take up what is known to be whole; raises where that is damaged."""
        if not self._known.exists():
            return
        before = read_json(self._known)
        if before["key"] != self._key:
            return
        for (rows, digest), size, expected in zip(
            self._digests.items(), before["sizes"], before["digests"], strict=True
        ):
            _update(digest, rows, size)
            if digest.hexdigest() != expected:
                raise ValueError
            os.truncate(rows, size)  # what came after was not known to be whole
        if before["check"] != self._check(before["num_films"], before["sizes"]):
            raise ValueError
        self.num_films = before["num_films"]

    def _check(self, num_films: int, sizes: Sequence[int]) -> str:
        return hashlib.sha256(json.dumps([self._key, num_films, sizes]).encode()).hexdigest()

    def append(self, num_films: int, data: Sequence[bytes]) -> None:
        """The rows of the next films, for each of the outputs."""
        self._known.parent.mkdir(parents=True, exist_ok=True)
        sizes = []
        for rows, mine in zip(self._rows, data, strict=True):
            with rows.open("ab") as file:
                file.write(mine)
                file.flush()
                os.fsync(file.fileno())
                self._digests[rows].update(mine)
                sizes.append(file.tell())
        self.num_films += num_films
        digests = [digest.hexdigest() for digest in self._digests.values()]
        state = {"key": self._key, "num_films": self.num_films, "sizes": sizes, "digests": digests}
        write_text(self._known, json.dumps({**state, "check": self._check(self.num_films, sizes)}))

    def finish(self) -> None:
        """Make the files of their rows; the first comes last, so that where it is, all are."""
        for output, rows in reversed(list(zip(self._outputs, self._rows, strict=True))):
            output.finish(rows, output.path)
        self._known.unlink()
        if self._temporary is not None:
            self._temporary.cleanup()


def _update(digest: Any, rows: Path, size: int) -> None:
    """With the first ``size`` bytes of a file; raises EOFError where it has fewer."""
    with rows.open("rb") as file:
        while size:
            piece = file.read(min(PIECE, size))
            if not piece:
                raise EOFError
            digest.update(piece)
            size -= len(piece)
