import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import rankdata

from cxrlt_cli.errors import DataError
from cxrlt_cli.scores.predictions import Predictions, blend, normal_gating, require_same
from tests.helpers import golden


def predictions(num_films: int = 4) -> Predictions:
    ids = np.array([f"{index}.png" for index in range(num_films)], object)
    return Predictions(ids, ("Normal", "Mass, large"), np.random.default_rng(0).random((num_films, 2)))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    before = predictions()
    before.write(tmp_path / "p.csv")
    after = Predictions.read(tmp_path / "p.csv")
    assert after.ids.tolist() == before.ids.tolist()
    assert after.findings == before.findings
    np.testing.assert_allclose(after.probabilities, before.probabilities, rtol=1e-8)
    assert (tmp_path / "p.csv").read_text().splitlines()[0] == 'ImageID,Normal,"Mass, large"'


def test_neighbours_stay_apart(tmp_path: Path) -> None:
    """Ten digits would tie these, and the scores of the file would not be those of the model."""
    logits = np.array([9.5, 9.500001, 12, 12.000001, 20, 20.00001])
    near = Predictions(np.arange(6).astype(str).astype(object), ("x",), 1 / (1 + np.exp(-logits))[:, None])
    near.write(tmp_path / "p.csv")
    np.testing.assert_array_equal(Predictions.read(tmp_path / "p.csv").probabilities, near.probabilities)


def test_small_probabilities_keep_their_digits(tmp_path: Path) -> None:
    tiny = Predictions(np.array(["a"], object), ("x",), np.array([[1.23456789e-7]]))
    tiny.write(tmp_path / "p.csv", "dicom_id")
    assert Predictions.read(tmp_path / "p.csv", "dicom_id").probabilities[0, 0] == pytest.approx(
        1.23456789e-7, rel=1e-9
    )


@pytest.mark.parametrize(("text", "said"), [
    ("ImageID,a\nx,0.5\nx,0.6\n", "more than once"),
    ("ImageID,a\nx,1.5\n", "'a' of film 'x' is 1.5"),
    ("ImageID,a\nx,0.5\ny,\n", "row 3: column 'a' holds ''"),
    ("ImageID,a\nx,high\n", "row 2: column 'a' holds 'high'"),
    ("ImageID,a\nx,nan\n", "row 2"),
    ("ImageID,a\nx,inf\n", "not a probability"),
    ("Image,a\nx,0.5\n", "no column 'ImageID'"),
    ("ImageID\nx\n", "no column beside 'ImageID'"),
])  # fmt: skip
def test_faults_are_told(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(DataError) as caught:
        Predictions.read(tmp_path / "p.csv")
    assert said in str(caught.value)
    assert "p.csv" in str(caught.value)


def test_rows_and_columns_are_chosen_by_name() -> None:
    chosen = predictions().rows(["3.png", "0.png"]).select(["Mass, large"])
    assert chosen.ids.tolist() == ["3.png", "0.png"]
    np.testing.assert_array_equal(chosen.probabilities, predictions().probabilities[[3, 0]][:, [1]])


def members(*columns: list[float]) -> list[Predictions]:
    ids = np.array([f"{row}.png" for row in range(len(columns[0]))], object)
    return [Predictions(ids, ("x",), np.array(column)[:, None]) for column in columns]


def blended(columns: list[list[float]], weights: list[float] | None, mode: str) -> list[float]:
    return [float(value) for value in blend(members(*columns), weights, mode).probabilities[:, 0]]


def test_blends_equal_a_naive_loop() -> None:
    columns, weights = [[0.9, 0.2, 0.2], [0.5, 0.6, 0.1], [0.01, 0.99, 0.3]], [1.0, 1.5, 0.5]
    shares = [weight / 3 for weight in weights]
    for film in range(3):
        p = [column[film] for column in columns]
        z = sum(s * math.log(v / (1 - v)) for s, v in zip(shares, p, strict=True))
        expected = {
            "mean": sum(s * v for s, v in zip(shares, p, strict=True)),
            "logit_mean": 1 / (1 + math.exp(-z)),
            "gmean": math.prod(v**s for s, v in zip(shares, p, strict=True)),
            "max": max(p),
            "rank": sum(s * rankdata(c)[film] / 3 for s, c in zip(shares, columns, strict=True)),
        }
        for mode, value in expected.items():
            assert blended(columns, weights, mode)[film] == pytest.approx(value), mode
    assert blended(columns, None, "median") == [0.5, 0.6, 0.2]
    assert blended(columns, [1, 0, 1], "median") == pytest.approx([0.455, 0.595, 0.25])
    assert blended(columns, [5, 1, 1], "median") == columns[0]
    assert blended(columns, [1, 0, 0], "max") == columns[0]


def test_tied_films_share_their_rank() -> None:
    assert blended([[0.2, 0.2, 0.9, 0.1]], None, "rank") == [2.5 / 4, 2.5 / 4, 1.0, 0.25]


@pytest.mark.parametrize("mode", ["mean", "logit_mean", "gmean", "median", "max", "rank"])
def test_any_blend_takes_certainty_and_keeps_order(mode: str) -> None:
    columns = [[0.0, 1e-12, 0.5, 1 - 1e-12, 1.0]] * 2
    values = blended(columns, [2, 1], mode)
    assert all(0 <= value <= 1 for value in values)
    assert values == sorted(values)
    if mode != "rank":
        np.testing.assert_allclose(values, columns[0], atol=1e-15)


@pytest.mark.parametrize("weights", [[0, 0], [-1, 2], [float("nan"), 1]])
def test_weights_that_make_no_sense_are_refused(weights: list[float]) -> None:
    with pytest.raises(DataError, match="none may be negative"):
        blended([[0.5], [0.4]], weights, "mean")


def test_members_that_differ_are_told() -> None:
    require_same("film", "ab", "ba", "a.csv", "b.csv")
    with pytest.raises(DataError, match=r"b\.csv lacks the films a\.") as caught:
        require_same("film", "ab", "b", "a.csv", "b.csv")
    assert "--csv" in caught.value.hint
    with pytest.raises(DataError, match=r"b\.csv lacks the findings x and has the findings y that a\.csv lacks"):
        require_same("finding", ["x"], ["y"], "a.csv", "b.csv")


@pytest.mark.parametrize("case", golden()["normal_gating"], ids=lambda case: f"alpha {case['alpha']}")
def test_normal_gating_equals_the_winners(case: dict[str, Any]) -> None:
    before = np.array(case["probabilities"])
    names = tuple(f"finding {index}" for index in range(before.shape[1]))
    ids = np.arange(len(before)).astype(str).astype(object)
    normal = names[case["normal_index"]]
    after = normal_gating(Predictions(ids, names, before), case["alpha"], normal)
    np.testing.assert_allclose(after.probabilities, case["gated"], rtol=1e-12)
    np.testing.assert_array_equal(after.probabilities[:, names.index(normal)], before[:, names.index(normal)])


def test_gating_makes_no_ties() -> None:
    """A clip at 1e-6 would tie the first three, a product the films that are surely normal."""
    ids = np.array(list("abcd"), object)
    rare = [1e-9, 2e-9, 3e-9, 0.5]
    predictions = Predictions(ids, ("Normal", "x"), np.array([[0.9, 1.0, 1.0, 1.0], rare]).T)
    gated = normal_gating(predictions, 1.0).probabilities[:, 1]
    assert len(set(gated)) == 4
    assert (np.diff(gated[1:]) > 0).all()
    np.testing.assert_array_equal(normal_gating(predictions, 0.0).probabilities[:, 0], [0.9, 1, 1, 1])
    np.testing.assert_allclose(normal_gating(predictions, 0.0).probabilities[:, 1], rare)


ODD = ["+1", "-12.png", "007", 'a, "b".png', "x;y", "é ü.png", "p10/s5/0f.jpg", "'x", "1e5"]


def test_odd_ids_read_back_as_they_are_and_no_cell_is_a_formula(tmp_path: Path) -> None:
    before = Predictions(np.array(ODD, object), ("a;b", "-1"), np.random.default_rng(0).random((len(ODD), 2)))
    before.write(tmp_path / "p.csv")
    after = Predictions.read(tmp_path / "p.csv")
    assert (after.ids.tolist(), after.findings) == (ODD, before.findings)
    with (tmp_path / "p.csv").open(newline="") as file:
        assert [row[0] for row in csv.reader(file)][1:] == ODD


@pytest.mark.parametrize("name", ["=1+1", "@x", "+A1", "-A1", "\t=1", "\r=1", "a\nb", "x;=1", " a", ""])
def test_a_formula_is_neither_written_nor_read(tmp_path: Path, name: str) -> None:
    one = np.array([[0.5]])
    harmful = (Predictions(np.array([name], object), ("x",), one), Predictions(np.array(["a"], object), (name,), one))
    for predictions in harmful:
        with pytest.raises(DataError, match="is not written: it would hold"):
            predictions.write(tmp_path / "p.csv")
        assert list(tmp_path.iterdir()) == []
    if name == name.strip():
        quoted = f'"{name}"'
        for text in (f"ImageID,x\nok,0.1\n{quoted},0.5\n", f"ImageID,{quoted}\na,0.5\n"):
            (tmp_path / "p.csv").write_text(text)
            with pytest.raises(DataError, match=r"p\.csv(, row 3: column 'ImageID' (holds .*, which|is empty)| has )"):
                Predictions.read(tmp_path / "p.csv")


def test_the_id_column_is_no_finding(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'Normal' is the name of its id column and of a finding"):
        predictions().write(tmp_path / "p.csv", "Normal")
    (tmp_path / "empty.csv").write_text("ImageID,x\n")
    with pytest.raises(DataError, match=r"empty\.csv: Predictions hold no film"):
        Predictions.read(tmp_path / "empty.csv")
