"""How films reach the model that learns: as images, or as what a frozen backbone gave for them."""

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxrlt_cli.config import FitOptions
from cxrlt_cli.data.augment import Augmentation
from cxrlt_cli.data.feature_maps import NUM_VIEWS, FeatureMaps, FilmViews, KeptFeatures
from cxrlt_cli.data.image import report_faults
from cxrlt_cli.data.loading import FilmDataset, FilmSource, Samples, on_device, ordered_loader
from cxrlt_cli.engine.disk_space import require_room
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporter import Advance, Reporter, counted, size
from cxrlt_cli.engine.sources import film_source
from cxrlt_cli.errors import FilmError, OptionError, WorkerError
from cxrlt_cli.nets.classifier import Classifier
from cxrlt_cli.nets.frozen import HeadOnly, features, recipe

Add = Callable[[Sequence[int], Sequence[NDArray[np.float16]]], None]


class Seen(Protocol):
    """What a run learns from."""

    @property
    def model(self) -> Classifier:
        """Which learns, and takes what the datasets give."""

    def prepare(self, paths: Sequence[Path]) -> None:
        """Whatever is needed before these films are asked for."""

    def augmented(self, paths: Sequence[Path]) -> Samples:
        """Films augmented, by the seed of each draw."""

    def plain(self, paths: Sequence[Path]) -> Samples:
        """Films as they are."""

    def adapted(self, model: Classifier) -> Classifier | None:
        """Another model of the same backbone, so that it takes what the datasets give; None where it wants more."""


class Images:
    """Films as they are read."""

    def __init__(self, model: Classifier, options: FitOptions, reporter: Reporter) -> None:
        self.model, self._options, self._reporter = model, options, reporter

    def prepare(self, paths: Sequence[Path]) -> None:
        return

    def augmented(self, paths: Sequence[Path]) -> Samples:
        return FilmDataset(self._source(paths), Augmentation())

    def plain(self, paths: Sequence[Path]) -> Samples:
        return FilmDataset(self._source(paths))

    def adapted(self, model: Classifier) -> Classifier:
        return model

    def _source(self, paths: Sequence[Path]) -> FilmSource:
        return film_source(paths, [self.model.preprocessing], self._options, self._reporter)


class FrozenFeatures:
    """What a frozen backbone gives for films, computed once and kept in ``--features``."""

    def __init__(self, whole: Classifier, options: FitOptions, process: Process, reporter: Reporter) -> None:
        assert options.features is not None, "a folder was chosen before"
        self.model: Classifier = HeadOnly(whole)
        self._whole, self._options, self._process, self._reporter = whole, options, process, reporter
        shape = features(whole.eval(), torch.zeros(1, 1, *whole.image_shape)).shape[1:]
        told = {**recipe(whole), "precision": options.precision}
        self._maps = FeatureMaps(options.features, told, (shape[0], shape[1], shape[2]))

    def prepare(self, paths: Sequence[Path]) -> None:
        """Compute the features that are not there yet; each process a share of them.

        Raises DataError with every film that cannot be read; the others are kept.
        """
        process, folder = self._process, self._options.features
        assert folder is not None, "a folder was chosen before"
        missing = process.collected(self._maps.missing(paths) if process.is_main else None)[0]
        assert missing is not None, "the main process looked"
        number = len(missing.rows)
        if missing.damaged:
            views = counted(len(missing.damaged), "view")
            self._reporter.warn(f"--features {folder}: {views} of films damaged; computed again.")
        needed = number * self._maps.bytes_of_film
        require_room("--features", folder, needed, f"features of {counted(number, 'film')}")
        if number < len(paths):
            self._reporter.note(f"--features {folder} has {counted(len(paths) - number, 'film')} already.")
        if number:
            with self._reporter.progress(f"Features, {NUM_VIEWS} views a film", number) as advance:
                faults = self._encode([paths[row] for row in missing.rows], self._maps.adding(missing), advance)
            every = [fault for share in process.collected(faults) for fault in share]
            if every:
                raise report_faults(every, len(paths))
            self._reporter.note(f"Kept in {folder}: {size(needed)}.")
        process.collected(None)

    def augmented(self, paths: Sequence[Path]) -> KeptFeatures:
        return KeptFeatures(self._maps.views(paths))

    def plain(self, paths: Sequence[Path]) -> KeptFeatures:
        return KeptFeatures(self._maps.views(paths)[:1])

    def adapted(self, model: Classifier) -> Classifier | None:
        return HeadOnly(model) if model.head.averages or not self.model.head.averages else None

    def seconds_a_film(self, paths: Sequence[Path]) -> float:
        """How long a film takes, by one batch; nothing is kept."""
        start = time.perf_counter()
        number = sum(len(mine) for mine, _, _ in islice(self._batches(paths[: self._options.batch_size]), 1))
        return (time.perf_counter() - start) / number

    def _encode(self, paths: Sequence[Path], add: Add, advance: Advance) -> list[FilmError]:
        """Keep the features of this process's share of the films; those that cannot be read."""
        faults: list[FilmError] = []
        mine = range(self._process.rank, len(paths), self._process.num_processes)
        for films, views, bad in self._batches([paths[film] for film in mine]):
            faults += bad
            try:
                if films:
                    add([mine[film] for film in films], views)
            except OSError as error:
                raise OptionError(
                    f"--features {self._options.features} cannot be written: {error.strerror}.", "Pass another folder."
                ) from error
            advance((len(films) + len(bad)) * self._process.num_processes)
        return faults

    def _batches(self, paths: Sequence[Path]) -> Iterator[tuple[list[int], list[NDArray[np.float16]], list[FilmError]]]:
        """Which films, their features in each view, and those that cannot be read."""
        whole, process = self._whole.to(self._process.device).eval(), self._process
        source = film_source(paths, [whole.preprocessing], self._options, self._reporter)
        dataset, workers = FilmViews(source, paths), process.num_workers
        loader = ordered_loader(dataset, batch_size=self._options.batch_size, num_workers=workers, pin=process.pins)
        for batch in on_device(loader, process.device):
            with process.autocast():
                found = [_stored(features(whole, films)) for films in batch.films]
            yield batch.indices.tolist(), found, list(batch.faults)


def _stored(features: Tensor) -> NDArray[np.float16]:
    """As they are kept; raises WorkerError where that has no number for one of them."""
    kept = features.half().cpu()
    if not torch.isfinite(kept).all():
        raise WorkerError(
            "The features of this backbone are too large for float16.",
            "Leave out --frozen, and pass --warmup-epochs instead.",
        )
    return np.ascontiguousarray(kept)
