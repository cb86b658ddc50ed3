"""Where names stand in a chart of dots: beside their dot where there is room, else further up or down."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

LETTER, LINE, DOT = 6.2, 12.0, 6.0  # pixels: width of a letter, height of a line, half a dot with its rim
BESIDE = 9.0  # from the middle of a dot to its name
AWAY = 26.0  # the same where a line leads there


@dataclass(frozen=True)
class Place:
    """The end of a name that is next to its dot, at the middle of its height; ``leads``: a line joins them."""

    x: float
    y: float
    is_left: bool  # of the dot
    leads: bool


@dataclass(frozen=True)
class _Box:
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: "_Box") -> bool:
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom


def label_places(
    dots: Sequence[tuple[float, float]], names: Sequence[str], frame: tuple[float, float, float, float]
) -> list[Place | None]:
    """A place for each name, the first ones first, that covers no dot and no name before it; None where none is left.

    ``dots``: x and y of their middles. ``frame``: left, top, right and bottom of where names may stand.
    """
    taken = [_Box(x - DOT, y - DOT, x + DOT, y + DOT) for x, y in dots]
    within = _Box(*frame)
    places: list[Place | None] = []
    for dot, name in zip(dots, names, strict=True):
        found = None
        for place in _candidates(dot, within):
            box = _box(place, len(name) * LETTER)
            inside = within.left <= box.left and box.right <= within.right
            if inside and not any(box.meets(other) for other in taken):
                found = place
                taken.append(box)
                break
        places.append(found)
    return places


def _candidates(dot: tuple[float, float], within: _Box) -> Iterator[Place]:
    """Both sides at its height, then ever further from it, a line a step, as far as the frame goes."""
    x, y = dot
    for is_left in (False, True):
        yield Place(x - BESIDE if is_left else x + BESIDE, y, is_left, False)
    for step in range(1, int((within.bottom - within.top) / LINE)):
        for height in (y - step * LINE, y + step * LINE):
            if within.top + LINE / 2 <= height <= within.bottom - LINE / 2:
                for is_left in (False, True):
                    yield Place(x - AWAY if is_left else x + AWAY, height, is_left, True)


def _box(place: Place, width: float) -> _Box:
    left = place.x - width if place.is_left else place.x
    return _Box(left, place.y - LINE / 2, left + width, place.y + LINE / 2)
