"""The models of an ensemble look at films, and what they say of a stretch of them is blended with its files."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import repeat

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader

from cxrlt_cli.config import EnsembleOptions
from cxrlt_cli.data.loading import Batch, FilmDataset
from cxrlt_cli.engine.blending import MemberOutputs, Members, finished, said
from cxrlt_cli.engine.by_view import ByView
from cxrlt_cli.engine.deciding import Watch
from cxrlt_cli.engine.feature_files import digest_of
from cxrlt_cli.engine.films import FilmList
from cxrlt_cli.engine.precision import choose_for_predicting
from cxrlt_cli.engine.predict import Outputs, films_in_order, predict, preprocessings, rehearse
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporter import Advance, Reporter
from cxrlt_cli.engine.sources import film_sources, keep_films
from cxrlt_cli.engine.stated_views import StatedViews
from cxrlt_cli.nets.classifier import Classifier
from cxrlt_cli.nets.manifest import sha256
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.tables.label_table import Texts
from cxrlt_cli.tta import VIEWS


@dataclass(frozen=True)
class Blend:
    """Members, and what is made of what they say."""

    members: Members
    options: EnsembleOptions
    findings: tuple[str, ...]  # those that are written
    needed: tuple[str, ...]  # and the one that gates them
    normal: str | None  # it, where there is gating
    watch: Watch | None

    def key(self, films: FilmList, process: Process, by_view: ByView | None = None) -> dict[str, object]:
        """All that decides what is written."""
        free = {"members", "by_view", "csv", "image_dir", "exclude", "out", "workers", "quiet", "debug", "seed",
                "processes", "nodes", "device", "rendezvous", "run_id", "batch", "cache", "fitted"}  # fmt: skip
        options, members = self.options, self.members
        chosen = json.loads(options.model_dump_json(exclude=free))
        if options.fitted is not None:
            chosen["fitted"] = sha256(options.fitted)
        digests = [
            _digest(members.files[index]) if index in members.files else digest_of(path)
            for index, path in enumerate(members.paths)
        ]
        key = {"members": digests, "films": films.to_json(), "options": chosen, "dtype": str(process.dtype)}
        return key if by_view is None else {**key, "by_view": by_view.to_json()}


def _digest(file: Predictions) -> str:
    digest = hashlib.sha256("\0".join([*file.findings, "", *file.ids]).encode(errors="surrogatepass"))
    digest.update(np.ascontiguousarray(file.probabilities).tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Part:
    """Films of a stretch, the members that look at them, by their places, and what the models among those give."""

    ids: Texts
    places: Sequence[int]
    outputs: Sequence[Outputs]


class Looking:
    """How the models of a blend look at films."""

    def __init__(self, blend: Blend, films: FilmList, process: Process, reporter: Reporter) -> None:
        self._films, self._options, self._models = films, blend.options, blend.members.models
        self._views = VIEWS[blend.options.tta]
        first, number = next(iter(self._models.values())), films.number * len(self._views)
        self.process = choose_for_predicting(blend.options, process, first, number, reporter)
        for model in self._models.values():
            model.to(self.process.device)
        self._source = cache(lambda recipes: film_sources(recipes, blend.options, reporter))

    def predict(self, ids: Texts, places: Sequence[int], advance: Advance) -> Part:
        models = self._at(places)
        if not models:
            advance(len(ids))
            return Part(ids, places, [])
        return Part(ids, places, predict(models, self._batches(models, ids), self.process, advance, self._views))

    def features(self, place: int, ids: Texts) -> Tensor:
        """What the model at one place pools, ``[n, D]``."""
        models = [self._models[place]]
        (outputs,) = predict(models, self._batches(models, ids), self.process, lambda _: None, features=True)
        assert outputs.features is not None, "asked for"
        return outputs.features

    def rehearse(self, ids: Texts, places: Sequence[int], reporter: Reporter) -> None:
        """One batch, for what all of these films will take."""
        if models := self._at(places):
            rehearse(models, self._batches(models, ids), self._views, len(ids), self.process, reporter)

    def _at(self, places: Sequence[int]) -> list[Classifier]:
        return [self._models[place] for place in places if place in self._models]

    def _batches(self, models: Sequence[Classifier], ids: Texts) -> "DataLoader[Batch]":
        source = self._source(tuple(preprocessings(models)))
        return films_in_order(FilmDataset(source(self._films.paths(ids))), self._options.batch_size, self.process)


class Blending:
    """What is made of the parts of a stretch; CSVs among the members are looked up film by film."""

    def __init__(self, blend: Blend, stated: StatedViews | None) -> None:
        self._blend, self._stated = blend, stated
        files = blend.members.files
        self._row_of = {index: {film: row for row, film in enumerate(file.ids)} for index, file in files.items()}

    def blended(self, ids: Texts, parts: Sequence[Part]) -> list[Predictions]:
        """Of a stretch of films, and its decisions where they are asked for."""
        blend = self._blend
        pieces = [self._outputs(part).blended(blend.normal, blend.options) for part in parts]
        together = np.concatenate([piece.probabilities for piece in pieces])
        films = Predictions(np.concatenate([piece.ids for piece in pieces]), blend.needed, together).rows(list(ids))
        pair = finished(films.select(blend.findings), blend.watch, self._stated, blend.options)
        return [one for one in pair if one is not None]

    def _outputs(self, part: Part) -> MemberOutputs:
        members = self._blend.members
        models = said([one.logits for one in part.outputs])
        filed = [(number, place) for number, place in enumerate(part.places) if place in members.files]
        files = {number: self._of_file(place, part.ids) for number, place in filed}
        return MemberOutputs(models, files, part.ids, tuple(map(members.known, part.places)), self._blend.needed)

    def _of_file(self, place: int, ids: Texts) -> Predictions:
        rows, file = self._row_of[place], self._blend.members.files[place]
        return Predictions(ids, file.findings, file.probabilities[[rows[film] for film in ids]])


def prepare(blend: Blend, films: FilmList, reporter: Reporter) -> None:
    """What is wrong with films and the CSVs among the members is told before the first film is looked at."""
    options, members = blend.options, blend.members
    if not options.by_view:
        for index in members.files:
            each = (film for ids in films.stretches(repeat(2**12)) for film in ids)
            members.require_films(index, each, films.source)
    if not options.dry_run:
        recipes = preprocessings(list(members.models.values()))
        keep_films(films.path_stretches(), films.number, recipes, options, reporter)


def stated_views(blend: Blend, films: FilmList) -> StatedViews | None:
    """How films were taken, where drift is tested by it."""
    if blend.watch is None or blend.watch.deciding.local is None:
        return None
    return StatedViews.of(next(films.stretches([films.number])), blend.members.csv, films.paths, blend.options)
