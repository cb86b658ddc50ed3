"""In which order training films are drawn: an ``Order`` gives the film indices of an epoch, whatever came before it.

Letters: N films, C findings, L draws of an epoch. ``targets [N, C]``: 1, 0, NaN. Every order is a pure function of its
seed and the number of the epoch, so a run can be entered anywhere, and all its epochs are of one length.
"""

import inspect
import math
import random
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.config import check_settings
from cxrlt_cli.errors import OptionError
from cxrlt_cli.scores import Doubles

Indices = NDArray[np.int64]
Order = Callable[[int], Indices]  # number of an epoch, from 0, to [L]

ROUND, NEGATIVES = 2**32, 2**32 + 1  # streams of random numbers beside those of the findings


def uniform(targets: NDArray[Any], seed: int, num_epochs: int) -> Order:
    """Every film once."""
    return lambda epoch: _rng(seed, epoch).permutation(len(targets))


def class_aware(
    targets: NDArray[Any],
    seed: int,
    num_epochs: int,
    *,
    num_per_class: int = 3,
    reduce: float = 4,
    epoch_length: int | None = None,
    repeat_cap: int | None = None,
    negative_share: float | None = None,
) -> Order:
    """Every finding equally often: class-aware sampling, with the law of ``class_aware_stream`` and none of its loops.

    ``epoch_length``: L (default: ``max_c n_c C / reduce``). ``repeat_cap``: no film is drawn more often in an epoch;
    films that have a finding and are below the cap take the place of what goes beyond. ``negative_share``: share of the
    draws for films without any finding (default: their share of the labelled films). As published they are never drawn,
    and what tells a finding from nothing at all is not learned; 0 has it so. A film without any label is not drawn.
    Memory is linear in N, the positives and L.

    Finding c's films follow one another in reshuffled rounds, and so do the findings; both are functions of their
    position, found with a counter-based generator (Philox), so that no epoch needs the one before it.
    """
    _require(
        "cas",
        num_per_class,
        "num_per_class",
        num_per_class == int(num_per_class) and num_per_class >= 1,
        "1, 2, 3, ...",
    )
    _require("cas", reduce, "reduce", reduce > 0, "above 0")
    _require("cas", epoch_length, "epoch_length", epoch_length is None or epoch_length >= 1, "1 or more films")
    _require("cas", repeat_cap, "repeat_cap", repeat_cap is None or repeat_cap >= 1, "1 or more draws")
    fits = negative_share is None or 0 <= negative_share < 1
    _require("cas", negative_share, "negative_share", fits, "0 or more, and below 1")
    columns = [np.flatnonzero(column == 1) for column in np.asarray(targets).T]
    having = [films for films in columns if len(films)]
    if not having:
        raise OptionError("--sampler cas draws films by their findings, and no film has one.", "Use --sampler uniform.")
    has_one = np.zeros(len(targets), bool)
    for films in having:
        has_one[films] = True
    is_labelled = ~np.isnan(np.asarray(targets, np.float64)).all(axis=1)
    present, without = np.flatnonzero(has_one), np.flatnonzero(~has_one & is_labelled)
    length = int(epoch_length or max(1, int(max(len(films) for films in having) * len(having) / reduce)))
    share = len(without) / (len(present) + len(without)) if negative_share is None else negative_share
    num_negative = min(round(share * length), length - 1)
    if num_negative and not len(without):
        raise OptionError("negative_share: every film has a finding.", "Leave it out.")
    for films, number in ((present, length - num_negative), (without, num_negative)):
        if repeat_cap and repeat_cap * len(films) < number:
            raise OptionError(f"repeat_cap {repeat_cap} leaves fewer draws than an epoch has.", "Lower epoch_length.")
    num_per_class = int(num_per_class)
    blocks, width = math.ceil((length - num_negative) / num_per_class), len(having)

    def order(epoch: int) -> Indices:
        block = np.arange(epoch * blocks, (epoch + 1) * blocks)
        rounds = block // width  # each finding stands once in a round of findings
        findings = _cycle(np.arange(width), seed, ROUND, int(block[0]), int(block[-1]) + 1)
        drawn = np.empty((blocks, num_per_class), np.int64)
        for finding, films in enumerate(having):
            mine = np.flatnonzero(findings == finding)
            if len(mine):
                start, stop = rounds[mine[0]] * num_per_class, (rounds[mine[-1]] + 1) * num_per_class
                drawn[mine] = _cycle(films, seed, finding, int(start), int(stop)).reshape(-1, num_per_class)
        draws = drawn.reshape(-1)[: length - num_negative]
        rng = _rng(seed, epoch)
        if repeat_cap:
            draws = _capped(draws, int(repeat_cap), present, rng)
        if num_negative:
            negatives = _cycle(without, seed, NEGATIVES, epoch * num_negative, (epoch + 1) * num_negative)
            draws = np.insert(draws, np.sort(rng.integers(0, len(draws) + 1, num_negative)), negatives)
        return draws

    return order


def repeat_factor(targets: NDArray[Any], seed: int, num_epochs: int, *, threshold: float = 0.01) -> Order:
    """Every film once, those of findings below ``threshold`` more often: repeat-factor sampling.

    Gupta et al. (LVIS), CVPR 2019, arXiv:1908.03195. A factor's fraction is rounded anew in each epoch, up with its own
    probability; the roundings of an epoch are made together, so that epochs are of one length.
    """
    _require("rfs", threshold, "threshold", 0 < threshold <= 1, "a share of the films, above 0")
    return _repeated(repeat_factors(targets, threshold), seed)


def repeat_factor_label_share(
    targets: NDArray[Any], seed: int, num_epochs: int, *, threshold: float = 0.01, cap: int = 10
) -> Order:
    """What the winner of CXR-LT 2026 calls class-aware: repeat factors on the share of labels, rounded once."""
    _require("rfs-label-share", threshold, "threshold", 0 < threshold <= 1, "a share of the labels, above 0")
    _require("rfs-label-share", cap, "cap", cap >= 1, "1 or more")
    return _repeated(label_share_repeats(targets, threshold, cap).astype(np.float64), seed)


def square_root(targets: NDArray[Any], seed: int, num_epochs: int) -> Order:
    """N draws with replacement, a film's weight ``max_c 1 / sqrt(n_c)`` over its findings; the mean of them without."""
    weights = _finding_weights(targets, 0.5)
    return lambda epoch: _weighted(weights, _rng(seed, epoch))


def progressive(targets: NDArray[Any], seed: int, num_epochs: int) -> Order:
    """N draws with replacement, from uniform in the first epoch to ``max_c 1 / n_c`` in the last (Kang et al. 2020).

    Progressively-balanced sampling, ICLR 2020, arXiv:1910.09217.
    """
    weights = _finding_weights(targets, 1.0)
    plain = np.full(len(targets), 1 / len(targets))

    def order(epoch: int) -> Indices:
        blend = min(1.0, epoch / max(1, num_epochs - 1))
        return _weighted((1 - blend) * plain + blend * weights, _rng(seed, epoch))

    return order


SAMPLERS: dict[str, Callable[..., Order]] = {
    "uniform": uniform,
    "cas": class_aware,
    "rfs": repeat_factor,
    "rfs-label-share": repeat_factor_label_share,
    "sqrt": square_root,
    "progressive": progressive,
}


def create(name: str, targets: NDArray[Any], *, seed: int, num_epochs: int, **settings: Any) -> Order:
    """The order of a name of ``SAMPLERS``; ``settings`` are the keyword arguments of its function.

    Raises OptionError where a setting is not one of the sampler.
    """
    check_settings(f"Sampler {name}", settings_of(name), settings)
    return SAMPLERS[name](targets, seed, num_epochs, **settings)


def settings_of(name: str) -> dict[str, Any]:
    """The settings of a sampler of ``SAMPLERS``, with their defaults."""
    parameters = inspect.signature(SAMPLERS[name]).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


def class_aware_stream(
    targets: NDArray[Any], num_per_class: int = 3, reduce: int = 4, seed: int = 0
) -> Iterator[list[int]]:
    """Class-aware sampling index for index as it was published, an epoch after another.

    The sampler of Distribution-Balanced loss (Wu et al., ECCV 2020, arXiv:2007.09654; after Shen et al., ECCV 2016),
    with a generator of its own in place of Python's global one: the next finding of a shuffled round, then the next
    ``num_per_class`` films of a reshuffled round of its own. An epoch has ``int(max_c n_c * C / reduce)`` draws; films
    that its end cuts off are not drawn again. A finding without a film is left out (there it is an error). Films
    without any finding are never drawn. For parity; ``class_aware`` has the same law and serves any number of films.
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


def repeat_factors(targets: NDArray[Any], threshold: float) -> Doubles:
    """``max(1, max_c sqrt(threshold / f_c))`` over a film's findings, ``[N]``; 1 for a film without any.

    f_c is the share of the films that have finding c.
    """
    labelled = (~np.isnan(targets)).sum(axis=0)
    return _largest(targets, np.sqrt(threshold / _at_least_one(_counts(targets)) * np.maximum(labelled, 1)))


def label_share_repeats(targets: NDArray[Any], threshold: float = 0.01, cap: int = 10) -> Indices:
    """Whole repeats ``[N]`` with ``f_c = n_c / sum_k n_k``, at most ``cap``, halves rounded to even."""
    counts = _counts(targets)
    factors = _largest(targets, np.sqrt(threshold * counts.sum() / _at_least_one(counts)))
    return np.round(np.minimum(factors, cap)).astype(np.int64)


def _counts(targets: NDArray[Any]) -> Doubles:
    return np.asarray((np.asarray(targets) == 1).sum(axis=0), np.float64)


def _at_least_one(counts: Doubles) -> Doubles:
    return np.maximum(counts, 1)


def _largest(targets: NDArray[Any], values: Doubles) -> Doubles:
    """``[N]``: the largest of values ``[C]`` over a film's findings, and at least 1."""
    largest = np.ones(len(targets))
    for column, value in zip(np.asarray(targets).T, values, strict=True):
        np.maximum(largest, value, out=largest, where=column == 1)
    return largest


def _finding_weights(targets: NDArray[Any], power: float) -> Doubles:
    """Shares ``[N]`` that sum to 1: the largest ``n_c^-power`` of a film's findings; their mean without any."""
    counts = _counts(targets)
    values = _at_least_one(counts) ** -power
    weights = np.zeros(len(targets))
    for column, value in zip(np.asarray(targets).T, values, strict=True):
        np.maximum(weights, value, out=weights, where=column == 1)
    weights[weights == 0] = values[counts > 0].mean() if counts.any() else 1.0
    return np.asarray(weights / weights.sum(), np.float64)


def _weighted(weights: Doubles, rng: np.random.Generator) -> Indices:
    return rng.choice(len(weights), len(weights), p=weights)


def _repeated(factors: Doubles, seed: int) -> Order:
    """Every film as often as its factor says; fractions by systematic sampling over films in a random order."""
    whole = np.floor(factors).astype(np.int64)
    fractions = factors - whole
    more = math.floor(fractions.sum() + 1e-9)

    def order(epoch: int) -> Indices:
        rng = _rng(seed, epoch)
        films = rng.permutation(len(factors))
        edges = np.floor(np.concatenate([[0.0], np.cumsum(fractions[films])]) + rng.random())
        chosen = rng.permutation(films[np.diff(edges) > 0])[:more]
        return rng.permutation(np.concatenate([np.repeat(np.arange(len(factors)), whole), chosen]))

    return order


def _capped(draws: Indices, cap: int, films: Indices, rng: np.random.Generator) -> Indices:
    """Draws of which no film has more than ``cap``: others of ``films`` stand where one had."""
    by_film = np.lexsort((rng.random(len(draws)), draws))  # which draws of a film stay is left to chance
    ordered = draws[by_film]
    first = np.searchsorted(ordered, ordered)
    beyond = np.empty(len(draws), bool)
    beyond[by_film] = np.arange(len(draws)) - first >= cap
    counts = np.zeros(films[-1] + 1, np.int64)
    np.add.at(counts, draws[~beyond], 1)
    draws, places = draws.copy(), np.flatnonzero(beyond)
    while len(places):
        free = rng.permutation(films[counts[films] < cap])[: len(places)]
        draws[places[: len(free)]] = free
        counts[free] += 1
        places = places[len(free) :]
    return draws


def _require(sampler: str, value: object, name: str, fits: bool, what: str) -> None:
    if not fits:
        raise OptionError(f"Sampler {sampler}: {name} is {value}.", f"It must be {what}.")


def _rng(seed: int, epoch: int) -> np.random.Generator:
    return np.random.default_rng([seed, epoch])


def _cycle(items: Indices, seed: int, stream: int, start: int, stop: int) -> Indices:
    """Draws ``start`` to ``stop`` of an endless row of rounds over ``items``, each in an order of its own."""
    first, last = start // len(items), (stop - 1) // len(items) + 1
    steps = math.ceil(len(items) / 4)  # a step of Philox gives four numbers
    bits = np.random.Philox(key=np.array([seed, stream], np.uint64))
    bits.advance(first * steps)
    keys = np.random.Generator(bits).random((last - first, 4 * steps))[:, : len(items)]
    row = items[np.argsort(keys, axis=1)].reshape(-1)
    return row[start - first * len(items) : stop - first * len(items)]


def _rounds(items: Any, rng: random.Random) -> Iterator[Any]:
    items = list(items)
    while True:
        rng.shuffle(items)
        yield from items
