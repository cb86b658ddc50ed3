"""How often a finding is present among films without labels, from a model's probabilities for them.

It rests on label shift: films with the finding, and films without it, look as they did where the model was calibrated;
only how many there are differs. Where films look otherwise (another machine), it says nothing.
"""

import numpy as np
from scipy.special import logit

from cxrlt_cli.scores import Doubles


def shifted_prevalence(probabilities: Doubles, prevalence: float, weights: Doubles | None = None) -> float:
    """The prevalence that makes these films most likely: the fixed point of EM (Saerens et al., Neural Comput. 2002).

    ``probabilities [N]``: calibrated where ``prevalence`` of the films had the finding. ``weights [N]``: how often each
    counts. The likelihood ``sum log(q p / q0 + (1 - q) (1 - p) / (1 - q0))`` is concave in q, so that its maximum is
    found by halving, where EM would need thousands of steps.
    """
    assert 0 < prevalence < 1, "where a finding is on no film or on all, nothing is known of the others"
    ratio = probabilities / prevalence - (1 - probabilities) / (1 - prevalence)
    without = (1 - probabilities) / (1 - prevalence)
    count = np.ones(len(probabilities)) if weights is None else weights

    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        rises = float((count * ratio / np.maximum(without + middle * ratio, 1e-300)).sum()) > 0
        low, high = (middle, high) if rises else (low, middle)
    return (low + high) / 2


def offset_of_shift(before: float, after: float) -> float:
    """What is added to a calibrated logit where the prevalence is another; finite also where that is 0 or 1."""
    return float(logit(np.clip(after, 1e-6, 1 - 1e-6)) - logit(before))
