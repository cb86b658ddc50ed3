"""From an id of a CSV to a file: as it is, with an ending, or by the SOPInstanceUID in a DICOM file's header."""

import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import pydicom

from cxrlt_cli.data.samples import FAULTS
from cxrlt_cli.errors import DataError

ENDINGS = (".dcm", ".dicom", ".png", ".jpg", ".jpeg")
UID = re.compile(r"[0-9]+(\.[0-9]+)+")
Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


@dataclass(frozen=True)
class Naming:
    """Where the films of a folder are: ``folder / (id + ending)``, or by UID where any was read."""

    folder: Path
    ending: str = ""
    by_uid: dict[str, tuple[Path, ...]] = field(default_factory=dict)

    def path(self, film: str) -> Path:
        """Where a film is, or would be; raises DataError where two files have its UID."""
        files = self.by_uid.get(film, ())
        if len(files) > 1:
            raise DataError(
                f"{files[0]} and {files[1]} have one SOPInstanceUID, {film}.", "Keep one of them in the image folder."
            )
        return files[0] if files else self.folder / f"{film}{self.ending}"


def ending_of(folder: Path, ids: Iterable[str]) -> str | None:
    """The ending that makes any of these ids a file, empty where none is needed; None where no ending does."""
    films = list(ids)
    return next((end for end in ("", *ENDINGS) if any((folder / f"{film}{end}").is_file() for film in films)), None)


def dicom_files(folder: Path) -> Iterator[Path]:
    """The files below a folder that begin as DICOM does."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                if file.read(132)[128:] == b"DICM":
                    yield path


def find_naming(folder: Path, ids: Iterable[str], progress: Progress, num_threads: int) -> Naming:
    """How these ids, the first of a CSV, name files; headers are read only where they look like UIDs."""
    films = list(ids)
    ending = ending_of(folder, films)
    if ending is not None or not any(map(UID.fullmatch, films)):
        return Naming(folder, ending or "")
    files = sorted(dicom_files(folder))
    by_uid: dict[str, tuple[Path, ...]] = {}
    with progress("Reading DICOM headers", len(files)) as advance, ThreadPoolExecutor(num_threads) as pool:
        for path, uid in zip(files, pool.map(_uid, files), strict=True):
            by_uid[uid] = (*by_uid.get(uid, ()), path)
            advance(1)
    return Naming(folder, by_uid=by_uid)


def _uid(path: Path) -> str:
    try:
        return str(pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)
    except FAULTS:
        return ""  # no id is empty: such a file is nobody's film
