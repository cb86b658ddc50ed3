"""``--preset auto``: what it takes, what it leaves, and that it is told and written down."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from cxrlt_cli.cli.options import build, read_config
from cxrlt_cli.config import FinetuneOptions, TrainOptions
from cxrlt_cli.engine.films import Division, LabelledFilms
from cxrlt_cli.labels import LabelSpace
from cxrlt_cli.nets.checkpoints import Checkpoint
from cxrlt_cli.scores.metrics import prevalence
from cxrlt_cli.tables.label_table import LabelTable
from cxrlt_cli.training.recipe import MANY_FILMS, Look, choices, with_recipe
from cxrlt_cli.verbs.finetune import finetune
from cxrlt_cli.verbs.train import train
from tests.conftest import run_options
from tests.helpers import Recorder

METHOD = ("head", "loss", "sampler", "prior_bias")
AUTO = {"head": "linear", "loss": "bce", "sampler": "uniform", "epochs": 12, "prior_bias": True}
MANY = {name: value for name, value in AUTO.items() if name != "epochs"}


def auto(**given: Any) -> TrainOptions:
    return TrainOptions.model_validate({"csv": "labels.csv", **given}).resolved()


def look(imbalance: float = 10, num_films: int = 711) -> Look:
    return Look(num_films, num_films, 400, ("effusion", round(3 * imbalance)), ("hernia", 3))


def taken(
    options: TrainOptions | FinetuneOptions, *, fresh_head: bool = True, at: Look | None = None
) -> dict[str, Any]:
    return {choice.option: choice.value for choice in choices(options, fresh_head, at or look())}


def division(*targets: list[float], learned: float = 1) -> Division:
    """Of films by row, the first ``learned`` of which are learned from; the first finding is the normal."""
    names = ("Normal", *(f"finding {number}" for number in range(1, len(targets[0]))))
    ids = np.array([f"film {number}" for number in range(len(targets))], object)
    table = LabelTable(ids, ids, np.array(targets, np.float32), LabelSpace(names, "Normal"))
    films, half = LabelledFilms(table, [Path(name) for name in ids]), np.arange(len(ids)) < learned * len(ids)
    pairs = ((films.rows(half), films.rows(~half)), (films.rows(~half), films.rows(half)))
    return Division(pairs if learned < 1 else ((films, films),), table, prevalence(table.targets))


def test_what_is_taken_where_nothing_is_typed() -> None:
    assert taken(auto()) == AUTO


@pytest.mark.parametrize("num_films", [MANY_FILMS, 100_000])
def test_of_many_films_findings_are_drawn_alike(num_films: int) -> None:
    """In epochs of as many films."""
    many = look(10, num_films)
    assert taken(auto(), at=many) == {**MANY, "sampler": "cas", "sampler_options": {"epoch_length": num_films}}
    for typed in ("uniform", "cas"):
        assert taken(auto(sampler=typed), at=many) == {k: v for k, v in MANY.items() if k != "sampler"}


def test_few_films_are_drawn_as_they_are() -> None:
    assert taken(auto(), at=look(1000, MANY_FILMS - 1)) == AUTO


def test_the_look_is_at_findings_that_are_there() -> None:
    seen = Look.at(division([1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 1, 0], [0, 1, 0, np.nan]))
    assert (seen.most, seen.least, seen.imbalance) == (("finding 1", 2), ("finding 2", 1), 2)
    assert str(seen) == "5 films of 5 patients; 2 with finding 1, 1 with finding 2: 2 to 1"
    assert Look.at(division([1, 0], [0, 0])).imbalance == 1


def test_the_samplers_options_are_told_as_they_are_typed() -> None:
    recorder = Recorder()
    targets = [[0.0, 1.0, 0.0]] * (MANY_FILMS - 1) + [[0.0, 0.0, 1.0]]
    options = with_recipe(auto(), division(*targets), recorder)
    assert (options.sampler, options.sampler_options) == ("cas", {"epoch_length": MANY_FILMS})
    folds = with_recipe(auto(), division(*targets, *targets, learned=0.5), Recorder())
    assert folds.sampler_options == {"epoch_length": MANY_FILMS}, "as many as a member learns from"
    assert with_recipe(auto(), division(*targets, *targets[1:], learned=0.5), Recorder()).sampler == "uniform"
    assert any(f"--sampler-options epoch_length={MANY_FILMS}: " in note for note in recorder.notes)
    assert f"{MANY_FILMS - 1:,} to 1" in recorder.notes[0]


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ({"head": "csra"}, {"head"}),
        ({"csra_heads": 2}, {"head"}),
        ({"csra_lambda": 0.2}, {"head"}),
        ({"sampler": "cas"}, {"sampler"}),
        ({"loss": "bce"}, {"loss"}),
        ({"loss": "db"}, {"loss", "prior_bias"}),  # a bias was measured with bce alone
        ({"prior_bias": False}, {"prior_bias"}),
        ({"epochs": 60}, {"epochs"}),
        ({"patience": 3}, {"epochs"}),
        ({"weights": "none"}, {"epochs"}),  # measured from pretrained weights
        ({"frozen": True}, {"epochs"}),
        ({"logit_adjust": 1.0}, {"prior_bias"}),  # which puts the shares into the logits itself
    ],
)
def test_what_is_typed_stays(given: dict[str, Any], left: set[str]) -> None:
    assert taken(auto(**given)) == {name: value for name, value in AUTO.items() if name not in left}


def test_the_head_of_a_checkpoint_stays_and_with_it_its_bias() -> None:
    options = FinetuneOptions.model_validate({"checkpoint": "m", "csv": "labels.csv"}).resolved()
    assert taken(options, fresh_head=False) == {"loss": "bce", "sampler": "uniform"}
    assert taken(options, fresh_head=True) == {"loss": "bce", "sampler": "uniform", "prior_bias": True}


@pytest.mark.parametrize("preset", ["challenge", "plain", "stage1", "phantom"])
def test_other_presets_are_what_they_say(preset: str) -> None:
    options, recorder = auto(preset=preset), Recorder()
    assert with_recipe(options, division([1, 0], [0, 1]), recorder) is options
    assert recorder.notes == []


def test_each_choice_is_told_with_its_reason_and_written_down(labels: Path, tmp_path: Path) -> None:
    """``run.yaml`` asks for the same again, whatever rules a later version has."""
    given = run_options(labels, tmp_path / "run", image_size=32).model_dump(exclude_unset=True, by_alias=True)
    recorder = Recorder()
    train(TrainOptions.model_validate({**given, "preset": "auto"} | {"epochs": 1}), recorder)
    written = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())
    assert {name.replace("-", "_"): written[name] for name in written if name.replace("-", "_") in METHOD} == MANY
    for choice in choices(auto(weights="none"), True, look()):
        assert any(str(choice) in note for note in recorder.notes)
    assert Checkpoint.read(tmp_path / "run" / "best.safetensors").architecture.head == "linear"
    again = build(TrainOptions, {}, read_config(TrainOptions, tmp_path / "run" / "run.yaml")).resolved()
    assert taken(again) == {}


def test_finetuning_takes_the_recipe_too(run: Path, labels: Path, tmp_path: Path) -> None:
    given = {"checkpoint": run, "csv": labels, "out": tmp_path / "run", "epochs": 1, "device": "cpu", "workers": 0}
    finetune(FinetuneOptions.model_validate({**given, "batch_size": 8, "track": "none"}), Recorder())
    written = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())
    assert (written["loss"], written["sampler"], written["preset"]) == ("bce", "uniform", "auto")
    assert Checkpoint.read(tmp_path / "run" / "best.safetensors").architecture.head == "csra"


def test_another_preset_wins_over_a_file_that_names_every_option(labels: Path, tmp_path: Path) -> None:
    given = run_options(labels, tmp_path / "run", image_size=32, epochs=1).model_dump(exclude_unset=True, by_alias=True)
    train(TrainOptions.model_validate({**given, "preset": "auto"}), Recorder())
    written = read_config(TrainOptions, tmp_path / "run" / "run.yaml")
    options = build(TrainOptions, {"preset": "challenge"}, written).resolved()
    assert (options.head, options.loss, options.sampler, options.prior_bias) == ("csra", "db", "cas", None)
    assert (options.backbone, options.image_size) == ("test_convnext", 32)


def test_what_a_file_says_without_a_preset_stays() -> None:
    options = build(TrainOptions, {"preset": "challenge"}, {"csv": "labels.csv", "loss": "asl"}).resolved()
    assert (options.loss, options.sampler) == ("asl", "cas")


def test_new_findings_start_at_their_share_unless_that_is_not_wanted(labels: Path, tmp_path: Path) -> None:
    given = run_options(labels, tmp_path / "run", image_size=32, epochs=1).model_dump(exclude_unset=True, by_alias=True)
    train(TrainOptions.model_validate({**given, "preset": "auto", "findings": "nodule"}), Recorder())
    start = {"checkpoint": tmp_path / "run", "csv": labels, "epochs": 1, "batch_size": 8, "device": "cpu", "workers": 0,
             "track": "none", "lr_head": 1e-30, "lr_backbone": 1e-30, "ema_decay": 0}  # fmt: skip
    biases = {}
    changes: dict[str, Any]
    for name, changes in (("auto", {}), ("no", {"prior_bias": False}), ("tau", {"logit_adjust": 1.0})):
        options = FinetuneOptions.model_validate({**start, "out": tmp_path / name, **changes})
        finetune(options, Recorder())
        checkpoint = Checkpoint.read(tmp_path / name / "best.safetensors")
        tensors = checkpoint.tensors["head.classifier.bias"]
        biases[name] = float(tensors[checkpoint.findings.index("effusion")])
    assert biases["auto"] < -0.2, "the log odds of its share"
    assert abs(biases["no"]) < 0.1
    assert abs(biases["tau"]) < 0.1


def test_few_films_are_those_that_a_member_learns_from() -> None:
    """Of --folds 2, a half."""
    half = replace(look(10, 2 * MANY_FILMS - 2), num_learned=MANY_FILMS - 1)
    assert taken(auto(), at=half) == AUTO
    assert "epochs" not in taken(auto(), at=replace(half, num_learned=MANY_FILMS))
