import shutil
from pathlib import Path
from typing import Any

import pytest

from cxrlt_cli.config import EvaluateOptions, InferOptions
from cxrlt_cli.errors import OptionError
from cxrlt_cli.verbs.evaluate import evaluate
from cxrlt_cli.verbs.infer import infer
from tests.helpers import Recorder, write_csv


@pytest.fixture
def predicted(run: Path, labels: Path, tmp_path: Path) -> Path:
    options = {"checkpoint": run / "best.safetensors", "csv": labels, "out": tmp_path / "p.csv", "workers": 0}
    infer(InferOptions.model_validate({**options, "device": "cpu"}), Recorder())
    return tmp_path / "p.csv"


def reported(predictions: Path, labels: Path, **changes: Any) -> tuple[str, Recorder]:
    recorder = Recorder()
    page = predictions.with_name("page.html")
    options = {"predictions": [predictions], "csv": labels, "report": page, "bootstrap": 20, **changes}
    evaluate(EvaluateOptions.model_validate(options), recorder)
    return page.read_text(), recorder


def test_films_are_shown_where_they_are_at_hand(predicted: Path, labels: Path, run: Path, tmp_path: Path) -> None:
    plain, recorder = reported(predicted, labels)
    assert "without attention" in recorder.notes[-1]
    assert plain.count("<img") > 2
    seen, _ = reported(predicted, labels, checkpoint=run / "best.safetensors")
    assert seen.count("<img") == 2 * plain.count("<img")
    assert seen.count("alt='attention'") == plain.count("<img")
    elsewhere = write_csv(tmp_path / "elsewhere.csv", *_rows(labels))
    bare, recorder = reported(predicted, elsewhere)
    assert "<img" not in bare
    assert "missed" in bare
    assert "--image-dir" in recorder.notes[-1]
    found, _ = reported(predicted, elsewhere, image_dir=labels.parent / "images")
    assert found.count("<img") == plain.count("<img")
    assert len(seen) > len(plain) > len(bare)


def test_a_film_that_cannot_be_read_costs_its_picture_alone(predicted: Path, labels: Path, tmp_path: Path) -> None:
    whole, _ = reported(predicted, labels, image_dir=labels.parent / "images")
    copied = tmp_path / "images"
    shutil.copytree(labels.parent / "images", copied)
    shown = next(film.name for film in sorted(copied.iterdir()) if f"alt='{film.name}'" in whole)
    (copied / shown).write_bytes(b"broken")
    page, recorder = reported(predicted, labels, image_dir=copied)
    assert 0 < page.count("<img") < whole.count("<img")
    assert shown in recorder.warnings[-1]


def test_what_is_for_the_report_alone_wants_one(predicted: Path, labels: Path) -> None:
    with pytest.raises(OptionError, match="are for the report"):
        reported(predicted, labels, report=None, image_dir=labels.parent)


def test_a_report_never_stands_over_its_inputs(predicted: Path, labels: Path) -> None:
    with pytest.raises(OptionError, match="--report"):
        reported(predicted, labels, report=predicted)


def _rows(path: Path) -> tuple[list[str], list[list[str]]]:
    header, *rows = (line.split(",") for line in path.read_text().splitlines())
    return header, rows
