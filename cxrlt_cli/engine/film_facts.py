"""Whose film it is and how it was taken, from its DICOM header: columns of the predictions, for ``--dicom-columns``."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from cxrlt_cli.config import FilmOptions
from cxrlt_cli.data.headers import Header, read_header
from cxrlt_cli.engine.films import FilmList
from cxrlt_cli.engine.reporter import Reporter, counted
from cxrlt_cli.errors import OptionError
from cxrlt_cli.machine import in_threads, num_cores
from cxrlt_cli.names import fault_of_name
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.tables.columns import FILM_FACTS


@dataclass(frozen=True)
class FilmFacts:
    """Adds the columns of ``FILM_FACTS`` to predictions, where they are wanted."""

    films: FilmList
    max_pixels: int
    wanted: bool

    @classmethod
    def of(cls, options: FilmOptions, films: FilmList, wanted: bool) -> "FilmFacts":
        """Raises OptionError where the ids are called as one of the columns."""
        if wanted and options.id_column in FILM_FACTS:
            raise OptionError(
                f"--id-column {options.id_column} and --dicom-columns are columns of one name.", "Leave one out."
            )
        return cls(films, options.max_pixels, wanted)

    def added(self, predictions: Predictions, reporter: Reporter) -> Predictions:
        """Predictions of some of the films, with what the headers of these say; as they are where nothing is wanted."""
        if not self.wanted:
            return predictions
        look = partial(_facts, folder=self.films.folder, max_pixels=self.max_pixels)
        rows = list(in_threads(look, self.films.paths(predictions.ids), num_cores()))
        columns, refused = {}, 0
        for name, cells in zip(FILM_FACTS, zip(*rows, strict=True), strict=True):
            columns[name] = np.array(["" if cell and fault_of_name(cell) else cell for cell in cells], object)
            refused += sum(bool(cell) for cell in cells) - sum(bool(cell) for cell in columns[name])
        if refused:
            number = counted(refused, "cell of --dicom-columns stays", "cells of --dicom-columns stay")
            reporter.warn(f"{number} empty: they hold a control character, or a formula to a spreadsheet.")
        return replace(predictions, facts=columns)


def _facts(path: Path, folder: Path, max_pixels: int) -> Sequence[str]:
    """The cells of a film, in the order of ``FILM_FACTS``; empty where its file does not say, or is no DICOM."""
    header = read_header(path, max_pixels) or Header()
    where = path.relative_to(folder).as_posix()
    return *header.facts.values(), where
