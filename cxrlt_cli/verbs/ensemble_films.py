"""``ensemble`` of checkpoints, a stretch of films at a time: only what is said of one stretch is in memory.

What needs all films at once goes another way: ``--fit``, ``--merge rank``, ``--per-study`` and ``--by-view``.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from torch.utils.data import DataLoader

from cxrlt_cli.config import EnsembleOptions
from cxrlt_cli.data.loading import Batch, FilmDataset
from cxrlt_cli.engine.blending import MemberOutputs, Members, finished
from cxrlt_cli.engine.deciding import Watch
from cxrlt_cli.engine.disk_space import require_room_for_table
from cxrlt_cli.engine.feature_files import digest_of
from cxrlt_cli.engine.film_facts import FilmFacts
from cxrlt_cli.engine.films import FilmList
from cxrlt_cli.engine.launch import launch
from cxrlt_cli.engine.partial import table, write_predictions
from cxrlt_cli.engine.precision import choose_for_predicting
from cxrlt_cli.engine.predict import Outputs, films_in_order, predict, preprocessings, rehearse, stretches
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporter import Advance, Reporter, counted
from cxrlt_cli.engine.sources import film_sources, keep_films
from cxrlt_cli.engine.stated_views import StatedViews
from cxrlt_cli.nets.manifest import sha256
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.tables.label_table import Texts
from cxrlt_cli.tta import VIEWS


def streams(members: Members, options: EnsembleOptions) -> bool:
    """Whether films can be blended without knowing of the others."""
    apart = options.fit or options.merge == "rank" or options.per_study is not None or options.by_view
    return bool(members.models) and not apart


@dataclass(frozen=True)
class Blend:
    """Members, and what is made of what they say."""

    members: Members
    options: EnsembleOptions
    findings: tuple[str, ...]  # those that are written
    needed: tuple[str, ...]  # and the one that gates them
    normal: str | None  # it, where there is gating
    watch: Watch | None

    def blended(
        self, ids: Texts, outputs: Sequence[Outputs], files: dict[int, Predictions], stated: StatedViews | None
    ) -> tuple[Predictions, Predictions | None]:
        """Of a stretch of films, and its decisions where they are asked for."""
        known = tuple(map(self.members.known, range(len(self.members.paths))))
        logits = {index: one.logits for index, one in zip(self.members.models, outputs, strict=True)}
        said = MemberOutputs(logits, files, ids, known, self.needed)
        return finished(said.blended(self.normal, self.options).select(self.findings), self.watch, stated, self.options)


def predict_stretches(blend: Blend, films: FilmList, facts: FilmFacts, reporter: Reporter) -> None:
    """Write the blend of every film. After a stop, the same command goes on where it was.

    What is wrong with disks, films and the CSVs among the members is told before the first film is looked at.
    """
    options, members = blend.options, blend.members
    for index in members.files:
        members.require_films(index, (film for ids in films.stretches(repeat(2**12)) for film in ids), films.source)
    stated = None
    if blend.watch is not None and blend.watch.deciding.local is not None:
        stated = StatedViews.of(next(films.stretches([films.number])), members.csv, films.paths, options)
    if not options.dry_run:
        require_room_for_table("--out", options.out, films.number, len(blend.findings))
        recipes = preprocessings(list(members.models.values()))
        keep_films(films.path_stretches(), films.number, recipes, options, reporter)
    launch(_predict, options, reporter, blend, films, facts, stated)


def _predict(
    process: Process,
    reporter: Reporter,
    blend: Blend,
    films: FilmList,
    facts: FilmFacts,
    stated: StatedViews | None,
) -> None:
    options, views = blend.options, VIEWS[blend.options.tta]
    models = list(blend.members.models.values())
    process = choose_for_predicting(options, process, models[0], films.number * len(views), reporter)
    models = [model.to(process.device) for model in models]
    source = film_sources(preprocessings(models), options, reporter)
    row_of = {index: {film: row for row, film in enumerate(file.ids)} for index, file in blend.members.files.items()}

    def batches(ids: Texts) -> "DataLoader[Batch]":
        return films_in_order(FilmDataset(source(films.paths(ids))), options.batch_size, process)

    def predicted(ids: Texts, advance: Advance) -> list[Outputs]:
        return predict(models, batches(ids), process, advance, views)

    def rows(ids: Texts, outputs: list[Outputs], first: bool) -> list[bytes]:
        files = {
            index: Predictions(ids, file.findings, file.probabilities[[row_of[index][film] for film in ids]])
            for index, file in blend.members.files.items()
        }
        tables = [one for one in blend.blended(ids, outputs, files, stated) if one is not None]
        return [facts.added(one, reporter).to_csv(options.id_column, header=first).encode() for one in tables]

    sizes = stretches(options.batch_size, process)
    if options.dry_run:
        rehearse(models, batches(next(films.stretches(sizes))), views, films.number, process, reporter)
        return
    what = counted(len(blend.findings), "finding")
    files = [table(path, what, options.id_column) for path in (options.out, options.decisions) if path is not None]
    write_predictions(files, _key(blend, films, process), films, sizes, predicted, rows, process, reporter)
    if process.is_main and blend.watch is not None:
        blend.watch.tell(reporter)


def _key(blend: Blend, films: FilmList, process: Process) -> dict[str, object]:
    """All that decides what is written."""
    free = {"members", "csv", "image_dir", "exclude", "out", "workers", "quiet", "debug", "seed", "processes", "nodes",
            "device", "rendezvous", "run_id", "batch_size", "cache", "fitted"}  # fmt: skip
    options, members = blend.options, blend.members
    chosen = json.loads(options.model_dump_json(exclude=free))
    if options.fitted is not None:
        chosen["fitted"] = sha256(options.fitted)
    said = [
        _digest(members.files[index]) if index in members.files else digest_of(path)
        for index, path in enumerate(members.paths)
    ]
    return {"members": said, "films": films.to_json(), "options": chosen, "dtype": str(process.dtype)}


def _digest(file: Predictions) -> str:
    digest = hashlib.sha256("\0".join([*file.findings, "", *file.ids]).encode(errors="surrogatepass"))
    digest.update(np.ascontiguousarray(file.probabilities).tobytes())
    return digest.hexdigest()
