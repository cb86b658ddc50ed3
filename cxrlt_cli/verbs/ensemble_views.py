"""``ensemble --by-view``: how films were taken where neither a column nor a header says."""

from collections import Counter
from pathlib import Path

import numpy as np
from torch import Tensor

from cxrlt_cli.config import EnsembleOptions
from cxrlt_cli.data.loading import FilmDataset
from cxrlt_cli.engine.blending import Members
from cxrlt_cli.engine.films import FilmList
from cxrlt_cli.engine.launch import launch
from cxrlt_cli.engine.predict import films_in_order, predict
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporter import Reporter, counted
from cxrlt_cli.engine.routing import views_of_films
from cxrlt_cli.engine.sources import film_source
from cxrlt_cli.errors import listed
from cxrlt_cli.nets.classifier import Classifier
from cxrlt_cli.tables.label_table import Texts


def known_views(
    ids: Texts, members: Members, films: FilmList | None, options: EnsembleOptions, reporter: Reporter
) -> Texts:
    """The view ``[N]`` of each film; where nothing says it, as the first member tells it that learned views.

    Empty where no member did, and in a dry run.
    """
    views = views_of_films(ids, members.csv, films, options)
    bare = np.flatnonzero(views == "")
    place = next(iter(members.view_classifiers), None)
    if not len(bare) or films is None or place is None or options.dry_run:
        return views
    told, path = members.view_classifiers[place], members.paths[place]
    features = launch(_features, options, reporter, members.models[place], films.paths(ids[bare]), options)
    assert features is not None, "this is the process that asked"
    views = views.copy()
    views[bare] = told.tell(features)
    numbers = [f"{view} {number:,}" for view, number in Counter(views[bare]).most_common()]
    reporter.warn(
        f"{counted(len(bare), 'film')} without a view; by the features of {path} they are {listed(numbers, 10)} "
        f"({told.told_error()})."
    )
    return views


def _features(
    process: Process, reporter: Reporter, model: Classifier, paths: list[Path], options: EnsembleOptions
) -> Tensor:
    dataset = FilmDataset(film_source(paths, [model.preprocessing], options, reporter))
    loader = films_in_order(dataset, options.batch_size, process)
    with reporter.progress("Telling views", len(paths)) as advance:
        (outputs,) = predict([model.to(process.device)], loader, process, advance, features=True)
    assert outputs.features is not None, "asked for"
    return outputs.features
