"""Tables that are written: as CSV, or as Parquet where a path ends so, whatever stands there already."""

import io
from collections.abc import Collection, Iterable
from pathlib import Path

from cxrlt_cli.files import finish, replacing, require_file
from cxrlt_cli.tables import parquet


def require_table(path: Path, flag: str, inputs: Iterable[Path | None] = ()) -> None:
    """``files.require_file``; raises InstallError too, where the path is to be Parquet and pyarrow is missing."""
    require_file(path, flag, inputs)
    if _is_parquet(path):
        parquet.require_pyarrow(path)


def write_table(csv: str, path: Path, id_column: str) -> None:
    """The text of a CSV to ``path``, whole or not at all."""
    with replacing(path) as temporary:
        if _is_parquet(path):
            parquet.write_from_csv(io.BytesIO(csv.encode()), temporary, id_column)
        else:
            temporary.write_text(csv, encoding="utf-8", newline="")


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
