from pathlib import Path

import numpy as np
import pytest

from cxrlt_cli.errors import DataError
from cxrlt_cli.predictions import Predictions


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
