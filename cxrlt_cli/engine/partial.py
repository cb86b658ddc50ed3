"""Prediction CSVs that grow film by film, and go on growing after a stop: nothing is computed or written twice."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cxrlt_cli.data.outputs import finish_table
from cxrlt_cli.files import write_text
from cxrlt_cli.predictions import Predictions


class PartialCsvs:
    """Rows beside each of ``paths``, as ``.NAME.partial``, until ``finish`` renames them.

    ``key``: all that decides the rows; partial files of another key are thrown away. How many films are whole stands in
    one file beside the first path, and is written after their rows are on the disk.
    """

    def __init__(self, paths: Sequence[Path], key: Mapping[str, Any], id_column: str) -> None:
        self._paths = {path: path.with_name(f".{path.name}.partial") for path in paths}
        self._known = paths[0].with_name(f".{paths[0].name}.partial.json")
        self._id_column = id_column
        text = json.dumps([dict(key), [str(path) for path in paths], id_column], sort_keys=True, default=str)
        self._digest = hashlib.sha256(text.encode()).hexdigest()
        before = json.loads(self._known.read_text(encoding="utf-8")) if self._known.exists() else {}
        if before.get("key") == self._digest and self._hold(before["sizes"]):
            self.num_films = int(before["num_films"])
            for rows, size in zip(self._paths.values(), before["sizes"], strict=True):
                os.truncate(rows, size)  # what came after was not known to be whole
        else:
            self.num_films = 0
            for path in (self._known, *self._paths.values()):
                path.unlink(missing_ok=True)

    def _hold(self, sizes: Sequence[int]) -> bool:
        """Whether the files have all that was known to be whole."""
        pairs = zip(self._paths.values(), sizes, strict=True)
        return all(rows.exists() and rows.stat().st_size >= size for rows, size in pairs)

    def append(self, *predictions: Predictions) -> None:
        """The next films, for each of the paths."""
        self._known.parent.mkdir(parents=True, exist_ok=True)
        sizes = []
        for rows, mine in zip(self._paths.values(), predictions, strict=True):
            with rows.open("ab") as file:
                file.write(mine.to_csv(self._id_column, header=self.num_films == 0).encode())
                file.flush()
                os.fsync(file.fileno())
                sizes.append(file.tell())
        self.num_films += len(predictions[0].ids)
        write_text(self._known, json.dumps({"key": self._digest, "num_films": self.num_films, "sizes": sizes}))

    def finish(self) -> None:
        """Give the files their names; those that are to be Parquet become so now."""
        for path, rows in self._paths.items():
            finish_table(rows, path, self._id_column)
        self._known.unlink()
