"""Folds of a cross-validation by patient, in which every finding is shared out as evenly as patients allow.

Letters: P patients, C findings, K folds. After iterative stratification (Sechidis et al., ECML 2011), with patients for
units, as in ``LabelTable.split``; then patients move, or change places, while that evens out a finding.
"""

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
MAX_PARTNERS = 64  # patients of the fuller fold, and of the other one, that are looked at for an exchange
MAX_MOVES = 10_000


def share_out(positives: Counts, num_films: Counts, num_folds: int, rng: np.random.Generator) -> Counts:
    """The fold ``[P]`` of each patient, from 0, of ``positives [P, C]`` and ``num_films [P]``.

    Finding by finding, from the rarest on, each patient who has it, those with most of it first, goes to the fold with
    fewest positives of it, then of what else the patient has, then of films. Patients without a positive fill up the
    smallest folds.
    """
    counts = np.column_stack([positives, num_films])  # films are the last, and most frequent, thing to share out
    order = rng.permutation(len(counts))
    having = np.zeros((num_folds, counts.shape[1]), np.int64)
    fold = np.full(len(counts), -1, np.int64)
    rare_first = [*np.argsort(positives.sum(axis=0), kind="stable").tolist(), counts.shape[1] - 1]
    share = np.maximum(counts.sum(axis=0), 1) / num_folds
    for thing in rare_first:
        waiting = order[(fold[order] < 0) & (counts[order, thing] > 0)]
        for patient in waiting[np.argsort(-counts[waiting, thing], kind="stable")]:
            mine = counts[patient]
            fullness = (having / share)[:, mine > 0].sum(axis=1)
            fold[patient] = np.lexsort((having[:, -1], fullness, having[:, thing]))[0]
            having[fold[patient]] += mine
    _even_out(counts, fold, having, rare_first, order)
    return fold


def _even_out(counts: Counts, fold: Counts, having: Counts, rare_first: list[int], order: Counts) -> None:
    """Move patients between the fullest and the emptiest fold of a finding, or exchange them, while that gains.

    What is gained: the squares of what folds have above and below their shares, each relative to a finding's share, so
    that one positive of a rare finding weighs more than one of a frequent one.
    """
    weights = 1.0 / np.maximum(counts.sum(axis=0), 1) ** 2
    nobody = np.zeros((1, counts.shape[1]), np.int64)
    for _ in range(MAX_MOVES):
        for thing in rare_first:
            full, empty = int(having[:, thing].argmax()), int(having[:, thing].argmin())
            if having[full, thing] - having[empty, thing] < 2:
                continue
            there = order[fold[order] == full]
            leaving = there[counts[there, thing] > 0][:MAX_PARTNERS]
            coming = order[fold[order] == empty]
            coming = coming[np.argsort(counts[coming, thing], kind="stable")][:MAX_PARTNERS]
            back = np.concatenate([nobody, counts[coming]])  # nobody: the patient moves, none comes for it
            moved = counts[leaving][:, None] - back[None]  # [L, 1 + B, C + 1] from the fuller fold to the other
            gap = having[full] - having[empty]
            gain = (weights * moved * (gap - moved)).sum(axis=2)  # half of how far the sum of squares falls
            best = np.unravel_index(int(gain.argmax()), gain.shape)
            if gain[best] <= 1e-12:
                continue
            fold[leaving[best[0]]] = empty
            if best[1] > 0:
                fold[coming[best[1] - 1]] = full
            having[full] -= moved[best]
            having[empty] += moved[best]
            break
        else:
            return
