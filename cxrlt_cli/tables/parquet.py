"""Parquet where CSV is accepted: read as the same rows of text, made from the same CSVs.

pyarrow is imported late: it comes with ``pip install "cxrlt[parquet]"``, and CSVs need none of it.
"""

import math
import re
from collections.abc import Collection, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from cxrlt_cli.errors import DataError, InstallError
from cxrlt_cli.names import meant_path
from cxrlt_cli.tables.columns import FILM_FACTS

ENDING, MAGIC = ".parquet", b"PAR1"
PANDAS_INDEX = re.compile(r"__index_level_\d+__")  # a column that pandas adds, and that is none of the table's
ROWS = 2**10  # that are turned into text at a time
MAX_CELL = 1_000_000  # characters


def holds_parquet(path: Path) -> bool:
    """Whether a file is one, by its first bytes, or is called one; what is no file, such as a pipe, is not touched."""
    if path.suffix.lower() == ENDING:
        return True
    try:
        if not path.is_file():
            return False
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
        raise DataError(f"{path} does not exist.{meant_path(path)}", "Check the path of the file.") from error
    except IsADirectoryError as error:
        raise DataError(f"{path} is a folder, not a Parquet file.", "Parquet is read from single files.") from error
    except (pa.ArrowException, OSError, MemoryError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no Parquet file, or a damaged one ({_first_line(error)}).") from error


def write_from_csv(csv: Path | IO[bytes], path: Path, id_column: str, texts: Collection[str] = ()) -> None:
    """A CSV of ids, facts of films, ``texts`` and numbers as Parquet, a stretch at a time; all but numbers is text."""
    from pyarrow import csv as arrow_csv
    from pyarrow import float64, string
    from pyarrow.parquet import ParquetWriter

    names = arrow_csv.open_csv(csv).schema.names
    if not isinstance(csv, Path):
        csv.seek(0)
    types = {name: string() if name in (id_column, *FILM_FACTS, *texts) else float64() for name in names}
    convert = arrow_csv.ConvertOptions(column_types=types, strings_can_be_null=False)
    with arrow_csv.open_csv(csv, convert_options=convert) as rows, ParquetWriter(path, rows.schema) as writer:
        for batch in rows:
            writer.write_batch(batch)


def require_pyarrow(path: Path) -> None:
    """Raise InstallError where pyarrow is missing for ``path``."""
    if find_spec("pyarrow") is None:
        raise InstallError(f"{path} is Parquet, for which pyarrow is missing.", 'pip install "cxrlt[parquet]"')


def _as_text(column: Any, name: str, path: Path) -> list[str]:
    import pyarrow as pa
    import pyarrow.compute as pc

    def refuse(why: str, hint: str = "Leave the column out.") -> DataError:
        return DataError(f"{path}: column '{name}' holds {why}.", hint)

    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        raise refuse("bytes, which are no text or number")
    values = column.dictionary if pa.types.is_dictionary(column.type) else column
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        longest = pc.max(pc.utf8_length(values)).as_py() or 0
        if longest > MAX_CELL:
            raise refuse(f"a cell of {longest:,} characters")
    try:
        texts = (column.cast(pa.int8()) if pa.types.is_boolean(kind) else column).cast(pa.string()).to_pylist()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:  # a kind that Arrow has no text for
        hint = "Leave the column out; if these are findings, spread them over columns of 0 and 1, one a finding."
        raise refuse(f"{column.type}, which is no text or number", hint) from error
    if pa.types.is_floating(kind):
        exact = 2.0 ** {16: 11, 32: 24, 64: 53}[kind.bit_width]
        return [_plain_number(text, exact) for text in texts]
    if pa.types.is_decimal(kind):
        return [_plain_number(text) for text in texts]
    return [text or "" for text in texts]


def _plain_number(text: str | None, exact: float = math.inf) -> str:
    """As a CSV would have it: pandas makes floats of whole numbers beside an empty cell, patients' among them.

    Beyond ``exact`` a float has lost digits, and is left with its exponent, which says so.
    """
    if text is None or text == "nan":  # pandas writes either
        return ""
    if abs(float(text)) > exact and math.isfinite(float(text)):
        return f"{float(text):.15e}"
    if "." in text and "e" not in text:
        return text.rstrip("0").rstrip(".")
    return str(int(float(text))) if "e+" in text and float(text).is_integer() else text


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
