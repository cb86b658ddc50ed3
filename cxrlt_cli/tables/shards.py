"""Parquet as Hugging Face writes it: films as structs of bytes and path, lists in cells, classes as numbers.

pyarrow is imported late, as in ``tables.parquet``.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cxrlt_cli.documents import parse_json
from cxrlt_cli.errors import DataError
from cxrlt_cli.tables.parquet import require_pyarrow

FILMS = 32  # that are held at a time
IMAGE = {"bytes", "path"}


def image_column(path: Path) -> str | None:
    """The column that holds films; None where none does. Raises DataError where several do."""
    with _opened(path) as file:
        found = [field.name for field in file.schema_arrow if _is_image(field.type)]
    if len(found) > 1:
        raise DataError(f"{path} holds films in {len(found)} columns: {', '.join(found)}.", "Keep one of them.")
    return found[0] if found else None


def text_columns(path: Path) -> dict[str, list[str]]:
    """All columns but films, as text: null is empty, true is 1, a list is JSON's, of which null names nothing."""
    with _opened(path) as file:
        names = [field.name for field in file.schema_arrow if not _is_image(field.type)]
        table = file.read(columns=names)
        return {name: [_text(value) for value in table.column(name).to_pylist()] for name in names}


def film_paths(path: Path, column: str) -> list[str]:
    """What each film was called where it came from; empty where nobody says."""
    with _opened(path) as file:
        structs = file.read(columns=[f"{column}.path"]).column(column).to_pylist()
    return [(struct or {}).get("path") or "" for struct in structs]


def films(path: Path, column: str) -> Iterator[bytes]:
    """Each film's file, as it was packed; raises DataError where one is not in the table."""
    with _opened(path) as file:
        row = 0
        for batch in file.iter_batches(FILMS, columns=[f"{column}.bytes"]):
            for struct in batch.column(0).to_pylist():
                row += 1
                if not (struct or {}).get("bytes"):
                    raise DataError(f"{path}, film {row}: '{column}' holds no bytes.", "Fetch the set with its films.")
                yield struct["bytes"]


def class_names(path: Path) -> dict[str, tuple[str, ...]]:
    """Columns of numbers, or of lists of numbers, that stand for classes, and what those are called."""
    with _opened(path) as file:
        about = (file.schema_arrow.metadata or {}).get(b"huggingface", b"{}")
    try:
        return classes_of(parse_json(about)["info"]["features"])
    except (ValueError, KeyError, TypeError, AttributeError):  # another program's
        return {}


def classes_of(features: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The names of classes in a description of features, as ``datasets`` writes it: of a column, or of its lists."""
    found = {}
    for column, feature in features.items():
        if isinstance(feature, list) and feature:  # how older versions write a list
            feature = feature[0]
        if isinstance(feature, dict) and isinstance(feature.get("feature"), dict):
            feature = feature["feature"]
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel":
            found[column] = tuple(str(name) for name in feature["names"])
    return found


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    require_pyarrow(path)
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError, MemoryError, UnicodeDecodeError) as error:
        line = str(error).partition("\n")[0]
        raise DataError(f"{path} is no Parquet file, or a damaged one ({line}).", "Fetch it again.") from error


def _is_image(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_struct(kind) and {kind.field(place).name for place in range(kind.num_fields)} == IMAGE


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, list):
        return json.dumps([one for one in value if one is not None], ensure_ascii=False, default=str)
    if isinstance(value, float):
        if value != value:
            return ""
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    return str(value).strip()
