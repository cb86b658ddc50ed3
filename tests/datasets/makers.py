"""Makers of small sets, and what is told of their films."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from cxrlt_cli.config import DataImportOptions
from cxrlt_cli.datasets.records import Records
from cxrlt_cli.datasets.set_files import SetFiles

Reader = Callable[[SetFiles, DataImportOptions], Records]


def draw(folder: Path, *films: str) -> Path:
    """Pictures of 8 x 8, and the folder."""
    _, data = cv2.imencode(".png", np.zeros((8, 8), np.uint8))
    for film in films:
        put(folder, film, data.tobytes())
    return folder


def put(folder: Path, name: str, content: str | bytes) -> Path:
    """A file of this content, and its path."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read_by(reader: Reader, kind: str, *sources: Path, image_dir: Path | None = None, **options: object) -> Records:
    """What a reader says of a set."""
    given = DataImportOptions.model_validate({"kind": kind, "sources": sources, "image_dir": image_dir, **options})
    return reader(SetFiles.of(sources, image_dir, True), given)


def states(records: Records) -> dict[str, list[int]]:
    """Film by film, the states of the findings."""
    return {film: row.tolist() for film, row in zip(records.films, records.states, strict=True)}


def column(records: Records, name: str) -> dict[str, str]:
    """Film by film, what a column tells."""
    cells = getattr(records, name)
    assert cells is not None
    return dict(zip(records.films, cells, strict=True))
