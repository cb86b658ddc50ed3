"""``ensemble --by-view``: which members look at which films of a stretch."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from cxrlt_cli.config import EnsembleOptions
from cxrlt_cli.engine.blending import Members
from cxrlt_cli.engine.films import FilmList
from cxrlt_cli.engine.reporter import Reporter, counted
from cxrlt_cli.engine.routing import Route, shares
from cxrlt_cli.engine.stated_views import StatedViews
from cxrlt_cli.errors import listed
from cxrlt_cli.tables.label_table import Texts


@dataclass(frozen=True)
class ByView:
    """Routes, and how films were taken; ``told``: films of each view that a member told, as no file states it."""

    routes: Sequence[Route]
    stated: StatedViews
    told: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(
        cls,
        members: Members,
        routes: Sequence[Route],
        films: FilmList,
        options: EnsembleOptions,
        reporter: Reporter,
    ) -> "ByView":
        """Before any film is predicted. Raises DataError with the films of a view that no member is for."""
        (ids,) = films.stretches([films.number])
        by_view = cls(routes, StatedViews.of(ids, members.csv, films.paths, options))
        views = by_view.stated.of_films(ids)
        stated = views != "" if members.view_classifiers else np.full(len(ids), True)
        for route, mine in zip(routes, shares(ids[stated], views[stated], routes), strict=True):
            if len(mine):
                reporter.note(f"{route.view}: {counted(len(mine), 'film')}.")
            elif stated.all():
                reporter.warn(f"--by-view: no film has the view {route.view}, so its members predict none.")
            for place in route.members:
                if place in members.files:
                    members.require_films(place, mine, films.source)
        return by_view

    def parts(
        self, ids: Texts, members: Members, features: Callable[[int, Texts], Tensor] | None
    ) -> list[tuple[Texts, Sequence[int]]]:
        """These films, by which members look at them; every process comes to the same.

        Films without a view are told by the ``features [n, D]`` of the first member that learned views, or left out
        where there are none of it.
        """
        views = self.stated.of_films(ids)
        bare = np.flatnonzero(views == "")
        place = next(iter(members.view_classifiers), None)
        if len(bare) and place is not None:
            if features is None:
                ids, views = np.delete(ids, bare), np.delete(views, bare)
            else:
                told = members.view_classifiers[place].tell(features(place, ids[bare]))
                self.told.update(told)
                views[bare] = told
        mine = shares(ids, views, self.routes)
        return [(some, route.members) for some, route in zip(mine, self.routes, strict=True) if len(some)]

    def tell(self, members: Members, reporter: Reporter) -> None:
        """Which views were told, by whom, and how often that is wrong; nothing where all were stated."""
        if not self.told:
            return
        place = next(iter(members.view_classifiers))
        numbers = [f"{view} {number:,}" for view, number in self.told.most_common()]
        reporter.warn(
            f"{counted(self.told.total(), 'film')} without a view; by the features of {members.paths[place]} they are "
            f"{listed(numbers, 10)} ({members.view_classifiers[place].told_error()})."
        )
