"""Tables that are written: as CSV, or as Parquet where a path ends so, whatever stands there already."""

import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path

from cxrlt_cli.files import finish, replacing, require_file
from cxrlt_cli.tables import parquet


def require_table(path: Path, flag: str, inputs: Iterable[Path | None] = ()) -> None:
    """``files.require_file``; raises InstallError too, where the path is to be Parquet and pyarrow is missing."""
    require_file(path, flag, inputs)
    if _is_parquet(path):
        parquet.require_pyarrow(path)


def write_table(csv: str | Iterable[str], path: Path, id_column: str) -> None:
    """The text of a CSV, or pieces of it, to ``path``, whole or not at all."""
    pieces = [csv] if isinstance(csv, str) else csv
    with replacing(path) as temporary:
        if _is_parquet(path):
            with tempfile.TemporaryFile() as rows:
                rows.writelines(piece.encode() for piece in pieces)
                rows.seek(0)
                parquet.write_from_csv(rows, temporary, id_column)
        else:
            with temporary.open("w", encoding="utf-8", newline="") as file:
                file.writelines(pieces)


def finish_table(csv: Path, path: Path, id_column: str, texts: Collection[str] = ()) -> None:
    """Turn a CSV that grew into ``path``; it is gone then. ``texts``: columns that are no numbers, besides the ids'."""
    if not _is_parquet(path):
        finish(csv, path)
        return
    with replacing(path) as temporary:
        parquet.write_from_csv(csv, temporary, id_column, texts)
    csv.unlink()


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() == parquet.ENDING
