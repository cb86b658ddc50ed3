"""``--frozen``: the head learns from features that are computed once, just as it would from the films themselves."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cxrlt_cli.cli.options import build, read_config
from cxrlt_cli.config import FinetuneOptions, FitOptions, InferOptions, TrainOptions
from cxrlt_cli.data.augment import Augmentation
from cxrlt_cli.data.feature_maps import NUM_VIEWS, seed_of
from cxrlt_cli.data.loading import Draw, Sample, Samples
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporter import Reporter
from cxrlt_cli.errors import DataError, OptionError, WorkerError
from cxrlt_cli.nets import frozen
from cxrlt_cli.nets.checkpoints import Checkpoint
from cxrlt_cli.nets.classifier import Classifier
from cxrlt_cli.nets.heads import HEADS
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.training import run as run_module
from cxrlt_cli.training import seen
from cxrlt_cli.training.resume import ResumeFile
from cxrlt_cli.training.seen import Images
from cxrlt_cli.verbs.finetune import finetune
from cxrlt_cli.verbs.infer import infer
from cxrlt_cli.verbs.train import train
from tests.conftest import run_options
from tests.helpers import Recorder, make_films


def options(csv: Path, out: Path, **changes: Any) -> TrainOptions:
    given = run_options(csv, out, image_size=32, epochs=3).model_dump(exclude_unset=True, by_alias=True)
    of_all = {name: value for name, value in given.items() if name not in ("warmup_epochs", "drop_path")}
    if "folds" in changes:
        del of_all["val_fraction"]
    return TrainOptions.model_validate({**of_all, "frozen": True, **changes})


class Uncached(Images):
    """The same views of films, through the frozen backbone again and again."""

    def __init__(self, whole: Classifier, options: FitOptions, process: Process, reporter: Reporter) -> None:
        super().__init__(whole, options, reporter)

    def augmented(self, paths: Sequence[Path]) -> Samples:
        return Views(super().plain(paths), paths)


class Views:
    def __init__(self, films: Samples, paths: Sequence[Path]) -> None:
        self.films, self.paths, self.augmentation = films, paths, Augmentation()

    def __len__(self) -> int:
        return len(self.films)

    def __getitem__(self, draw: Draw) -> Sample:
        index, film = self.films[draw]
        assert isinstance(film, tuple)
        if view := draw[1] % NUM_VIEWS:
            path = self.paths[index]
            return index, (torch.from_numpy(self.augmentation(film[0][0].numpy(), seed_of(path, view)))[None],)
        return index, film


@pytest.mark.parametrize("head", HEADS)
def test_a_head_learns_what_it_would_from_the_films(
    head: str, labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(options(labels, tmp_path / "kept", head=head), Recorder())
    monkeypatch.setattr(run_module, "FrozenFeatures", Uncached)
    train(options(labels, tmp_path / "again", head=head), Recorder())
    one, other = (Checkpoint.read(tmp_path / name / "last.safetensors") for name in ("kept", "again"))
    assert one.tensors.keys() == other.tensors.keys()
    for name, tensor in one.tensors.items():
        if name.startswith("backbone."):
            assert torch.equal(tensor, other.tensors[name])
    first, second = (
        Predictions.read(tmp_path / name / "val_predictions.csv").probabilities for name in ("kept", "again")
    )
    np.testing.assert_allclose(first, second, atol=2e-3)  # features are kept in float16
    assert np.ptp(first) > 0.02, "something was learned"


def test_what_it_leaves_is_a_checkpoint_like_any_other(labels: Path, tmp_path: Path) -> None:
    train(options(labels, tmp_path / "run"), Recorder())
    validation = Predictions.read(tmp_path / "run" / "val_predictions.csv")
    infer(
        InferOptions(checkpoint=tmp_path / "run", csv=labels, out=tmp_path / "p.csv", device="cpu", workers=0,
                     ood_score=True),
        Recorder(),
    )  # fmt: skip
    again = Predictions.read(tmp_path / "p.csv").select(validation.findings).rows(list(validation.ids))
    np.testing.assert_allclose(again.probabilities, validation.probabilities, atol=2e-3)


def counted_encodings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many films have gone through a backbone, view by view."""
    numbers: list[int] = []
    features = frozen.features

    def counting(whole: Classifier, films: torch.Tensor) -> torch.Tensor:
        numbers.append(len(films))
        return features(whole, films)

    monkeypatch.setattr(seen, "features", counting)
    return numbers


def test_films_go_through_the_backbone_once_whatever_learns_from_them(
    labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, numbers, recorder = tmp_path / "features", counted_encodings(monkeypatch), Recorder()
    train(options(labels, tmp_path / "a", head="csra", features=kept, folds=3), recorder)
    assert sum(numbers) == 48 * NUM_VIEWS + 3  # a made-up film for each member tells the shape
    del numbers[:]
    train(options(labels, tmp_path / "b", features=kept, head="mldecoder", loss="bce"), recorder)
    train(options(labels, tmp_path / "c", features=kept, head="csra", sampler="uniform"), recorder)
    assert sum(numbers) == 2
    assert f"--features {kept} has 48 films already." in recorder.notes


def test_another_backbone_or_a_head_that_averages_wants_a_folder_of_its_own(labels: Path, tmp_path: Path) -> None:
    kept = tmp_path / "features"
    train(options(labels, tmp_path / "a", head="csra", features=kept), Recorder())
    for changes in ({"head": "linear"}, {"head": "csra", "seed": 1}, {"head": "csra", "image_size": 64}):
        with pytest.raises(OptionError, match="keeps features of another recipe"):
            given = options(labels, tmp_path / "b", features=kept).model_dump(exclude_unset=True, by_alias=True)
            train(TrainOptions.model_validate({**given, **changes}), Recorder())
    assert not (tmp_path / "b" / "best.safetensors").exists()


def test_damaged_features_are_computed_again(labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, recorder = tmp_path / "features", Recorder()
    train(options(labels, tmp_path / "a", features=kept), Recorder())
    data = bytearray((kept / "features.f16").read_bytes())
    data[100] ^= 1
    (kept / "features.f16").write_bytes(data)
    numbers = counted_encodings(monkeypatch)
    train(options(labels, tmp_path / "b", features=kept), recorder)
    assert sum(numbers) == 1 + NUM_VIEWS
    told = "1 view of films damaged; computed again."
    assert [warning.endswith(told) for warning in recorder.warnings].count(True) == 1
    train(options(labels, tmp_path / "c", features=kept), recorder)
    assert [warning.endswith(told) for warning in recorder.warnings].count(True) == 1
    assert _equal(tmp_path / "a", tmp_path / "b")


def _equal(one: Path, other: Path) -> bool:
    first, second = (Checkpoint.read(path / "best.safetensors").tensors for path in (one, other))
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_a_film_that_has_changed_is_encoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels, kept = make_films(tmp_path / "set"), tmp_path / "features"
    train(options(labels, tmp_path / "a", features=kept), Recorder())
    first = sorted((labels.parent / "images").iterdir())[0]
    second = sorted((labels.parent / "images").iterdir())[1]
    first.write_bytes(second.read_bytes())
    numbers = counted_encodings(monkeypatch)
    train(options(labels, tmp_path / "b", features=kept), Recorder())
    assert sum(numbers) == 1 + NUM_VIEWS


def test_films_that_cannot_be_read_are_named_and_the_others_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels, kept = make_films(tmp_path / "set"), tmp_path / "features"
    films = sorted((labels.parent / "images").iterdir())
    whole = films[3].read_bytes()
    films[3].write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=films[3].name):
        train(options(labels, tmp_path / "a", features=kept), Recorder())
    films[3].write_bytes(whole)
    numbers = counted_encodings(monkeypatch)
    train(options(labels, tmp_path / "b", features=kept), Recorder())
    assert sum(numbers) == 1 + NUM_VIEWS


@pytest.mark.parametrize("batch_size", [1, 8])
def test_a_batch_of_films_none_of_which_can_be_read_is_told(batch_size: int, tmp_path: Path) -> None:
    labels = make_films(tmp_path / "set")
    films = sorted((labels.parent / "images").iterdir())
    for film in films[:16]:
        film.write_bytes(film.read_bytes()[:100])
    with pytest.raises(DataError, match="16 of 48 films cannot be read"):
        train(options(labels, tmp_path / "a", batch_size=batch_size), Recorder())


@pytest.mark.soak
def test_two_processes_share_the_films_and_learn_the_same(labels: Path, tmp_path: Path) -> None:
    for number in (1, 2):
        given = options(labels, tmp_path / str(number), processes=number, batch_size=8 // number, precision="fp32")
        train(given, Recorder())
    one, two = (Predictions.read(tmp_path / name / "val_predictions.csv").probabilities for name in ("1", "2"))
    np.testing.assert_allclose(one, two, atol=5e-3)


def test_features_that_float16_cannot_hold_are_an_error(
    labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen, "features", lambda whole, films: torch.full((len(films), 4, 1, 1), 1e6))
    with pytest.raises(WorkerError, match="too large for float16"):
        train(options(labels, tmp_path / "a"), Recorder())


def test_a_run_goes_on_where_it_was_stopped(labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(options(labels, tmp_path / "whole"), Recorder())
    due = ResumeFile.due
    asked: list[int] = []

    def stops(self: ResumeFile) -> Any:
        asked.append(1)
        return "stop" if len(asked) == 4 else due(self)

    monkeypatch.setattr(ResumeFile, "due", stops)
    with pytest.raises(SystemExit):
        train(options(labels, tmp_path / "part"), Recorder())
    train(options(labels, tmp_path / "part", resume=True), Recorder())
    assert _equal(tmp_path / "whole", tmp_path / "part")


def test_a_dry_run_writes_nothing(labels: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    assert train(options(labels, tmp_path / "run", dry_run=True), recorder) is None
    assert not (tmp_path / "run").exists()
    assert any("features of all films take about" in result for result in recorder.results)


def test_a_checkpoint_can_be_frozen_too(run: Path, labels: Path, tmp_path: Path) -> None:
    before = Checkpoint.read(run / "best.safetensors")
    given = {"checkpoint": run, "csv": labels, "out": tmp_path / "run", "frozen": True, "retrain_head": True,
             "epochs": 1, "device": "cpu", "workers": 0, "batch_size": 8, "track": "none",
             "val_fraction": 0.3}  # fmt: skip
    finetune(FinetuneOptions.model_validate(given), Recorder())
    after = Checkpoint.read(tmp_path / "run" / "best.safetensors")
    for name, tensor in before.tensors.items():
        assert torch.equal(tensor, after.tensors[name]) == name.startswith("backbone.")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"features": "f"}, "pass --frozen too"),
        ({"frozen": True, "warmup_epochs": 3}, "leave --warmup-epochs out"),
        ({"frozen": True, "lr_backbone": 1e-4}, "leave --lr-backbone out"),
        ({"frozen": True, "epochs": 0}, "nothing to train"),
    ],
)
def test_options_that_do_not_go_with_it(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TrainOptions.model_validate({"csv": "labels.csv", **given})


def test_a_checkpoint_whose_head_wants_more_than_is_kept_is_not_scored(run: Path, labels: Path, tmp_path: Path) -> None:
    """csra looks at maps, linear at their means: of those alone csra would say something else."""
    scored = {}
    for head in ("csra", "linear"):
        recorder = Recorder()
        given = {"checkpoint": run, "csv": labels, "out": tmp_path / head, "frozen": True, "retrain_head": True,
                 "head": head, "epochs": 1, "device": "cpu", "workers": 0, "batch_size": 8,
                 "track": "none"}  # fmt: skip
        finetune(FinetuneOptions.model_validate(given), recorder)
        scored[head] = any("Validation AP of the checkpoint" in note for note in recorder.notes)
    assert scored == {"csra": True, "linear": False}


def test_a_finished_run_computes_nothing_again(labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(options(labels, tmp_path / "run"), Recorder())
    shutil.rmtree(tmp_path / "run" / "features")
    numbers, recorder = counted_encodings(monkeypatch), Recorder()
    train(options(labels, tmp_path / "run", resume=True), recorder)
    assert sum(numbers) == 1
    assert any("is finished" in result for result in recorder.results)


def test_a_backbone_without_stochastic_depth_can_be_frozen(labels: Path, tmp_path: Path) -> None:
    train(options(labels, tmp_path / "run", backbone="densenet121", epochs=1), Recorder())
    again = read_config(TrainOptions, tmp_path / "run" / "run.yaml")
    assert build(TrainOptions, {"out": tmp_path / "more"}, again).frozen
