"""Embeddings: features of films by id, in a Parquet or npz file, with the checkpoint that gave them.

A Parquet file has the id column and a column ``features`` of lists; an npz file the arrays ``ids`` and ``features``.
Letters: N films, D features.
"""

import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.errors import DataError, OptionError
from cxrlt_cli.files import replacing, require_file
from cxrlt_cli.names import fault_of_id, meant_path, shown
from cxrlt_cli.tables import parquet
from cxrlt_cli.tables.label_table import Texts

ENDINGS = (".parquet", ".npz")
IDS, FEATURES, CHECKPOINT = "ids", "features", "checkpoint"
FILMS = 4096  # in memory at a time while a file is written
FIRST_DAY = (1980, 1, 1, 0, 0, 0)  # of zip files: the same features are the same bytes
HINT = "Make it again: cxrlt infer CHECKPOINT ... --embeddings FILE."


@dataclass(frozen=True)
class Embeddings:
    """``ids [N]`` and ``features [N, D]`` in float32, finite, of the checkpoint with this sha256."""

    ids: Texts
    features: NDArray[np.float32]
    checkpoint: str

    @classmethod
    def read(cls, path: Path) -> "Embeddings":
        """Raises DataError where the file is missing, damaged or holds something else, or an id is refused."""
        ids, features, checkpoint = _content(path, (IDS, FEATURES, CHECKPOINT))
        fits = ids.ndim == 1 and features.ndim == 2 and len(ids) == len(features) > 0 and features.shape[1] > 0
        if not fits or features.dtype != np.float32:
            raise DataError(f"{path} holds no features of films in float32, one row an id.", HINT)
        if not np.isfinite(features).all():
            raise DataError(f"{path} holds features that are no finite numbers.", HINT)
        if len(set(ids.tolist())) < len(ids):
            raise DataError(f"{path} holds a film more than once.", HINT)
        for film in ids.tolist():
            if fault := fault_of_id(film):
                raise DataError(f"{path} holds the film {shown(film)}, which {fault}.", HINT)
        return cls(ids.astype(object), features, str(checkpoint))


def checkpoint_of(path: Path) -> str:
    """The sha256 of the checkpoint that gave the features in a file, which are not read; raises DataError."""
    return str(_content(path, (CHECKPOINT,))[0])


def require_embeddings(path: Path, flag: str, inputs: Iterable[Path | None], id_column: str) -> None:
    """Raise OptionError where no embeddings can be written to ``path``; InstallError where pyarrow is missing."""
    require_file(path, flag, inputs)
    if path.suffix.lower() not in ENDINGS:
        raise OptionError(f"{flag} {path}: embeddings are Parquet or npz.", f"Let it end in {' or '.join(ENDINGS)}.")
    if _is_parquet(path):
        parquet.require_pyarrow(path)
        if id_column == FEATURES:
            raise OptionError(f"--id-column {FEATURES} and the features of {path} are columns of one name.")


def to_records(ids: Texts, features: NDArray[np.float32]) -> bytes:
    """What a file of embeddings is made from when all are there: each id, a line feed, which no id has, and its row."""
    rows = np.ascontiguousarray(features, "<f4")
    return b"".join(f"{film}\n".encode() + row.tobytes() for film, row in zip(ids, rows, strict=True))


def finish_records(records: Path, path: Path, *, width: int, id_column: str, checkpoint: str) -> None:
    """Turn records of ``width`` features into ``path``, some films at a time; they are gone then."""
    with replacing(path) as temporary:
        if _is_parquet(path):
            _write_parquet(records, temporary, width, id_column, checkpoint)
        else:
            _write_npz(records, temporary, width, checkpoint)
    records.unlink()


def _write_parquet(records: Path, path: Path, width: int, id_column: str, checkpoint: str) -> None:
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    kinds = [(id_column, pa.string()), (FEATURES, pa.list_(pa.float32(), width))]
    schema = pa.schema(kinds, metadata={CHECKPOINT: checkpoint})
    with ParquetWriter(path, schema, use_dictionary=False) as writer:
        for ids, features in _stretches(records, width):
            rows = pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), width)
            writer.write_batch(pa.record_batch([pa.array(ids), rows], schema=schema))


def _write_npz(records: Path, path: Path, width: int, checkpoint: str) -> None:
    lengths = [(len(ids), max(map(len, ids))) for ids, _ in _stretches(records, width)]
    number, longest = sum(films for films, _ in lengths), max(length for _, length in lengths)
    with zipfile.ZipFile(path, "w") as parts:
        with _member(parts, IDS) as file:
            _write_header(file, f"<U{longest}", (number,))
            for ids, _ in _stretches(records, width):
                file.write(np.array(ids, f"<U{longest}").tobytes())
        with _member(parts, FEATURES) as file:
            _write_header(file, "<f4", (number, width))
            for _, features in _stretches(records, width):
                file.write(features.tobytes())
        with _member(parts, CHECKPOINT) as file:
            np.lib.format.write_array(file, np.array(checkpoint))


def _member(parts: zipfile.ZipFile, name: str) -> IO[bytes]:
    return parts.open(zipfile.ZipInfo(f"{name}.npy", FIRST_DAY), "w", force_zip64=True)


def _write_header(file: IO[bytes], dtype: str, shape: tuple[int, ...]) -> None:
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})


def _stretches(records: Path, width: int) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
    with records.open("rb") as file:
        rows = ((line[:-1].decode(), file.read(4 * width)) for line in iter(file.readline, b""))
        while stretch := list(islice(rows, FILMS)):
            data = b"".join(row for _, row in stretch)
            yield [film for film, _ in stretch], np.frombuffer(data, "<f4").reshape(-1, width)


def _content(path: Path, names: tuple[str, ...]) -> list[NDArray[Any]]:
    """Arrays of a file by name; raises DataError where it is missing, damaged or no embeddings."""
    if path.suffix.lower() not in ENDINGS:
        raise DataError(f"{path} holds no embeddings: these are Parquet or npz.", HINT)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise DataError(f"{path} {what}.{meant_path(path)}", "Pass a file of infer --embeddings.")
    try:
        return _from_parquet(path, names) if _is_parquet(path) else _from_npz(path, names)
    except _FAULTS as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path} is damaged, or holds no embeddings ({reason}).", HINT) from error


# What zipfile, NumPy and pyarrow raise on damaged files; RuntimeError: a bit says that a part is encrypted.
_FAULTS = (ArithmeticError, EOFError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError,
           SyntaxError, zipfile.BadZipFile)  # fmt: skip


def _from_npz(path: Path, names: tuple[str, ...]) -> list[NDArray[Any]]:
    with zipfile.ZipFile(path) as parts:
        members = parts.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("it is compressed")  # and could inflate without end
        if sum(member.file_size for member in members) > path.stat().st_size:
            raise ValueError("its parts are larger than the file")
    with np.load(path, allow_pickle=False) as content:
        arrays = [content[name] for name in names]
    for name, array in zip(names, arrays, strict=True):
        if name != FEATURES and array.dtype.kind != "U":
            raise ValueError(f"its {name} are no text")
    return arrays


def _from_parquet(path: Path, names: tuple[str, ...]) -> list[NDArray[Any]]:
    parquet.require_pyarrow(path)
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            schema = file.schema_arrow
            checkpoint = (schema.metadata or {})[CHECKPOINT.encode()].decode()
            if not pa.types.is_fixed_size_list(schema.field(FEATURES).type):
                raise ValueError("its features are no lists of one length")
            found = {CHECKPOINT: np.array(checkpoint)}
            if FEATURES in names:
                columns = [name for name in schema.names if pa.types.is_string(schema.field(name).type)]
                rows = file.read([columns[0], FEATURES])
                found[IDS] = np.array(rows.column(0).to_pylist(), object)
                lists = rows.column(FEATURES).combine_chunks()
                found[FEATURES] = lists.flatten().to_numpy(zero_copy_only=False).reshape(len(found[IDS]), -1)
    except pa.ArrowException as error:
        raise ValueError(str(error)) from error
    return [found[name] for name in names]


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() == parquet.ENDING
