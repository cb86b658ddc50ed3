"""How films were taken, by a column of their CSV, or else by their DICOM headers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from cxrlt_cli.config import CalibrateOptions, PredictOptions, changed
from cxrlt_cli.data.headers import Header, may_be_dicom, read_header
from cxrlt_cli.errors import missing_column
from cxrlt_cli.machine import in_threads, num_cores
from cxrlt_cli.tables.label_table import Texts
from cxrlt_cli.tables.label_table import read_header as read_columns
from cxrlt_cli.tables.study_columns import read_cells
from cxrlt_cli.tables.views import kind_of, view_of

Paths = Callable[[Texts], list[Path]]


@dataclass(frozen=True)
class StatedViews:
    """``cells``: of a column, by film; without one, headers say it, where ``paths`` tells which files films are."""

    cells: Mapping[str, str] | None
    paths: Paths | None
    max_pixels: int

    @classmethod
    def of(
        cls, ids: Texts, csv: Path | None, paths: Paths | None, options: PredictOptions | CalibrateOptions
    ) -> "StatedViews":
        """Of these films. Raises DataError where a column that was named is not there."""
        columns = [] if csv is None else read_columns(csv)
        cells = None
        if csv is not None and options.view_column in columns:
            cells = read_cells(csv, ids, options.id_column, options.view_column)
        elif csv is not None and "view_column" in changed(options):
            raise missing_column(csv, options.view_column, columns, "--view-column", options.view_column)
        return cls(cells, paths, options.max_pixels)

    def of_films(self, ids: Texts) -> Texts:
        """As they are written, ``[N]``; empty where nothing is said."""
        if self.cells is not None:
            return np.array([self.cells.get(film, "") for film in ids], object)
        if self.paths is None:
            return np.full(len(ids), "", object)
        look = partial(_header, max_pixels=self.max_pixels)
        return np.array([header.view for header in in_threads(look, self.paths(ids), num_cores())], object)

    def comparable(self, ids: Texts) -> list[str]:
        """PA, AP or L, or as much as is said: frontal, other, or nothing."""
        return [view_of(cell) or kind_of(cell) for cell in self.of_films(ids)]


def _header(path: Path, max_pixels: int) -> Header:
    return (read_header(path, max_pixels) if may_be_dicom(path) else None) or Header()
