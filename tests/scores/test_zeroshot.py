import math

import numpy as np
import pytest

from cxrlt_cli.scores.zeroshot import pooled, score

COSINES = np.array([[0.1, 0.3, -0.2], [0.4, 0.0, 0.2]], np.float32)


def test_pools_equal_a_naive_loop() -> None:
    for row, cosines in enumerate(COSINES.tolist()):
        smooth = math.log(sum(math.exp(100 * value) for value in cosines) / 3) / 100
        expected = {
            "mean": sum(cosines) / 3,
            "max": max(cosines),
            "topk:2": sum(sorted(cosines)[1:]) / 2,
            "lse": smooth,
        }
        for pool, value in expected.items():
            assert pooled(COSINES, pool)[row] == pytest.approx(value, abs=1e-6), pool
    np.testing.assert_allclose(pooled(COSINES, "topk:9"), pooled(COSINES, "mean"))
    np.testing.assert_allclose(pooled(COSINES, "topk:1"), pooled(COSINES, "max"))


def test_probabilities_follow_the_formulas() -> None:
    rng = np.random.default_rng(0)
    images, first, second, anchor = (
        values / np.linalg.norm(values, axis=1, keepdims=True)
        for values in (rng.standard_normal((n, 8)) for n in (5, 3, 2, 2))
    )
    plain = score(images, {"a": first, "b": second})
    np.testing.assert_allclose(plain[:, 0], 1 / (1 + np.exp(-5 * (images @ first.T).mean(axis=1))))
    anchored = score(images, {"a": first}, "max", anchor, 20.0)
    gap = (images @ first.T).max(axis=1) - (images @ anchor.T).max(axis=1)
    np.testing.assert_allclose(anchored[:, 0], 1 / (1 + np.exp(-20 * gap)))
