"""Films to features of an image and text encoder, each process a share of them; encoded once where they are kept."""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import normalize

from cxrlt_cli.config import OodOptions
from cxrlt_cli.data.features import FeatureCache, stamps
from cxrlt_cli.data.image import report_faults
from cxrlt_cli.data.loading import Batch, FilmDataset, FilmSource, on_device, ordered_loader
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporter import Advance, Reporter, counted, duration
from cxrlt_cli.engine.sources import film_sources
from cxrlt_cli.errors import FilmError, WorkerError
from cxrlt_cli.nets.clip import ClipEncoder
from cxrlt_cli.tables.label_table import Texts
from cxrlt_cli.tta import VIEWS

Rows = NDArray[np.int64]


class ImageEncoder:
    """Turns films into features of an image and text encoder, and keeps them where ``--features`` says."""

    def __init__(self, encoder: ClipEncoder, options: OodOptions, process: Process, reporter: Reporter) -> None:
        self._encoder, self._options, self._process, self._reporter = encoder, options, process, reporter
        self._cache = None if options.features is None else FeatureCache(options.features, self.key())
        self._num_known = 0
        for line in () if self._cache is None else self._cache.told:
            reporter.warn(line)

    def key(self) -> dict[str, Any]:
        """All that decides a film's features."""
        views = [view.name for view in VIEWS[self._options.tta]]
        return {"model": self._encoder.fingerprint, "views": views, "dtype": str(self._process.dtype)}

    def features(self, ids: Texts, paths: Sequence[Path], advance: Advance) -> NDArray[np.float32]:
        """Those of all films ``[N, D]``, to which each process adds its share.

        Raises DataError with every film that could not be read.
        """
        rows = np.arange(self._process.rank, len(paths), self._process.num_processes)
        found: dict[int, NDArray[np.float32]] = {}
        for mine, features in self._features(rows, ids, paths):
            found.update(zip(mine.tolist(), features, strict=True))
            advance(len(mine) * self._process.num_processes)
        width = self._encoder.width
        own = np.stack([found[row] for row in rows.tolist()]) if len(rows) else np.empty((0, width), np.float32)
        return np.asarray(self._process.gathered(torch.from_numpy(own), len(paths), dim=0))

    def report_cached(self) -> None:
        """Say how many films had been encoded before."""
        if self._cache is not None:
            self._reporter.note(f"--features {self._options.features} had {counted(self._num_known, 'film')} already.")

    def rehearse(self, paths: Sequence[Path], num_films: int) -> None:
        """One batch, timed; nothing is written."""
        start = time.perf_counter()
        number = sum(len(rows) for rows, _ in self.encoded(np.arange(min(len(paths), self._options.batch_size)), paths))
        left = duration((time.perf_counter() - start) * num_films / number)
        self._reporter.result(f"Dry run: one batch went through; all films take about {left}. Nothing was written.")

    def _features(self, rows: Rows, ids: Texts, paths: Sequence[Path]) -> Iterator[tuple[Rows, NDArray[np.float32]]]:
        """Rows and their features: those that are kept, then the others, which are kept from then on."""
        if self._cache is None:
            yield from self.encoded(rows, paths)
            return
        names, files = list(ids), np.full((len(ids), 2), -1, np.int64)
        files[rows] = stamps([paths[row] for row in rows])
        known = self._cache.known([names[row] for row in rows], files[rows])
        self._num_known += int(known.sum())
        yield from self._cache.read(names, rows[known])
        try:
            for mine, features in self.encoded(rows[~known], paths):
                yield mine, self._cache.add([names[row] for row in mine], files[mine], features)
        finally:
            self._cache.flush()

    @cached_property
    def _source(self) -> Callable[[Sequence[Path]], FilmSource]:
        """Asked for when films are kept."""
        return film_sources([self._encoder.prepare], self._options, self._reporter)

    def encoded(self, rows: Rows, paths: Sequence[Path]) -> Iterator[tuple[Rows, NDArray[np.float32]]]:
        chosen = [paths[row] for row in rows]
        dataset = FilmDataset(self._source(chosen))
        workers, pin = self._process.num_workers, self._process.pins
        faults: list[FilmError] = []
        loader = ordered_loader(dataset, batch_size=self._options.batch_size, num_workers=workers, pin=pin)
        for batch in on_device(loader, self._process.device):
            faults.extend(batch.faults)
            if batch.films:
                yield rows[batch.indices.numpy()], self.encode(batch)
        if faults:
            raise report_faults(faults)  # of how many is known for this process and stretch alone

    def encode(self, batch: Batch) -> NDArray[np.float32]:
        """Features ``[n, D]`` of a batch; of several views of a film the mean, brought back to length 1."""
        (films,) = batch.films
        levels = films.float()
        seen = [self._encoder.encode_images(view.apply(levels)) for view in VIEWS[self._options.tta]]
        features = normalize(torch.stack(seen).mean(dim=0), dim=1).cpu()
        if not torch.isfinite(features).all():
            raise WorkerError("The encoder gives features that are no finite numbers.", "Pass --precision fp32.")
        return np.asarray(features)
