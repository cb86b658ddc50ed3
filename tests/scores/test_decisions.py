from pathlib import Path

import numpy as np
import pytest

from cxrlt_cli.errors import DataError
from cxrlt_cli.scores.decisions import as_scores, read_predicted, score_decisions
from cxrlt_cli.scores.predictions import Decisions
from tests.helpers import write_csv


def naive(targets: list[float], values: list[float]) -> dict[str, float | None]:
    """Each count film by film; NaN is no label, or no decision."""
    pairs = [(y, d) for y, d in zip(targets, values, strict=True) if y in (0, 1) and d in (0, 1)]

    def share(hits: list[bool]) -> float | None:
        return sum(hits) / len(hits) if hits else None

    tp, wrong = sum(y == d == 1 for y, d in pairs), sum(y != d for y, d in pairs)
    return {
        "sensitivity": share([d == 1 for y, d in pairs if y == 1]),
        "specificity": share([d == 0 for y, d in pairs if y == 0]),
        "ppv": share([y == 1 for y, d in pairs if d == 1]),
        "npv": share([y == 0 for y, d in pairs if d == 0]),
        "f1": 2 * tp / (2 * tp + wrong) if any(y == 1 for y, _ in pairs) else None,
    }


@pytest.mark.parametrize("seed", range(30))
def test_shares_are_those_of_a_count_by_hand(seed: int) -> None:
    rng = np.random.default_rng(seed)
    targets, values = rng.integers(0, 2, (2, int(rng.integers(1, 12)), 1)).astype(float)
    targets[rng.random(targets.shape) < 0.2] = np.nan
    values[rng.random(values.shape) < 0.2] = np.nan
    (one,) = score_decisions(targets, values, np.arange(len(targets)), ["x"])
    expected = naive(targets[:, 0].tolist(), values[:, 0].tolist())
    for name in ("sensitivity", "specificity", "ppv", "npv"):
        share = getattr(one, name)
        assert share.value == expected[name]
    assert one.f1 == expected["f1"]
    assert (one.positives, one.negatives) == ((targets == 1).sum(), (targets == 0).sum())
    assert one.undecided == (np.isnan(values) & ~np.isnan(targets)).sum()
    assert one.undecided_positives == (np.isnan(values) & (targets == 1)).sum()


def test_what_a_file_holds_is_told_by_its_cells(tmp_path: Path) -> None:
    decided = read_predicted(write_csv(tmp_path / "d.csv", ["ImageID", "a", "b"], [["x", 1, ""], ["y", 0, "1.0"]]))
    assert isinstance(decided, Decisions)
    np.testing.assert_array_equal(decided.probabilities, [[1, np.nan], [0, 1]])
    assert decided.rows(["y"]).select(["b"]).probabilities.tolist() == [[1.0]]
    mixed = read_predicted(write_csv(tmp_path / "m.csv", ["ImageID", "a", "b"], [["x", 1, 0], ["y", 0, 0.5]]))
    assert not isinstance(mixed, Decisions)
    with pytest.raises(DataError, match="row 2: column 'b' holds '', which is no number"):
        read_predicted(write_csv(tmp_path / "e.csv", ["ImageID", "a", "b"], [["x", 0.5, ""], ["y", 0, 1]]))
    with pytest.raises(DataError, match="row 2: column 'a' holds ''"):
        read_predicted(write_csv(tmp_path / "n.csv", ["ImageID", "a"], [["x", ""], ["y", ""]]))
    with pytest.raises(DataError, match=r"t\.csv: Predictions hold a film more than once: x"):
        read_predicted(write_csv(tmp_path / "t.csv", ["ImageID", "a"], [["x", 1], ["x", 0]]))


def test_as_scores_there_is_f1_and_no_ap() -> None:
    targets, values = np.array([[1, 0, 1.0]]).T, np.array([[1, 1, np.nan]]).T
    scores = as_scores(score_decisions(targets, values, np.arange(3), ["x"]), targets, None, 3)
    content = scores.to_json()
    assert content["macro"]["ap"] is content["findings"][0]["auroc"] is content["macro"]["ece"] is None
    assert content["macro"]["f1"] == pytest.approx(2 / 3)
    assert (content["num_films"], content["num_patients"]) == (3, 3)
    assert content["findings"][0]["prevalence"] == pytest.approx(2 / 3)
