"""``ensemble --by-view``: which members predict which films."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cxrlt_cli.config import EnsembleOptions, changed, flags
from cxrlt_cli.engine.several import with_members
from cxrlt_cli.engine.stated_views import StatedViews
from cxrlt_cli.errors import DataError, OptionError, listed
from cxrlt_cli.tables.label_table import Texts
from cxrlt_cli.tables.views import kind_of


@dataclass(frozen=True)
class Route:
    """``view``: as a column has it, or ``frontal``, ``lateral`` or ``other``; ``members``: by their places."""

    view: str
    members: tuple[int, ...]


def with_routes(options: EnsembleOptions) -> tuple[EnsembleOptions, tuple[Route, ...]]:
    """Options whose members are paths alone, runs being all of theirs, and the routes; none without ``--by-view``.

    Raises OptionError where a member has no view, or an option does not go with views.
    """
    if not options.by_view:
        return options, ()
    if kept := changed(options) & {"fit", "soup", "weights", "union", "calibration", "decisions", "fitted"}:
        raise OptionError(
            f"{flags(options, kept)} does not go with --by-view.", "Make the ensemble of each view by itself first."
        )
    if options.merge == "rank":
        raise OptionError("--merge rank ranks the films of each view apart: with --by-view, take another.")
    places: dict[str, list[int]] = {}
    paths: list[Path] = []
    for text in (*options.by_view, *map(str, options.members)):
        view, _, path = text.partition("=")
        if not (view and path):
            raise OptionError(
                f"--by-view: the member {text} has no view.", "Give each one: --by-view frontal=runs/a lateral=runs/b."
            )
        members = with_members(options.model_copy(update={"members": (Path(path),)})).members
        places.setdefault(view, []).extend(range(len(paths), len(paths) + len(members)))
        paths += members
    routes = tuple(Route(view, tuple(mine)) for view, mine in places.items())
    return options.model_copy(update={"members": tuple(paths)}), routes


def views_of_films(ids: Texts, csv: Path | None, options: EnsembleOptions) -> Texts:
    """How each film of prediction CSVs was taken: by the column of ``--csv``; empty where nothing is said."""
    views = StatedViews.of(ids, csv, None, options)
    if views.cells is None:
        raise OptionError(
            "--by-view: nothing says how the films of prediction CSVs were taken.",
            f"Pass a CSV with a column '{options.view_column}' with --csv (--view-column).",
        )
    return views.of_films(ids)


def shares(ids: Texts, views: Texts, routes: Sequence[Route]) -> list[Texts]:
    """The films of each route. Raises DataError with the films of a view that no member is for."""
    known = {view: route_of(view, routes) for view in dict.fromkeys(views)}
    bare = np.array([known[view] is None for view in views], bool)
    if bare.any():
        names = [view or "(empty)" for view in dict.fromkeys(views[bare])]
        raise DataError(
            f"--by-view: no member is for the view {listed(names)}, of {int(bare.sum()):,} films such as "
            f"{listed(list(ids[bare]), 2)}.",
            "Name a member for it, such as other=runs/a; or leave such films out with --where.",
        )
    return [ids[[known[view] is route for view in views]] for route in routes]


def route_of(view: str, routes: Sequence[Route]) -> Route | None:
    """That of a view by name, or else by its kind."""
    by_name = {route.view: route for route in routes}
    return by_name.get(view) or by_name.get(kind_of(view))
