"""The prompt lab: what each sentence is worth, on labelled films.

Letters: N films, P sentences of a finding, D features.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from cxrlt_cli.scores import Floats
from cxrlt_cli.scores.zeroshot import pooled


@dataclass(frozen=True)
class Sentence:
    """One sentence: its AP by itself, that of its finding without it, and its mean cosine with the finding's others."""

    text: str
    ap: float
    ap_without: float | None  # None of an only sentence
    similarity: float | None


@dataclass(frozen=True)
class Examined:
    """The sentences of one finding together, each alone, and ``similarity [P, P]``, their cosines with each other."""

    finding: str
    positives: int
    prevalence: float
    ap: float
    sentences: tuple[Sentence, ...]
    similarity: Floats


def examine(
    finding: str,
    sentences: Sequence[str],
    cosines: Floats,
    features: Floats,
    targets: NDArray[np.floating],
    pool: str = "mean",
    normal: Floats | float = 0.0,
) -> Examined | None:
    """The worth of a finding's sentences, or None where no film is positive.

    ``cosines [N, P]`` with the films, ``features [P, D]`` of length 1, ``targets [N]`` with NaN where a film is not
    labelled; ``normal [N]``, the anchor's score, is taken from every other.
    """
    labelled = ~np.isnan(targets)
    truth = targets[labelled] == 1
    if not truth.any():
        return None
    cosines = cosines[labelled]
    normal = normal[labelled] if isinstance(normal, np.ndarray) else normal

    def ap(columns: list[int]) -> float:
        return float(average_precision_score(truth, pooled(cosines[:, columns], pool) - normal))

    everything = list(range(len(sentences)))
    similarity = features @ features.T
    examined = []
    for p, text in enumerate(sentences):
        others = [column for column in everything if column != p]
        near = float(similarity[p, others].mean()) if others else None
        examined.append(Sentence(text, ap([p]), ap(others) if others else None, near))
    return Examined(
        finding, int(truth.sum()), float(truth.mean()), ap(everything), tuple(examined), np.asarray(similarity)
    )


def lines(examined: Mapping[str, Examined]) -> list[tuple[str, ...]]:
    """Rows of text for a table: a line for each finding, then its sentences, the best first."""
    rows: list[tuple[str, ...]] = []
    for one in examined.values():
        share = f"{one.finding} ({one.positives:,} positive films: {100 * one.prevalence:.1f} %)"
        rows.append((share, f"{one.ap:.3f}", "–", "–", "–"))
        for sentence in sorted(one.sentences, key=lambda sentence: -sentence.ap):
            change = None if sentence.ap_without is None else one.ap - sentence.ap_without
            numbers = (f"{sentence.ap:.3f}", *(_number(value) for value in (sentence.ap_without, sentence.similarity)))
            rows.append(("  " + sentence.text, numbers[0], numbers[1], _number(change, "+.3f"), numbers[2]))
    return rows


COLUMNS = ("sentence", "AP", "without", "adds", "alike")


def _number(value: float | None, form: str = ".3f") -> str:
    return "–" if value is None else format(round(value, 3) + 0.0, form)
