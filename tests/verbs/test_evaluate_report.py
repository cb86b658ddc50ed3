import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cxrlt_cli.config import EvaluateOptions, InferOptions
from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.errors import DataError, OptionError
from cxrlt_cli.nets.checkpoints import Architecture
from cxrlt_cli.nets.classifier import Classifier
from cxrlt_cli.tables.embeddings import Embeddings, finish_records, to_records
from cxrlt_cli.verbs import evaluate_report_films
from cxrlt_cli.verbs.evaluate import evaluate
from cxrlt_cli.verbs.infer import infer
from tests.helpers import FINDINGS, Recorder, write_csv


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
    assert "without heat maps" in recorder.notes[-1]
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


@pytest.mark.parametrize("head", ["linear", "csra"])
def test_every_head_has_heat_maps_and_the_page_says_which(
    labels: Path, predicted: Path, run: Path, tmp_path: Path, head: str
) -> None:
    checkpoint = run / "best.safetensors"
    if head == "linear":
        torch.manual_seed(0)
        model = Classifier(Architecture("test_convnext", head), FINDINGS, Preprocessing(64))
        checkpoint = tmp_path / "linear.safetensors"
        model.checkpoint().write(checkpoint)
    seen, _ = reported(predicted, labels, checkpoint=checkpoint)
    kind, other = ("Grad-CAM", "attention") if head == "linear" else ("attention", "Grad-CAM")
    assert seen.count(f"alt='{kind}'") == seen.count(f"<br>Orange: {kind}")
    assert seen.count(f"alt='{kind}'") + seen.count("there is no heat map") == seen.count("<figure") > 2
    assert other not in seen
    assert seen.count("A heat map has 2 x 2 cells of 32 px each, of a film of 64 px") == 1


def test_the_page_shows_training_films_that_a_film_resembles(
    predicted: Path, labels: Path, run: Path, tmp_path: Path
) -> None:
    checkpoint, among = run / "best.safetensors", tmp_path / "train.npz"
    options = {"checkpoint": checkpoint, "csv": labels, "out": tmp_path / "x.csv", "embeddings": among, "workers": 0}
    infer(InferOptions.model_validate({**options, "device": "cpu"}), Recorder())
    plain, _ = reported(predicted, labels, checkpoint=checkpoint)
    page, _ = reported(predicted, labels, checkpoint=checkpoint, among=among)
    figures = page.split("<figure")[1:]
    for figure in figures:
        film = re.search(r"alt='(film\d+\.png)'", figure)
        near = re.findall(r"<li><img [^>]* alt='(film\d+\.png)'>(0\.\d{3}|1\.000) \1</li>", figure)
        assert film is not None
        cosines = _naive_cosines(Embeddings.read(among), film[1])
        best = sorted((cosine for name, cosine in cosines.items() if name != film[1]), reverse=True)[:3]
        assert film[1] not in dict(near)
        assert [float(cosine) for _, cosine in near] == pytest.approx(best, abs=6e-4)
        assert [cosines[name] for name, _ in near] == pytest.approx(best, abs=1e-5)
    assert page.count("<img") == plain.count("<img") + 3 * len(figures)
    moved = shutil.copytree(labels.parent / "images", tmp_path / "moved")
    embedded = Embeddings.read(among)
    strange = np.array([f"elsewhere-{film}" for film in embedded.ids], object)
    finish = {"width": 64, "id_column": "ImageID", "checkpoint": embedded.checkpoint}
    (tmp_path / "records").write_bytes(to_records(strange, embedded.features))
    finish_records(tmp_path / "records", among, **finish)  # type: ignore[arg-type]
    named, recorder = reported(predicted, labels, checkpoint=checkpoint, among=among, image_dir=moved)
    assert "named in the report, not shown" in recorder.notes[-1]
    assert named.count("<img") == plain.count("<img")
    assert len(re.findall(r"<li>1\.000 elsewhere-film\d+\.png</li>", named)) >= 3
    with pytest.raises(DataError, match="features of another checkpoint"):
        reported(predicted, labels, checkpoint=run / "last.safetensors", among=among)


def _naive_cosines(embeddings: Embeddings, film: str) -> dict[str, float]:
    rows = embeddings.features.astype(float)
    mine = rows[embeddings.ids.tolist().index(film)]
    cosines = rows @ mine / np.linalg.norm(rows, axis=1) / np.linalg.norm(mine)
    return dict(zip(embeddings.ids, cosines, strict=True))


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


def test_pictures_beyond_the_limit_are_listed_by_name(
    predicted: Path, labels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each finding the clearest are kept first; every mistake keeps its card."""
    whole, _ = reported(predicted, labels)
    monkeypatch.setattr(evaluate_report_films, "MOST_BYTES", len(whole) // 4)
    fewer, recorder = reported(predicted, labels)
    assert 0 < fewer.count("<img") < whole.count("<img")
    assert fewer.count("<figure") == whole.count("<figure")
    assert any("below 20 MB" in note for note in recorder.notes)
    firsts = [group.split("<figure")[1] for group in whole.split("class='group'")[1:]]
    assert all(first.split("src='")[1].split("'")[0] in fewer for first in firsts)
    assert "patient 1" in whole
    assert "view PA" in whole
