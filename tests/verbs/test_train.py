import json
import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
import yaml
from pydantic import ValidationError
from sklearn.metrics import average_precision_score

from cxrlt_cli.config import EnsembleOptions, FinetuneOptions, InferOptions, TrainOptions
from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.engine import precision
from cxrlt_cli.engine.predict import predict
from cxrlt_cli.engine.process import Process
from cxrlt_cli.errors import CheckpointError, DataError, OptionError, WorkerError
from cxrlt_cli.losses import Criterion
from cxrlt_cli.nets.checkpoints import Checkpoint
from cxrlt_cli.nets.classifier import Classifier
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.tables.label_table import read_labels
from cxrlt_cli.training import plan
from cxrlt_cli.training import run as shared
from cxrlt_cli.training.learner import Learner
from cxrlt_cli.verbs.finetune import finetune
from cxrlt_cli.verbs.infer import infer
from cxrlt_cli.verbs.train import train
from tests.conftest import run_options
from tests.helpers import FINDINGS, Recorder, ensemble, head_of, write_csv


def history(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def test_a_run_folder_holds_what_the_contract_says(run: Path) -> None:
    epochs = history(run)
    assert [(epoch["phase"], epoch["epoch"]) for epoch in epochs] == [("head", 1), ("all", 1), ("all", 2)]
    metrics = json.loads((run / "metrics.json").read_text())
    best = max(epochs, key=lambda epoch: float(str(epoch["val_ap"])))
    assert metrics["macro"]["ap"] == best["val_ap"]
    assert (metrics["best"]["phase"], metrics["best"]["epoch"]) == (best["phase"], best["epoch"])
    checkpoint = Checkpoint.read(run / "best.safetensors")
    assert checkpoint.findings == FINDINGS
    assert checkpoint.training["val_ap"] == best["val_ap"]
    assert checkpoint.training["weights"] == ("raw" if best["phase"] == "head" else "ema")
    assert set(checkpoint.training["counts"]) == set(FINDINGS)
    assert checkpoint.training["options"]["loss"] == "db"
    assert checkpoint.training["normal"] == "Normal"
    assert (run / "last.safetensors").exists()


def test_corrections_are_kept_in_the_plan_the_run_and_the_checkpoint(labels: Path, tmp_path: Path) -> None:
    table = read_labels(labels)
    place = table.space.findings.index("nodule")
    answers = [(film, "nodule", int(1 - table.targets[row, place])) for row, film in enumerate(table.ids[:3])]
    again = write_csv(tmp_path / "corrections.csv", ["ImageID", "finding", "label"], answers)
    recorder = Recorder()
    train(run_options(labels, tmp_path / "run", corrections=[again], image_size=32, epochs=0), recorder)
    assert "--corrections: 3 labels of 3 films corrected." in recorder.notes
    assert recorder.plans[0]["labels"] == "3 labels of 3 films corrected"
    checkpoint = Checkpoint.read(tmp_path / "run" / "best.safetensors")
    assert checkpoint.policy == "3 labels of 3 films corrected"
    corrected = read_labels(labels).targets[:, place]
    corrected[:3] = 1 - corrected[:3]
    kept = Predictions.read(tmp_path / "run" / "val_predictions.csv").ids
    learned = [film not in set(kept) for film in table.ids]
    assert checkpoint.training["counts"]["nodule"] == int(corrected[learned].sum())
    assert yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())["corrections"] == [str(again)]


def test_the_printed_scores_are_scikit_learns_on_the_written_csv(run: Path, labels: Path) -> None:
    predictions = Predictions.read(run / "val_predictions.csv")
    table = read_labels(labels)
    rows = [table.ids.tolist().index(film) for film in predictions.ids]
    for finding in json.loads((run / "metrics.json").read_text())["findings"]:
        column = FINDINGS.index(finding["name"])
        truth = table.targets[rows, column]
        assert finding["ap"] == average_precision_score(truth, predictions.probabilities[:, column])


def test_made_up_findings_are_learned(labels: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    options = run_options(
        labels, tmp_path / "run", epochs=12, loss="bce", sampler="uniform", head="linear", ema_decay=0
    )
    scores = train(options, recorder)
    assert scores is not None
    auroc = {finding.name: finding.auroc for finding in scores.findings}
    assert auroc["effusion"] is not None
    assert auroc["effusion"] > 0.9
    assert recorder.tables[-1] is scores
    assert len(recorder.epochs) == 13


def test_the_same_seed_gives_the_same_weights(labels: Path, tmp_path: Path, run: Path) -> None:
    train(run_options(labels, tmp_path / "again"), Recorder())
    first, again = (Checkpoint.read(folder / "last.safetensors").tensors for folder in (run, tmp_path / "again"))
    assert all(torch.equal(first[name], again[name]) for name in first)
    train(run_options(labels, tmp_path / "other", seed=1), Recorder())
    other = Checkpoint.read(tmp_path / "other" / "last.safetensors").tensors
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_the_number_of_workers_changes_nothing(labels: Path, tmp_path: Path) -> None:
    """Stochastic depth draws from the global generator; a loader must leave it alone."""
    for workers in (0, 2):
        train(run_options(labels, tmp_path / str(workers), workers=workers, drop_path=0.2), Recorder())
    alone, helped = (Checkpoint.read(tmp_path / name / "last.safetensors").tensors for name in ("0", "2"))
    assert all(torch.equal(alone[name], helped[name]) for name in alone)


def test_a_run_that_never_began_can_be_tried_again(labels: Path, tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match=r"no finite numbers|loss is nan"):
        train(run_options(labels, tmp_path / "run", lr_warmup=1e38, clip_grad=0), Recorder())
    train(run_options(labels, tmp_path / "run", max_steps=1), Recorder())


def test_run_yaml_runs_it_again(run: Path) -> None:
    options = TrainOptions.model_validate(yaml.safe_load((run / "run.yaml").read_text()))
    assert (options.backbone, options.loss, options.lr_backbone, options.out) == ("test_convnext", "db", 1e-3, None)


def test_max_steps_stops_and_still_saves(labels: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    train(run_options(labels, tmp_path / "run", max_steps=2, sampler="uniform"), recorder)
    assert len(recorder.epochs) == 1
    assert recorder.advanced["head 1/1"] == 16
    assert (tmp_path / "run" / "best.safetensors").exists()


def test_a_dry_run_compiles_once_and_waits_for_the_device(labels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Validation is eager, as in a run, and does not take the time of what is still computed."""
    events: list[str] = []

    def looked(*arguments: Any, **settings: Any) -> Any:
        events.append(f"predicts, {torch._dynamo.eval_frame._stance.stance}")
        return predict(*arguments, **settings)

    for module in (shared, precision):
        monkeypatch.setattr(module, "compile_backbone", lambda _: events.append("compiles"))
    monkeypatch.setattr(plan, "predict", looked)
    monkeypatch.setattr(Process, "wait", lambda _: events.append("waits"))
    train(run_options(labels, None, dry_run=True, compile=True), Recorder())
    assert events == ["compiles", "waits", "waits", "predicts, force_eager"]


def test_a_dry_run_says_what_cannot_be_compiled(labels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(model: Classifier) -> None:
        def forward(_: object) -> None:
            raise RuntimeError("no C++ compiler\nand more")

        model.backbone.forward = forward

    monkeypatch.setattr(shared, "compile_backbone", failing)
    with pytest.raises(OptionError, match=r"^--compile: the model cannot be compiled here \(no C\+\+ compiler\)"):
        train(run_options(labels, None, dry_run=True, compile=True), Recorder())


@pytest.mark.parametrize(
    ("changes", "whose"),
    [
        ({"head": "mlp"}, "--head mlp"),
        ({"backbone": "test_resnet", "image_size": 32, "epochs": 1}, "--backbone test_resnet at --image-size 32"),
    ],
)
def test_a_batch_norm_that_would_see_one_film_is_told_before_any_is_read(
    labels: Path, tmp_path: Path, changes: dict[str, Any], whose: str
) -> None:
    csv = Path(shutil.copytree(labels.parent, tmp_path / "set")) / labels.name
    for film in (csv.parent / "images").iterdir():
        film.write_bytes(b"no film")
    alone = {**changes, "batch_size": 1}
    with pytest.raises(OptionError, match=f"^{whose} needs batches of 2 films or more") as caught:
        train(run_options(csv, tmp_path / "run", **alone), Recorder())
    assert caught.value.hint == "Raise --batch-size."
    for fine in ({"batch_size": 2}, {"processes": 2}, *([{"epochs": 0}] if "backbone" in changes else [])):
        with pytest.raises(DataError, match="cannot be read"):
            train(run_options(csv, tmp_path / "run", **{**alone, **fine}), Recorder())


def test_a_dry_run_writes_nothing(labels: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    assert train(run_options(labels, tmp_path / "run", dry_run=True), recorder) is None
    assert not (tmp_path / "run").exists()
    assert "Nothing was written" in recorder.results[0]
    assert recorder.plans[0]["method"] == "loss db, sampler cas"


def test_a_run_is_never_written_over(run: Path, labels: Path) -> None:
    before = (run / "best.safetensors").read_bytes()
    with pytest.raises(OptionError, match="already holds a run"):
        train(run_options(labels, run), Recorder())
    assert (run / "best.safetensors").read_bytes() == before


def test_runs_are_numbered(labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        train(run_options(labels, None, max_steps=1), Recorder())
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["train-1", "train-2"]


def test_without_films_the_way_out_is_told(run: Path) -> None:
    with pytest.raises(OptionError, match="--csv is missing"):
        finetune(FinetuneOptions(checkpoint=run / "best.safetensors"), Recorder())


def finetune_options(run: Path, labels: Path, out: Path, **changes: object) -> FinetuneOptions:
    options = {"checkpoint": run / "best.safetensors", "csv": labels, "out": out, "epochs": 1, "batch_size": 8,
               "val_fraction": 0.3, "workers": 0, "drop_path": 0.0, "device": "cpu", **changes}  # fmt: skip
    return FinetuneOptions.model_validate(options)


def test_finetuning_starts_where_the_checkpoint_stands(run: Path, labels: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    options = finetune_options(run, labels, tmp_path / "two", loss="asl", lr_head=1e-12, lr_backbone=1e-12)
    scores = finetune(options, recorder)
    assert scores is not None
    first = json.loads((run / "metrics.json").read_text())["macro"]["ap"]
    assert scores.macro()["ap"] == pytest.approx(first, abs=1e-3)
    assert not any("scratch" in note or "does not have" in note for note in recorder.notes)
    assert Checkpoint.read(tmp_path / "two" / "best.safetensors").preprocessing.image_size == 64


def test_finetuning_on_other_findings_keeps_what_is_shared(run: Path, labels: Path, tmp_path: Path) -> None:
    table = read_labels(labels)
    rows = [(film, patient, int(row[1]), int(row[2]))
            for film, patient, row in zip(table.ids, table.patients, table.targets, strict=True)]  # fmt: skip
    csv = write_csv(labels.parent / "other.csv", ["ImageID", "PatientID", "effusion", "opacity"], rows)
    recorder = Recorder()
    finetune(finetune_options(run, csv, tmp_path / "two", warmup_epochs=1, epochs=0, head="linear"), recorder)
    assert "New head from scratch: 2 findings, because the head is linear and was csra." in recorder.notes
    finetune(finetune_options(run, csv, tmp_path / "three"), recorder)
    assert "From scratch in the head: opacity." in recorder.notes
    assert "Kept from the checkpoint's head: effusion." in recorder.notes
    assert "Findings of the checkpoint that the CSV does not have: Normal, nodule." in recorder.notes
    assert Checkpoint.read(tmp_path / "three" / "best.safetensors").findings == ("effusion", "opacity")


def test_another_head_brings_its_own_settings(labels: Path, tmp_path: Path) -> None:
    train(run_options(labels, tmp_path / "one", csra_heads=4, max_steps=1), Recorder())
    options = finetune_options(tmp_path / "one", labels, tmp_path / "two", head="mlp", max_steps=1)
    finetune(options, Recorder())
    assert Checkpoint.read(tmp_path / "two" / "best.safetensors").architecture.csra_heads == 1
    with pytest.raises(OptionError, match="--csra-heads has no effect with --head linear"):
        train(run_options(labels, tmp_path / "three", head="linear", csra_heads=4), Recorder())


def test_a_checkpoint_that_is_not_there_is_told(labels: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        finetune(finetune_options(tmp_path, labels, tmp_path / "two"), Recorder())


def test_validation_films_are_those_of_the_split(run: Path, labels: Path) -> None:
    validation = Predictions.read(run / "val_predictions.csv").ids
    assert set(validation) == set(read_labels(labels).split(0.3, 42)[1].ids)
    assert not np.isin(validation, read_labels(labels).split(0.3, 42)[0].ids).any()


def test_a_fresh_head_is_trained_on_a_frozen_backbone(run: Path, labels: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    options = finetune_options(run, labels, tmp_path / "two", retrain_head=True, epochs=2, seed=3)
    finetune(options, recorder)
    before, after = (Checkpoint.read(folder / "best.safetensors") for folder in (run, tmp_path / "two"))
    assert all(torch.equal(before.tensors[n], after.tensors[n]) for n in after.tensors if n.startswith("backbone."))
    assert not torch.equal(before.tensors["head.weight"], after.tensors["head.weight"])
    assert any("Validation AP of the checkpoint before training" in note for note in recorder.notes)
    assert "From scratch in the head: Normal, effusion, nodule." in recorder.notes
    assert [(epoch.phase, epoch.lr_backbone) for epoch in recorder.epochs] == [("retrain", 0.0)] * 2
    with pytest.raises(ValidationError, match="leave --warmup-epochs out"):
        finetune_options(run, labels, tmp_path / "three", retrain_head=True, warmup_epochs=1)


def test_a_short_epoch_is_warned_of(labels: Path, tmp_path: Path) -> None:
    """With one finding, a quarter of its positives make an epoch."""
    recorder = Recorder()
    train(run_options(labels, tmp_path / "run", findings="nodule", dry_run=True), recorder)
    assert any("An epoch of --sampler cas draws 8 films" in warning for warning in recorder.warnings)
    recorder = Recorder()
    longer = {"sampler_options": {"epoch_length": 40}}
    train(run_options(labels, tmp_path / "run", findings="nodule", dry_run=True, **longer), recorder)
    assert not any("An epoch of" in warning for warning in recorder.warnings)


def test_the_better_weights_are_kept_and_named(labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raw weights are spoiled here, so that the smoothed ones are better."""

    def variants(learner: Learner) -> dict[str, Classifier]:
        spoiled = deepcopy(learner._model)
        torch.nn.init.zeros_(head_of(spoiled).classifier.weight)
        return {"raw": spoiled, "ema": learner._model}

    monkeypatch.setattr(Learner, "variants", property(variants))
    recorder = Recorder()
    settings = {"loss": "bce", "sampler": "uniform", "head": "linear", "warmup_epochs": 0, "epochs": 8}
    train(run_options(labels, tmp_path / "run", **settings), recorder)
    best = Checkpoint.read(tmp_path / "run" / "best.safetensors")
    assert best.training["weights"] == recorder.epochs[-1].weights == "ema"
    assert best.tensors["head.classifier.weight"].abs().sum() > 0
    assert [line["weights"] for line in history(tmp_path / "run")] == [epoch.weights for epoch in recorder.epochs]


def test_the_last_epochs_are_averaged_and_every_epoch_is_counted(
    labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``set_epoch`` counts through both phases; averages are taken in the last two epochs of the last one."""
    epochs, averaged = [], []
    monkeypatch.setattr(Criterion, "set_epoch", lambda _, epoch: epochs.append(epoch))
    monkeypatch.setattr(Learner, "average", lambda learner: averaged.append((learner._phase.name, epochs[-1])))
    train(run_options(labels, tmp_path / "run", warmup_epochs=2, epochs=3, average_last=2), Recorder())
    assert epochs == [0, 1, 2, 3, 4]
    assert averaged == [("all", 3), ("all", 4)]


def test_options_of_the_rates_and_of_the_start_reach_the_model(
    labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Learner] = []
    start = Learner.__init__

    def watched(self: Learner, *arguments: Any, **settings: Any) -> None:
        made.append(self)
        model = arguments[0]
        biases.append(head_of(model).bias.detach().clone())
        start(self, *arguments, **settings)

    biases: list[torch.Tensor] = []
    monkeypatch.setattr(Learner, "__init__", watched)
    changes = {"warmup_epochs": 0, "epochs": 1, "layer_decay": 0.5, "prior_bias": True, "loss": "ldam"}
    train(run_options(labels, tmp_path / "run", **changes), Recorder())
    assert len({group["lr"] for group in made[0]._optimizer.param_groups}) > 3
    counts = Checkpoint.read(tmp_path / "run" / "last.safetensors").training
    shares = torch.tensor([counts["counts"][name] / counts["num_labelled"][name] for name in FINDINGS])
    torch.testing.assert_close(biases[0], torch.logit(shares) / 30, rtol=1e-4, atol=1e-5)


def test_ldam_gives_probabilities_of_scaled_logits(labels: Path, tmp_path: Path) -> None:
    def scale_of(folder: str) -> float:
        return Checkpoint.read(tmp_path / folder / "best.safetensors").architecture.logit_scale

    train(run_options(labels, tmp_path / "run", loss="ldam-drw", loss_options={"scale": 20}), Recorder())
    assert scale_of("run") == 20
    assert Predictions.read(tmp_path / "run" / "val_predictions.csv").probabilities.std() > 0.2
    finetune(finetune_options(tmp_path / "run", labels, tmp_path / "kept", loss="bce"), Recorder())
    assert scale_of("kept") == 20
    changes: dict[str, dict[str, object]] = {
        "retrained": {"retrain_head": True},
        "wider": {"csra_heads": 4},
        "other": {"head": "mlp"},
    }
    for name, fresh in changes.items():
        finetune(finetune_options(tmp_path / "run", labels, tmp_path / name, loss="bce", **fresh), Recorder())
        assert scale_of(name) == 1, name
    with pytest.raises(OptionError, match="scaled by 20 already"):
        options = finetune_options(tmp_path / "run", labels, tmp_path / "x", loss="ldam", loss_options={"scale": 10})
        finetune(options, Recorder())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss_options": "gamma=2"}, "Loss db has no setting gamma"),
        ({"sampler": "rfs", "sampler_options": "reduce=2"}, "Sampler rfs has no setting reduce"),
        ({"loss": "ldam-drw", "max_steps": 2}, "--loss ldam-drw changes as epochs go by"),
        ({"sampler": "progressive", "max_steps": 2}, "--sampler progressive changes as epochs go by"),
        ({"loss": "ldam", "loss_options": "scale=abc"}, "scale=abc is no factor"),
        ({"loss": "ldam", "loss_options": "max_margin=abc"}, "max_margin is 'abc'"),
        ({"sampler_options": "negative_share=1.5"}, "negative_share is 1.5"),
        ({"sampler_options": "repeat_cap=1,epoch_length=1000"}, "repeat_cap 1 leaves fewer draws"),
    ],
)
def test_settings_are_checked_before_films_are_read(
    labels: Path, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    recorder = Recorder()
    with pytest.raises(OptionError, match=message):
        train(run_options(labels, tmp_path / "run", **changes), recorder)
    assert "Checking films" not in recorder.advanced


@pytest.mark.parametrize("loss", get_args(TrainOptions.model_fields["loss"].annotation))
def test_every_loss_trains(labels: Path, tmp_path: Path, loss: str) -> None:
    sampler = {"bce": "rfs", "focal": "sqrt", "asl": "progressive", "mfm": "rfs-label-share"}.get(loss, "cas")
    head = {"asl": "mldecoder", "hill": "csra-winner"}.get(loss, "csra")
    options = {"loss": loss, "sampler": sampler, "head": head, "warmup_epochs": 0, "epochs": 1, "prior_bias": True}
    scores = train(run_options(labels, tmp_path / "run", layer_decay=0.7, **options), Recorder())
    assert scores is not None
    assert scores.macro()["ap"] is not None


def test_films_that_are_no_squares_are_learned_and_predicted_alike(labels: Path, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"image_size": "96x64", "fit": "pad", "epochs": 1}
    train(run_options(labels, tmp_path / "run", cache=tmp_path / "cache", **changes), Recorder())
    checkpoint = Checkpoint.read(tmp_path / "run" / "best.safetensors")
    assert checkpoint.preprocessing == Preprocessing((96, 64), fit="pad")
    validation = Predictions.read(tmp_path / "run" / "val_predictions.csv")
    local = {"csv": labels, "device": "cpu", "workers": 0}
    views = {"members": [tmp_path / "run"], "tta": "flip_scale", "out": tmp_path / "p.csv", **local}
    ensemble(EnsembleOptions.model_validate(views), Recorder())
    infer(InferOptions.model_validate({"checkpoint": tmp_path / "run", "out": tmp_path / "q.csv", **local}), Recorder())
    again = Predictions.read(tmp_path / "q.csv").select(validation.findings).rows(list(validation.ids))
    np.testing.assert_allclose(again.probabilities, validation.probabilities, atol=1e-6)
    given = {"checkpoint": tmp_path / "run", "csv": labels, "out": tmp_path / "more", "epochs": 1, "device": "cpu",
             "workers": 0, "batch_size": 8, "track": "none", "val_fraction": 0.3, "image_size": "64x96"}  # fmt: skip
    finetune(FinetuneOptions.model_validate(given), Recorder())
    assert Checkpoint.read(tmp_path / "more" / "best.safetensors").preprocessing == Preprocessing((64, 96), fit="pad")
