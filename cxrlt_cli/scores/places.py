"""The same model on films of two places: how much of a change in AP is prevalence, and how much is not.

Letters: N films, C findings, R resamples. The first place is judged, the second is what it is held against.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.scores import Doubles
from cxrlt_cli.scores.bootstrap import Ranking, deciding_patients, numbered, resample_rankings
from cxrlt_cli.scores.differences import MIN_EACH, Difference, Sampled, difference, with_holm
from cxrlt_cli.scores.metrics import prevalence


@dataclass(frozen=True)
class Place:
    """``targets [N, C]`` (1, 0, NaN), ``probabilities [N, C]`` and ``patients [N]``."""

    targets: NDArray[Any]
    probabilities: NDArray[Any]
    patients: NDArray[Any]


@dataclass(frozen=True)
class Change:
    """Scores of a finding, or means, in the first place and in the second.

    ``difference`` in AP is ``by_prevalence`` and ``rest`` together: AP of the first less what it would be if the
    finding were as frequent there as in the second (``ap_at_prevalence``), and that less AP of the second.
    """

    name: str
    ap: float
    ap_against: float
    ap_at_prevalence: float
    difference: Difference
    by_prevalence: float
    rest: Difference
    auroc: float
    auroc_against: float
    auroc_difference: Difference


@dataclass(frozen=True)
class PlaceComparison:
    """Changes of the findings that are common in both places, and of their means (None without any)."""

    macro: Change | None
    findings: tuple[Change, ...]

    def to_json(self) -> dict[str, Any]:
        """Of ``evaluate --json``, under ``against``."""
        return {
            "macro": None if self.macro is None else asdict(self.macro),
            "findings": [asdict(one) for one in self.findings],
        }


def compare_places(
    first: Place,
    second: Place,
    findings: Sequence[str],
    num_resamples: int,
    *,
    seed: int = 0,
    num_threads: int = 1,
    advance: Callable[[int], None] = lambda _: None,
) -> PlaceComparison:
    """Of the findings that ``MIN_EACH`` patients have and as many have not, in both places.

    Patients of each place are resampled by themselves. ``rest`` is at the prevalences of the second place, as they are,
    on both sides. Holm's correction is over ``rest`` and AUROC of all findings, and over these two of the means.
    """
    both = (first, second)
    deciding = np.array([deciding_patients(place.targets, numbered(place.patients)) for place in both])  # [2, 2, C]
    common = np.flatnonzero((deciding[:, 1] >= MIN_EACH).all(axis=0)).tolist()
    if not common:
        return PlaceComparison(None, ())
    shares = prevalence(second.targets)
    values, drawn = [], []
    for number, place in enumerate(both):
        patients = numbered(place.patients)
        rankings = [
            [Ranking(place.targets[:, c], place.probabilities[:, c], patients, share) for c, share in columns]
            for columns in ([(c, None) for c in common], [(c, float(shares[c])) for c in common])
        ]
        ones = np.ones(patients.max() + 1)
        values.append(_three(np.array([[[one(ones)] for one in row] for row in rankings]).transpose(3, 0, 2, 1))[:, 0])
        resampled = resample_rankings(
            rankings, len(ones), num_resamples, seed=seed + number, num_threads=num_threads, advance=advance
        )
        drawn.append(_three(resampled))
    kinds = {"macro": slice(None), **{findings[c]: slice(place, place + 1) for place, c in enumerate(common)}}
    macro, *each = [
        _change(
            name,
            [one[:, columns].mean(axis=1).tolist() for one in values],
            [
                [Sampled(scores[:, columns], own[columns]) for scores, own in zip(one, numbers, strict=True)]
                for one, numbers in zip(drawn, deciding[:, (0, 0, 1)][:, :, common], strict=True)
            ],
        )
        for name, columns in kinds.items()
    ]
    return PlaceComparison(_corrected([macro])[0], tuple(_corrected(each)))


def _three(scores: Doubles) -> Doubles:
    """AP, AP at the second's prevalence and AUROC, ``[3, R, C]``, of ``[2, 2, R, C]`` of both kinds of ranking."""
    return np.stack([scores[0, 0], scores[0, 1], scores[1, 0]])


def _change(name: str, values: Sequence[Sequence[float]], drawn: Sequence[Sequence[Sampled]]) -> Change:
    """Of the three scores of each place, and of their resamples."""
    (ap, at_prevalence, auroc), (ap_against, _, auroc_against) = values
    first, second = drawn
    return Change(
        name=name,
        ap=ap,
        ap_against=ap_against,
        ap_at_prevalence=at_prevalence,
        difference=difference(ap - ap_against, first[0], second[0]),
        by_prevalence=ap - at_prevalence,
        rest=difference(at_prevalence - ap_against, first[1], second[1]),
        auroc=auroc,
        auroc_against=auroc_against,
        auroc_difference=difference(auroc - auroc_against, first[2], second[2]),
    )


def _corrected(changes: Sequence[Change]) -> list[Change]:
    both = with_holm([one for change in changes for one in (change.rest, change.auroc_difference)])
    return [
        replace(change, rest=rest, auroc_difference=auroc)
        for change, rest, auroc in zip(changes, both[::2], both[1::2], strict=True)
    ]
