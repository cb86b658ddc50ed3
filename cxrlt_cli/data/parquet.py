"""Parquet where CSV is accepted: read as the same rows of text, written where a path ends in ``.parquet``.

pyarrow is imported late: it comes with ``pip install "cxrlt[parquet]"``, and CSVs need none of it.
"""

import io
import re
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from cxrlt_cli.errors import DataError, InstallError
from cxrlt_cli.files import replacing, require_file

ENDING, MAGIC = ".parquet", b"PAR1"
PANDAS_INDEX = re.compile(r"__index_level_\d+__")  # a column that pandas adds, and that is none of the table's
ROWS = 2**14  # that are turned into text at a time


def is_parquet(path: Path) -> bool:
    """Whether a file is one, by its first bytes, or is called one."""
    if path.suffix.lower() == ENDING:
        return True
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def read_rows(path: Path) -> Iterator[list[str]]:
    """The names of the columns, then every row as text: 1, 1.0 and true are ``1``; null and NaN are empty.

    Raises DataError where the file is missing, damaged or no Parquet, or a column holds lists, bytes or the like.
    """
    require_pyarrow(path)
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            names = [name for name in file.schema_arrow.names if not PANDAS_INDEX.fullmatch(name)]
            yield names
            for batch in file.iter_batches(ROWS, columns=names):
                columns = [_as_text(column, name, path) for name, column in zip(names, batch.columns, strict=True)]
                yield from map(list, zip(*columns, strict=True))
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.", "Check the path of the file.") from error
    except IsADirectoryError as error:
        raise DataError(f"{path} is a folder, not a Parquet file.", "Parquet is read from single files.") from error
    except (pa.ArrowException, OSError, MemoryError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no Parquet file, or a damaged one ({_first_line(error)}).") from error


def write_rows(text: str, path: Path, id_column: str) -> None:
    """The text of a CSV to ``path``, as Parquet where that ends so; the file appears whole or not at all."""
    with replacing(path) as temporary:
        if is_parquet(path):
            _convert(io.BytesIO(text.encode()), temporary, id_column)
        else:
            temporary.write_text(text, encoding="utf-8", newline="")


def rename(csv: Path, path: Path, id_column: str) -> None:
    """Give a finished CSV the name ``path``; as Parquet, a stretch at a time, where that ends so."""
    if is_parquet(path):
        with replacing(path) as temporary:
            _convert(csv, temporary, id_column)
        csv.unlink()
    else:
        csv.replace(path)


def require_table(path: Path, flag: str, inputs: Iterable[Path | None] = ()) -> None:
    """``require_file`` for a CSV or Parquet file to write; raises InstallError where pyarrow is missing for it."""
    require_file(path, flag, inputs)
    if path.suffix.lower() == ENDING:
        require_pyarrow(path)


def require_pyarrow(path: Path) -> None:
    if find_spec("pyarrow") is None:
        raise InstallError(f"{path} is Parquet, for which pyarrow is missing.", 'pip install "cxrlt[parquet]"')


def _convert(csv: Path | IO[bytes], path: Path, id_column: str) -> None:
    """A CSV of ids and numbers; ids stay text, whatever they look like."""
    from pyarrow import csv as arrow_csv
    from pyarrow import float64, string
    from pyarrow.parquet import ParquetWriter

    names = arrow_csv.open_csv(csv).schema.names
    if not isinstance(csv, Path):
        csv.seek(0)
    types = {name: string() if name == id_column else float64() for name in names}
    convert = arrow_csv.ConvertOptions(column_types=types, strings_can_be_null=False)
    with arrow_csv.open_csv(csv, convert_options=convert) as rows, ParquetWriter(path, rows.schema) as writer:
        for batch in rows:
            writer.write_batch(batch)


def _as_text(column: Any, name: str, path: Path) -> list[str]:
    import pyarrow as pa

    try:
        numbers = column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column
        empty = (None, "nan") if pa.types.is_floating(column.type) else (None,)  # pandas writes either
        return ["" if value in empty else value for value in numbers.cast(pa.string()).to_pylist()]
    except pa.ArrowException as error:
        raise DataError(
            f"{path}: column '{name}' holds {column.type}, which is no text or number.", "Leave the column out."
        ) from error


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
