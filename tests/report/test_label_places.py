from itertools import combinations

import numpy as np

from cxrlt_cli.report.label_places import DOT, LETTER, LINE, Place, label_places

FRAME = (44.0, 12.0, 726.0, 292.0)


def spans(place: Place, name: str) -> tuple[float, float, float, float]:
    width = LETTER * len(name)
    left = place.x - width if place.is_left else place.x
    return left, place.y - LINE / 2, left + width, place.y + LINE / 2


def apart(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


def test_forty_findings_all_have_a_name_that_covers_no_dot_and_no_other() -> None:
    """As AP of rare findings: most dots lie in one corner."""
    rng = np.random.default_rng(0)
    dots = [
        (float(44 + 600 * x), float(290 - 200 * y)) for x, y in zip(rng.random(40), rng.random(40) ** 3, strict=True)
    ]
    names = ["x" * int(length) for length in rng.integers(4, 20, 40)]
    places = label_places(dots, names, FRAME)
    boxes = [spans(place, name) for place, name in zip(places, names, strict=True) if place is not None]
    assert len(boxes) == 40
    assert all(apart(one, other) for one, other in combinations(boxes, 2))
    for x, y in dots:
        assert all(apart(box, (x - DOT, y - DOT, x + DOT, y + DOT)) for box in boxes)
    assert all(FRAME[0] <= box[0] and box[2] <= FRAME[2] for box in boxes)


def test_a_name_stands_beside_its_dot_where_there_is_room() -> None:
    ((first), (last)) = label_places([(100, 100), (720, 100)], ["first", "last"], FRAME)
    assert first == Place(109, 100, False, False)
    assert last == Place(711, 100, True, False), "to the left of it at the right end"
    assert label_places([(100, 100)], ["x" * 500], FRAME) == [None]
