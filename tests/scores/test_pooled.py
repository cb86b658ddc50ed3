import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from cxrlt_cli.scores.pooled import on_one_scale


def test_offsets_of_networks_go_and_the_order_in_each_part_stays() -> None:
    """Two parts of one distribution, one of them shifted: pooled AUROC is again that of each part."""
    rng = np.random.default_rng(0)
    truth = rng.random((400, 2)) < 0.3
    scores = 1 / (1 + np.exp(-(rng.normal(size=(400, 2)) + 1.5 * truth)))
    shifted = np.concatenate([scores[:200] * 0.2, scores[200:]])
    pooled = np.concatenate(on_one_scale([shifted[:200], shifted[200:]]))
    for c in range(2):
        np.testing.assert_array_equal(rankdata(pooled[:200, c]), rankdata(shifted[:200, c]))
        plain, mended = (roc_auc_score(truth[:, c], values[:, c]) for values in (shifted, pooled))
        own = np.mean([roc_auc_score(truth[part, c], scores[part, c]) for part in (slice(200), slice(200, 400))])
        assert plain < own - 0.05
        assert abs(mended - own) < 0.01


def test_one_part_stays_as_it_is_and_ties_stay_ties() -> None:
    values = np.array([[0.1], [0.5], [0.5], [0.9]])
    np.testing.assert_allclose(on_one_scale([values])[0], values)
    first, second = on_one_scale([values, np.array([[0.2], [0.2]])])
    assert first[1] == first[2]
    assert second[0] == second[1]
    assert len(on_one_scale([values, np.array([[0.3]])])[1]) == 1
