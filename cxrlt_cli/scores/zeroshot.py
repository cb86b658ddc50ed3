"""From cosines between a film and sentences to a score and a probability for each finding.

Letters: N films, D features, P sentences, C findings. Features have length 1 and are float32: in bf16 cosines take some
hundred values, and ties cost AP.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logsumexp

from cxrlt_cli.scores import Floats

SLOPE = 5.0  # of the sigmoid without an anchor, as the challenge's winner had it
SHARPNESS = 100.0  # of lse: CLIP's own largest temperature


def pooled(cosines: Floats, pool: str) -> Floats:
    """Cosines ``[N, P]`` of a finding's sentences to one score ``[N]``.

    ``mean``; ``max``; ``topk:K``, the mean of the K largest; ``lse``, a smooth maximum,
    ``log(mean(exp(100 s))) / 100``. Averaging features before the cosine ranks films like ``mean``, and so does any
    temperature; other pools do not.
    """
    if pool == "max":
        return np.asarray(cosines.max(axis=1))
    if pool == "lse":
        wide = SHARPNESS * np.asarray(cosines, np.float64)
        return np.asarray((logsumexp(wide, axis=1) - np.log(cosines.shape[1])) / SHARPNESS)
    number = top_number(pool)
    if number is not None:
        return np.asarray(np.sort(cosines, axis=1)[:, -number:].mean(axis=1))
    return np.asarray(cosines.mean(axis=1))


def top_number(pool: str) -> int | None:
    """K of ``topk:K``; None for the other pools."""
    return int(pool.partition(":")[2]) if pool.startswith("topk:") else None


def score(
    images: Floats,
    sentences: Mapping[str, Floats],
    pool: str = "mean",
    anchor: Floats | None = None,
    temperature: float = 1.0,
) -> NDArray[np.float64]:
    """Probabilities ``[N, C]`` from image features ``[N, D]`` and the features ``[P, D]`` of each finding's sentences.

    With an ``anchor`` (features of sentences on a normal film), ``sigmoid(temperature (s_c - s_anchor))``: what speaks
    for the finding against what speaks for a normal film, with the model's own temperature; this ranks films in another
    order. Without one, ``sigmoid(5 s_c)``, which ranks them as the cosines do and always lies near a half.
    """
    columns = [pooled(images @ features.T, pool) for features in sentences.values()]
    values = np.stack(columns, axis=1).astype(np.float64)
    if anchor is None:
        return np.asarray(expit(SLOPE * values))
    normal = pooled(images @ anchor.T, pool).astype(np.float64)
    return np.asarray(expit(temperature * (values - normal[:, None])))
