import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from cxrlt_cli.scores.promptlab import examine, lines


def made_up() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cosines of 200 films with a good, a weak and a harmful sentence; features of those; targets."""
    rng = np.random.default_rng(0)
    truth = (rng.random(200) < 0.2).astype(np.float32)
    noise = rng.normal(0, 0.1, (200, 3))
    cosines = (noise + truth[:, None] * [0.2, 0.03, -0.2]).astype(np.float32)
    features = rng.normal(size=(3, 5)).astype(np.float32)
    return cosines, features / np.linalg.norm(features, axis=1, keepdims=True), truth


def test_each_number_is_what_it_says() -> None:
    cosines, features, truth = made_up()
    one = examine("nodule", ["good", "weak", "harmful"], cosines, features, truth)
    assert one is not None
    assert one.positives == truth.sum()
    assert one.ap == pytest.approx(average_precision_score(truth, cosines.mean(axis=1)))
    for p, sentence in enumerate(one.sentences):
        others = [q for q in range(3) if q != p]
        assert sentence.ap == pytest.approx(average_precision_score(truth, cosines[:, p]))
        assert sentence.ap_without == pytest.approx(average_precision_score(truth, cosines[:, others].mean(axis=1)))
        assert sentence.similarity == pytest.approx(float(np.mean([features[p] @ features[q] for q in others])))
    good, _, harmful = one.sentences
    assert good.ap_without is not None
    assert harmful.ap_without is not None
    assert good.ap_without < one.ap < harmful.ap_without


def test_films_without_a_label_are_left_out_and_the_anchor_counts() -> None:
    cosines, features, truth = made_up()
    normal = np.random.default_rng(1).normal(0, 0.5, 200)
    with_gaps = np.concatenate([truth, [np.nan] * 50]).astype(np.float32)
    longer = np.concatenate([cosines, np.full((50, 3), 9, np.float32)])
    one = examine("x", ["a", "b", "c"], longer, features, with_gaps, "max", np.concatenate([normal, np.zeros(50)]))
    assert one is not None
    assert one.prevalence == pytest.approx(truth.mean())
    assert one.ap == pytest.approx(average_precision_score(truth, cosines.max(axis=1) - normal))


def test_one_sentence_and_no_positive() -> None:
    cosines, features, truth = made_up()
    alone = examine("x", ["a"], cosines[:, :1], features[:1], truth, "topk:2")
    assert alone is not None
    assert alone.sentences[0].ap_without is None
    assert alone.sentences[0].ap == alone.ap
    assert examine("x", ["a"], cosines[:, :1], features[:1], np.zeros(200, np.float32)) is None


def test_a_pool_of_more_than_is_left_takes_all() -> None:
    cosines, features, truth = made_up()
    one = examine("x", ["a", "b", "c"], cosines, features, truth, "topk:3")
    assert one is not None
    assert one.sentences[0].ap_without == pytest.approx(average_precision_score(truth, cosines[:, 1:].mean(axis=1)))


def test_the_table_has_the_best_sentence_first() -> None:
    cosines, features, truth = made_up()
    one = examine("nodule", ["harmful", "good", "weak"], cosines[:, [2, 0, 1]], features, truth)
    assert one is not None
    head, *rows = lines({"nodule": one})
    assert head[0].startswith("nodule (")
    assert [row[0].strip() for row in rows] == ["good", "weak", "harmful"]
    assert all(len(row) == 5 for row in [head, *rows])
    assert rows[0][3].startswith("+")
    assert rows[-1][3].startswith("-")
