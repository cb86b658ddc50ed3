"""``ensemble --by-view``: which members look at which films of a stretch."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from cxrlt_cli.config import EnsembleOptions
from cxrlt_cli.engine.blending import Members
from cxrlt_cli.engine.films import FilmList
from cxrlt_cli.engine.reporter import Reporter, counted
from cxrlt_cli.engine.routing import Route, route_of, shares
from cxrlt_cli.engine.stated_views import StatedViews
from cxrlt_cli.errors import DataError, listed
from cxrlt_cli.tables.label_table import Texts


@dataclass(frozen=True)
class ByView:
    """Routes, and how films were taken; ``digest``: of the views that are stated, film by film."""

    routes: Sequence[Route]
    stated: StatedViews
    digest: str

    @classmethod
    def of(
        cls,
        members: Members,
        routes: Sequence[Route],
        films: FilmList,
        options: EnsembleOptions,
        reporter: Reporter,
    ) -> "ByView":
        """Before any film is predicted. Raises DataError with the films of a view that no member is for, and with those
        that a prediction CSV may have to know and lacks.
        """
        (ids,) = films.stretches([films.number])
        stated = StatedViews.of(ids, members.csv, films.paths, options)
        views = stated.of_films(ids)
        bare = views == "" if members.view_classifiers else np.full(len(ids), False)
        told = _told(members, routes, ids[bare], reporter) if bare.any() else []
        for route, mine in zip(routes, shares(ids[~bare], views[~bare], routes), strict=True):
            if len(mine):
                reporter.note(f"{route.view}: {counted(len(mine), 'film')}.")
            elif route not in told:
                reporter.warn(f"--by-view: no film has the view {route.view}, so its members predict none.")
            for place in route.members:
                if place in members.files:
                    members.require_films(place, [*mine, *(ids[bare] if route in told else ())], films.source)
        return cls(routes, stated, hashlib.sha256("\0".join(views).encode(errors="surrogatepass")).hexdigest())

    def parts(
        self, ids: Texts, members: Members, features: Callable[[int, Texts], Tensor] | None
    ) -> list[tuple[Texts, Sequence[int]]]:
        """These films, by which members look at them; every process comes to the same.

        Films without a view are told by the ``features [n, D]`` of the first member that learned views, or left out
        where there are none of it.
        """
        views = self.stated.of_films(ids)
        bare = np.flatnonzero(views == "")
        if len(bare) and members.view_classifiers:
            if features is None:
                ids, views = np.delete(ids, bare), np.delete(views, bare)
            else:
                place, classifier = next(iter(members.view_classifiers.items()))
                views[bare] = classifier.tell(features(place, ids[bare]))
        mine = shares(ids, views, self.routes)
        return [(some, route.members) for some, route in zip(mine, self.routes, strict=True) if len(some)]

    def to_json(self) -> dict[str, object]:
        """What decides which members look at which films."""
        return {"routes": [[route.view, list(route.members)] for route in self.routes], "views": self.digest}


def _told(members: Members, routes: Sequence[Route], ids: Texts, reporter: Reporter) -> list[Route]:
    """The routes that films without a view may take; that a member tells them is warned of, with how often it errs.

    Raises DataError where it may tell a view that no member is for.
    """
    place, classifier = next(iter(members.view_classifiers.items()))
    path, number = members.paths[place], counted(len(ids), "film")
    found = {view: route_of(view, routes) for view in classifier.names}
    if missing := [view for view, route in found.items() if route is None]:
        raise DataError(
            f"--by-view: {path} tells {listed(classifier.names)} of {number} without a view, such as "
            f"{listed(list(ids), 2)}, and no member is for {listed(missing)}.",
            "Name a member for each, such as lateral=runs/a; or leave such films out with --exclude or --where.",
        )
    reporter.warn(
        f"{number} without a view: told by the features of {path} to be one of {listed(classifier.names)} "
        f"({classifier.told_error()})."
    )
    return [route for route in found.values() if route is not None]
