"""What ``ensemble --by-view`` tells and refuses before the first film is looked at."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cxrlt_cli.config import EnsembleOptions
from cxrlt_cli.data.finder import Naming
from cxrlt_cli.engine.blending import Members
from cxrlt_cli.engine.by_view import ByView
from cxrlt_cli.engine.films import FilmList
from cxrlt_cli.engine.routing import Route
from cxrlt_cli.errors import DataError
from cxrlt_cli.nets.view_classifier import ViewClassifier
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.tables.chosen import Chosen
from tests.helpers import Recorder, write_csv

TELLS = ViewClassifier(("LL", "PA"), torch.tensor([[0.0], [1.0]]), torch.eye(1), torch.ones(2) / 2, {"PA": (1, 9)})
ROUTES = (Route("frontal", (0,)), Route("lateral", (1,)))


def routed(folder: Path, views: dict[str, str], routes: tuple[Route, ...], known: str = "b") -> tuple[ByView, Recorder]:
    """Of films with these views; the first member is a run that learned views, the second knows the films ``known``."""
    csv = write_csv(folder / "views.csv", ["ImageID", "ViewPosition"], [list(pair) for pair in views.items()])
    films = FilmList(csv, "ImageID", Chosen(), frozenset(), folder, len(views), Naming(folder))
    said = Predictions(np.array(list(known), object), ("nodule",), np.full((len(known), 1), 0.5))
    paths = (Path("runs/frontal"), Path("lateral.csv"))
    members = Members(paths, {}, {1: said}, csv, {0: TELLS})
    options, recorder = EnsembleOptions(members=paths, csv=csv), Recorder()
    return ByView.of(members, routes, films, options, recorder), recorder


def test_that_views_will_be_told_is_warned_of_first(tmp_path: Path) -> None:
    _, recorder = routed(tmp_path, {"a": "PA", "b": "", "c": ""}, ROUTES, "bc")
    assert recorder.warnings == [
        "2 films without a view: told by the features of runs/frontal to be one of LL, PA "
        "(wrong on 1 of 9 validation films: PA 1 of 9)."
    ]
    _, recorder = routed(tmp_path, {"a": "PA", "b": "LL"}, ROUTES, "b")
    assert recorder.warnings == []


def test_a_view_that_may_be_told_has_a_member(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"runs/frontal tells LL, PA of 2 films without a view, such as b, c, and no"):
        routed(tmp_path, {"a": "PA", "b": "", "c": ""}, ROUTES[:1])
    routed(tmp_path, {"a": "PA"}, ROUTES[:1])


def test_predictions_of_a_view_that_may_be_told_have_all_films_without_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"lateral\.csv lacks the films c of "):
        routed(tmp_path, {"a": "PA", "b": "LL", "c": ""}, ROUTES, "b")
    routed(tmp_path, {"a": "PA", "b": "LL", "c": ""}, ROUTES, "bc")


def test_routes_and_views_decide_what_is_written(tmp_path: Path) -> None:
    views = {"a": "PA", "b": "LL"}
    swapped = (Route("lateral", (0,)), Route("frontal", (1,)))
    others = [(views, swapped), ({"a": "LL", "b": "PA"}, ROUTES)]
    once = routed(tmp_path, views, ROUTES, "ab")[0].to_json()
    assert once == routed(tmp_path, views, ROUTES, "ab")[0].to_json()
    assert all(routed(tmp_path, *other, "ab")[0].to_json() != once for other in others)
