"""In which order training films are drawn: streams of epochs, each a list of film indices.

Letters: N films, C findings.
"""

import random
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

Stream = Iterator[list[int]]


def uniform_stream(targets: NDArray[Any], seed: int = 0) -> Stream:
    """Every film once an epoch, in a new order each time."""
    rng = random.Random(seed)
    while True:
        order = list(range(len(targets)))
        rng.shuffle(order)
        yield order


def class_aware_stream(targets: NDArray[Any], num_per_class: int = 3, reduce: int = 4, seed: int = 0) -> Stream:
    """Every finding equally often: the next finding of a shuffled round, then the next films that have it.

    ``targets [N, C]``: 1, 0, NaN. Draws ``num_per_class`` films of a finding in a row from a reshuffled round of its
    own; an epoch has ``int(max_c n_c * C / reduce)`` draws, and films drawn for a finding that the epoch's end cuts off
    are not drawn again. Index for index the sampler of Distribution-Balanced loss (Wu et al., ECCV 2020,
    arXiv:2007.09654; after Shen et al., ECCV 2016), with a generator of its own in place of Python's global one.
    A finding without a film is left out (there it is an error). Films without any finding are never drawn.
    """
    rng = random.Random(seed)
    having = [
        films.tolist() for films in (np.flatnonzero(column == 1) for column in np.asarray(targets).T) if len(films)
    ]
    assert having, "no film has a finding"
    length = max(1, int(max(len(films) for films in having) * len(having) / reduce))
    rounds = [_rounds(films, rng) for films in having]
    findings = _rounds(range(len(having)), rng)

    def draws() -> Iterator[int]:
        while True:
            yield from list(islice(rounds[next(findings)], num_per_class))

    while True:
        yield list(islice(draws(), length))


def _rounds(items: Any, rng: random.Random) -> Iterator[Any]:
    items = list(items)
    while True:
        rng.shuffle(items)
        yield from items


SAMPLERS: dict[str, Callable[..., Stream]] = {"uniform": uniform_stream, "cas": class_aware_stream}
