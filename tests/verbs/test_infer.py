import shutil
from itertools import repeat
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from cxrlt_cli.config import InferOptions
from cxrlt_cli.data.image import read_film
from cxrlt_cli.engine.predict import predict
from cxrlt_cli.errors import CheckpointError, DataError, OptionError
from cxrlt_cli.nets.checkpoints import Checkpoint
from cxrlt_cli.nets.classifier import load
from cxrlt_cli.scores.calibration import Calibration
from cxrlt_cli.scores.nearest import Known
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.tables.embeddings import Embeddings
from cxrlt_cli.tables.label_table import read_ids
from cxrlt_cli.verbs import infer as engine
from cxrlt_cli.verbs.infer import infer
from tests.helpers import FINDINGS, Recorder, make_films, write_csv


def options(run: Path, csv: Path, out: Path, **changes: object) -> InferOptions:
    return InferOptions.model_validate(
        {
            "checkpoint": run / "best.safetensors",
            "csv": csv,
            "out": out,
            "workers": 0,
            "batch_size": 10,
            "device": "cpu",
            **changes,
        }
    )


def test_probabilities_are_the_models_in_the_order_of_the_csv(run: Path, labels: Path, tmp_path: Path) -> None:
    films = [["film007.png"], ["film003.png"], ["film030.png"]]
    csv = write_csv(labels.parent / "some.csv", ["ImageID"], films)
    infer(options(run, csv, tmp_path / "p.csv"), Recorder())
    written = Predictions.read(tmp_path / "p.csv")
    assert written.ids.tolist() == [film for (film,) in films]
    assert written.findings == FINDINGS
    model = load(run / "best.safetensors")
    for row, film in enumerate(written.ids):
        square = torch.from_numpy(model.preprocessing(read_film(labels.parent / "images" / film)))
        with torch.inference_mode():
            expected = torch.sigmoid(model(model.normalize(square[None, None]))).numpy()[0]
        np.testing.assert_allclose(written.probabilities[row], expected, rtol=1e-4)


def test_validation_and_prediction_agree(run: Path, labels: Path, tmp_path: Path) -> None:
    infer(options(run, labels, tmp_path / "p.csv"), Recorder())
    validation = Predictions.read(run / "val_predictions.csv")
    again = Predictions.read(tmp_path / "p.csv").rows(list(validation.ids))
    np.testing.assert_allclose(again.probabilities, validation.probabilities, rtol=1e-4)


def test_findings_and_exclusions_are_chosen(run: Path, labels: Path, tmp_path: Path) -> None:
    removal = write_csv(tmp_path / "removal.csv", ["ImageID"], [["film000.png"]])
    out = tmp_path / "p.csv"
    infer(options(run, labels, out, findings="nodule,Normal", exclude=[removal]), Recorder())
    written = Predictions.read(out)
    assert written.findings == ("nodule", "Normal")
    assert written.ids.tolist() == read_ids(labels).tolist()[1:]
    with pytest.raises(OptionError, match="does not know Hernia"):
        infer(options(run, labels, out, findings="Hernia"), Recorder())


def test_a_file_that_is_replaced_is_said(run: Path, labels: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    for _ in range(2):
        infer(options(run, labels, tmp_path / "p.csv"), recorder)
    assert [result.split()[0] for result in recorder.results] == ["Wrote", "Replaced"]


def test_films_that_cannot_be_read_are_all_told_and_nothing_is_written(run: Path, tmp_path: Path) -> None:
    """The challenge winner's code scores them as black images."""
    labels = make_films(tmp_path / "set", 25)
    images = labels.parent / "images"
    for name in ("film004.png", "film021.png"):
        data = bytearray((images / name).read_bytes())
        data[len(data) // 2] ^= 0xFF
        (images / name).write_bytes(data)
    with pytest.raises(DataError, match=r"^2 films cannot be read") as caught:
        infer(options(run, labels, tmp_path / "p.csv"), Recorder())
    assert "film004.png" in str(caught.value)
    assert "film021.png" in str(caught.value)
    assert not (tmp_path / "p.csv").exists()


def test_an_input_is_never_written_over(run: Path, labels: Path) -> None:
    for out in (labels, run / "best.safetensors"):
        before = out.read_bytes()
        with pytest.raises(OptionError, match="a file that this command reads"):
            infer(options(run, labels, out), Recorder())
        assert out.read_bytes() == before


def test_where_no_file_can_be_written_is_told_before_any_work(run: Path, labels: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out, said in ((tmp_path, "is a folder"), (tmp_path / "file" / "p.csv", "is a file, not a folder")):
        with pytest.raises(OptionError, match=said):
            infer(options(run, labels, out), Recorder())


def test_a_dry_run_writes_nothing(run: Path, labels: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    infer(options(run, labels, tmp_path / "p.csv", dry_run=True), recorder)
    assert "Nothing was written" in recorder.results[0]
    assert not (tmp_path / "p.csv").exists()


def test_one_film_will_do(run: Path, labels: Path, tmp_path: Path) -> None:
    csv = write_csv(tmp_path / "one.csv", ["dicom_id"], [["film000.png"]])
    changes = {"id_column": "dicom_id", "image_dir": labels.parent / "images"}
    infer(options(run, csv, tmp_path / "p.csv", **changes), Recorder())
    assert (tmp_path / "p.csv").read_text().startswith("dicom_id,Normal")


def test_calibration_and_decisions_come_from_the_checkpoint(run: Path, labels: Path, tmp_path: Path) -> None:
    checkpoint = Checkpoint.read(run / "best.safetensors")
    values = {"checkpoint": run / "best.safetensors", "csv": labels, "workers": 0, "device": "cpu"}

    def inferred(**changes: Any) -> Predictions:
        infer(InferOptions.model_validate({**values, "out": tmp_path / "p.csv", **changes}), Recorder())
        return Predictions.read(tmp_path / "p.csv")

    plain = inferred()
    calibration = Calibration.of(checkpoint.training, FINDINGS)
    after = inferred(calibration="platt", decisions=tmp_path / "d.csv", decide="sensitivity-0.9", findings="nodule")
    expected = calibration.calibrate(plain, "platt").select(["nodule"])
    np.testing.assert_allclose(after.probabilities, expected.probabilities, rtol=1e-6)
    decided = Predictions.read(tmp_path / "d.csv")
    assert decided.findings == ("nodule",)
    threshold = calibration.thresholds["sensitivity-0.9"]["nodule"]
    np.testing.assert_array_equal(decided.probabilities[:, 0], plain.probabilities[:, 2] >= threshold)
    assert (tmp_path / "d.csv").read_text().splitlines()[1].split(",")[1] in ("0", "1")
    with pytest.raises(OptionError, match="--decisions"):
        inferred(decisions=labels)
    with pytest.raises(OptionError, match="--decisions and --out are both"):
        inferred(decisions=tmp_path / "p.csv")
    with pytest.raises(ValidationError, match="--alpha is the strength"):
        inferred(alpha=2)
    bare = type(checkpoint)(**{**vars(checkpoint), "training": {}})
    bare.write(tmp_path / "bare.safetensors")
    with pytest.raises(CheckpointError, match="carries no calibration"):
        inferred(checkpoint=tmp_path / "bare.safetensors", calibration="platt")


def test_films_unlike_the_training_films_have_a_higher_ood_score(run: Path, labels: Path, tmp_path: Path) -> None:
    checkpoint = run / "best.safetensors"
    (tmp_path / "strange").mkdir()
    rows = np.linspace(0, 255, 64).astype(np.uint8)
    for number in range(12):
        cv2.imwrite(str(tmp_path / "strange" / f"{number}.png"), np.roll(np.tile(rows, (64, 1)), 5 * number, axis=1))
    strange_csv = write_csv(tmp_path / "strange.csv", ["ImageID"], [(f"{number}.png",) for number in range(12)])
    scores = []
    for csv, folder in ((labels, labels.parent / "images"), (strange_csv, tmp_path / "strange")):
        options = {"checkpoint": checkpoint, "csv": csv, "image_dir": folder, "workers": 0, "device": "cpu"}
        out = {"out": tmp_path / "p.csv", "tta": "flip", "findings": "nodule", "ood_score": True}
        infer(InferOptions.model_validate({**options, **out}), Recorder())
        frame = pd.read_csv(tmp_path / "p.csv")
        assert list(frame.columns) == ["ImageID", "nodule", "ood_score"]
        assert Predictions.read(tmp_path / "p.csv").findings == ("nodule",), "it is no finding"
        scores.append(frame["ood_score"].to_numpy())
    known, strange = scores
    assert strange.min() > np.quantile(known, 0.95)
    last = {"checkpoint": run / "last.safetensors", "csv": labels, "out": tmp_path / "l.csv", "ood_score": True}
    with pytest.raises(CheckpointError, match="remembers nothing"):
        infer(InferOptions.model_validate(last), Recorder())
    assert not (tmp_path / "l.csv").exists()


def test_a_checkpoint_remembers_its_films_and_predicts_as_before(run: Path) -> None:
    checkpoint = Checkpoint.read(run / "best.safetensors")
    assert set(checkpoint.novelty) >= {"novelty.mean", "novelty.reference"}
    assert not any(name.startswith("novelty.") for name in checkpoint.tensors)


def test_a_stopped_command_goes_on_and_writes_no_film_twice(
    run: Path, labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "stretches", lambda *_: repeat(10))
    whole, out = tmp_path / "whole.csv", tmp_path / "p.csv"
    infer(options(run, labels, whole), Recorder())
    seen: list[int] = []

    def stopping(*arguments: Any, **settings: Any) -> Any:
        if len(seen) == 3:
            raise KeyboardInterrupt
        seen.append(1)
        return predict(*arguments, **settings)

    with pytest.raises(KeyboardInterrupt), monkeypatch.context() as patched:
        patched.setattr(engine, "predict", stopping)
        infer(options(run, labels, out), Recorder())
    assert not out.exists()
    with (tmp_path / ".p.csv.partial").open("a") as file:
        file.write("film0")  # of a writing that was cut
    recorder = Recorder()
    infer(options(run, labels, out), recorder)
    assert "Going on after 30 films that were predicted before." in recorder.notes
    assert out.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.csv", "whole.csv"]


def test_another_command_does_not_go_on_with_what_one_left(
    run: Path, labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "stretches", lambda *_: repeat(10))
    seen: list[int] = []

    def stopping(*arguments: Any, **settings: Any) -> Any:
        seen.append(1)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return predict(*arguments, **settings)

    with pytest.raises(KeyboardInterrupt), monkeypatch.context() as patched:
        patched.setattr(engine, "predict", stopping)
        infer(options(run, labels, tmp_path / "p.csv"), Recorder())
    recorder = Recorder()
    infer(options(run, labels, tmp_path / "p.csv", tta="flip"), recorder)
    assert not recorder.notes
    assert len(Predictions.read(tmp_path / "p.csv").ids) == 48


def test_embeddings_are_the_mean_of_the_feature_map_in_the_order_of_the_csv(
    run: Path, labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    names = ["a,b.png", "film 2.png", "c.png"]
    for name, film in zip(names, ("film007.png", "film003.png", "film030.png"), strict=True):
        shutil.copy(labels.parent / "images" / film, folder / name)
    csv = write_csv(tmp_path / "some.csv", ["ImageID"], [[name] for name in names])
    monkeypatch.setattr(engine, "stretches", lambda *_: repeat(2))
    recorder = Recorder()
    for file in ("e.npz", "e.parquet"):
        changes = {"image_dir": folder, "embeddings": tmp_path / file, "tta": "flip", "batch_size": 2}
        infer(options(run, csv, tmp_path / "p.csv", **changes), recorder)
    assert recorder.results[1] == f"Wrote {tmp_path / 'e.npz'}: 3 films, 64 features."
    model = load(run / "best.safetensors")
    read = [Embeddings.read(tmp_path / file) for file in ("e.npz", "e.parquet")]
    assert read[0].ids.tolist() == read[1].ids.tolist() == names
    np.testing.assert_array_equal(read[0].features, read[1].features)
    for row, name in enumerate(names):
        square = torch.from_numpy(model.preprocessing(read_film(folder / name)))
        with torch.inference_mode():
            features = model.feature_map(model.normalize(square[None, None]))[0].numpy()
        expected = [features[channel].mean() for channel in range(64)]
        np.testing.assert_allclose(read[0].features[row], expected, rtol=1e-3, atol=1e-5)


def test_nearest_films_are_looked_for_among_embeddings(run: Path, labels: Path, tmp_path: Path) -> None:
    among, out = tmp_path / "train.npz", tmp_path / "p.csv"
    removal = write_csv(tmp_path / "x.csv", ["ImageID"], [[f"film{number:03d}.png"] for number in range(40, 48)])
    infer(options(run, labels, out, embeddings=among, exclude=[removal]), Recorder())
    recorder = Recorder()
    mine = tmp_path / "mine.parquet"
    infer(options(run, labels, out, nearest=tmp_path / "n.csv", among=among, embeddings=mine), recorder)
    assert recorder.notes[-1] == f"40 films are in --among {among} too, by id: none is its own neighbour."
    frame = pd.read_csv(tmp_path / "n.csv")
    assert list(frame.columns) == ["ImageID", "rank", "neighbour", "cosine"]
    assert frame["ImageID"].tolist() == [film for film in read_ids(labels) for _ in range(5)]
    assert frame["rank"].tolist() == [1, 2, 3, 4, 5] * 48
    expected = Known(Embeddings.read(among)).nearest(read_ids(labels), Embeddings.read(mine).features)
    assert frame["neighbour"].tolist() == [film for films in expected.films for film in films]
    assert not (frame["ImageID"] == frame["neighbour"]).any()
    infer(options(run, labels, out, nearest=tmp_path / "n.parquet", among=among), Recorder())
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "n.parquet"), frame, check_dtype=False)


def test_embeddings_of_another_checkpoint_or_none_are_refused(run: Path, labels: Path, tmp_path: Path) -> None:
    out, among = tmp_path / "p.csv", tmp_path / "e.npz"
    infer(options(run, labels, out, embeddings=among), Recorder())
    nearest = {"nearest": tmp_path / "n.csv", "among": among}
    with pytest.raises(DataError, match="features of another checkpoint"):
        infer(options(run, labels, out, checkpoint=run / "last.safetensors", **nearest), Recorder())
    with pytest.raises(DataError, match="holds no embeddings"):
        infer(options(run, labels, out, **{**nearest, "among": labels}), Recorder())
    with pytest.raises(OptionError, match=r"--embeddings .* Parquet or npz"):
        infer(options(run, labels, out, embeddings=tmp_path / "e.csv"), Recorder())
    with pytest.raises(OptionError, match="--nearest and --out are both"):
        infer(options(run, labels, out, **{**nearest, "nearest": out}), Recorder())
    with pytest.raises(OptionError, match="a file that this command reads"):
        infer(options(run, labels, out, embeddings=among, **nearest), Recorder())
    csv = write_csv(tmp_path / "rank.csv", ["rank"], [["film000.png"]])
    changes = {"id_column": "rank", "image_dir": labels.parent / "images", **nearest}
    with pytest.raises(OptionError, match="--id-column rank"):
        infer(options(run, csv, out, **changes), Recorder())
    assert not (tmp_path / "n.csv").exists()


@pytest.mark.parametrize("name", ["e.npz", "e.parquet"])
def test_embeddings_and_nearest_films_go_on_after_a_stop(
    run: Path, labels: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "stretches", lambda *_: repeat(10))
    among = tmp_path / "among.npz"
    infer(options(run, labels, tmp_path / "p.csv", embeddings=among), Recorder())
    whole, again = tmp_path / "whole", tmp_path / "again"
    whole.mkdir()
    again.mkdir()

    def files(folder: Path) -> dict[str, object]:
        return {"out": folder / "p.csv", "embeddings": folder / name, "nearest": folder / "n.csv", "among": among}

    infer(options(run, labels, **files(whole)), Recorder())  # type: ignore[arg-type]
    seen: list[int] = []

    def stopping(*arguments: Any, **settings: Any) -> Any:
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(1)
        return predict(*arguments, **settings)

    with pytest.raises(KeyboardInterrupt), monkeypatch.context() as patched:
        patched.setattr(engine, "predict", stopping)
        infer(options(run, labels, **files(again)), Recorder())  # type: ignore[arg-type]
    assert all(path.name.startswith(".") for path in again.iterdir())
    recorder = Recorder()
    infer(options(run, labels, **files(again)), recorder)  # type: ignore[arg-type]
    assert "Going on after 20 films that were predicted before." in recorder.notes
    for file in ("p.csv", name, "n.csv"):
        assert (again / file).read_bytes() == (whole / file).read_bytes()
    assert sorted(path.name for path in again.iterdir()) == sorted(["p.csv", name, "n.csv"])
