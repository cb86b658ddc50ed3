"""``ensemble --by-view``: what the members for each view say of its films, in one go on all processes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from cxrlt_cli.config import EnsembleOptions
from cxrlt_cli.data.loading import FilmDataset
from cxrlt_cli.engine.blending import Members, predict_members
from cxrlt_cli.engine.predict import films_in_order, predict
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporter import Reporter, counted
from cxrlt_cli.engine.routing import Route, shares
from cxrlt_cli.engine.sources import film_source
from cxrlt_cli.errors import listed
from cxrlt_cli.tables.label_table import Texts


@dataclass(frozen=True)
class RoutesPredicted:
    """For each route its films, and the logits ``[V, N, C]`` of its models by their places among its members."""

    ids: list[Texts]
    logits: list[dict[int, Tensor]]


def predict_routes(
    process: Process,
    reporter: Reporter,
    members: Members,
    routes: Sequence[Route],
    ids: Texts,
    views: Texts,
    paths: list[Path],
    options: EnsembleOptions,
) -> RoutesPredicted:
    """Every process goes through every route. Films without a view are told by the first member that learned views;
    in a dry run they are left out.
    """
    path_of = dict(zip(ids, paths, strict=True))
    bare = np.flatnonzero(views == "")
    place = next(iter(members.view_classifiers), None)
    if len(bare) and place is not None:
        if options.dry_run:
            ids, views = np.delete(ids, bare), np.delete(views, bare)
        else:
            told = members.view_classifiers[place].tell(
                _features(process, reporter, members, place, [paths[row] for row in bare], options)
            )
            views = views.copy()
            views[bare] = told
            numbers = [f"{view} {number:,}" for view, number in Counter(told).most_common()]
            reporter.warn(
                f"{counted(len(bare), 'film')} without a view; by the features of {members.paths[place]} they are "
                f"{listed(numbers, 10)} ({members.view_classifiers[place].told_error()})."
            )
    parts = shares(ids, views, routes)
    logits = []
    for route, mine in zip(routes, parts, strict=True):
        some = members.only(route.members)
        predicted = None
        if some.models and len(mine):
            reporter.note(f"{route.view}: {counted(len(mine), 'film')}.")
            predicted = predict_members(process, reporter, some.models, [path_of[film] for film in mine], options)
        logits.append(predicted or {})
    return RoutesPredicted(parts, logits)


def _features(
    process: Process, reporter: Reporter, members: Members, place: int, paths: list[Path], options: EnsembleOptions
) -> Tensor:
    model = members.models[place].to(process.device)
    dataset = FilmDataset(film_source(paths, [model.preprocessing], options, reporter))
    loader = films_in_order(dataset, options.batch_size, process)
    with reporter.progress("Telling views", len(paths)) as advance:
        (outputs,) = predict([model], loader, process, advance, features=True)
    assert outputs.features is not None, "asked for"
    return outputs.features
