import inspect
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from cxrlt_cli import config, losses, tta
from cxrlt_cli.config import Options, TrainOptions, about, choices, flag, to_yaml
from cxrlt_cli.data import sampling
from cxrlt_cli.nets import heads
from cxrlt_cli.scores import merging
from cxrlt_cli.training import tracking

MODELS = [m for m in vars(config).values() if inspect.isclass(m) and issubclass(m, Options)]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_option_has_help_and_a_panel(model: type[Options]) -> None:
    for name, field in model.model_fields.items():
        assert field.description, name
        assert set(about(model, name)) == {"panel", "argument"}


def test_options_are_frozen_and_closed() -> None:
    options = TrainOptions()
    with pytest.raises(ValidationError):
        options.loss = "bce"
    with pytest.raises(ValidationError):
        TrainOptions.model_validate({"los": "bce"})


def test_the_default_is_the_winners_recipe() -> None:
    """challenge: ConvNeXtV2-Base, 512 px, CSRA, db, cas, 10 + 60 epochs, 1e-3, then 1.5e-4 and 1.5e-5, EMA, clip 1."""
    options = TrainOptions(csv=Path("labels.csv")).resolved()
    assert (options.preset, options.backbone, options.image_size) == ("challenge", "convnextv2_base", 512)
    assert (options.head, options.csra_lambda, options.loss, options.sampler) == ("csra", 0.1, "db", "cas")
    assert (options.warmup_epochs, options.epochs, options.batch_size) == (10, 60, 64)
    assert (options.lr_warmup, options.lr_head, options.lr_backbone) == (1e-3, 1.5e-4, 1.5e-5)
    assert (options.ema_decay, options.clip_grad, options.drop_path, options.weight_decay) == (0.9999, 1.0, 0.2, 0.01)


def test_without_films_the_preset_is_the_phantoms() -> None:
    assert TrainOptions().resolved().preset == "phantom"
    small = TrainOptions(epochs=9).resolved()
    assert (small.backbone, small.weights, small.epochs, small.lr_backbone) == ("convnextv2_atto", "none", 9, 2e-3)
    assert TrainOptions(csv=Path("labels.csv"), preset="phantom").resolved().image_size == small.image_size


def test_from_scratch_the_backbone_learns_as_fast_as_the_head() -> None:
    options = TrainOptions(preset="challenge", weights="none").resolved()
    assert (options.lr_head, options.lr_backbone) == (1e-3, 1e-3)
    assert TrainOptions(preset="challenge", weights="none", lr_backbone=2e-4).resolved().lr_backbone == 2e-4


def test_lists_are_separated_by_commas() -> None:
    assert TrainOptions.model_validate({"findings": "No Finding, Mass"}).findings == ("No Finding", "Mass")
    assert TrainOptions.model_validate({"findings": ["a,b"]}).findings == ("a,b",)
    for wrong in ("a,b,a", "", ","):
        with pytest.raises(ValidationError, match="each once"):
            TrainOptions.model_validate({"findings": wrong})


def test_yaml_asks_for_the_same_again() -> None:
    options = TrainOptions.model_validate(
        {"csv": "a.csv", "findings": "a,b", "exclude": ["x.csv"], "out": "runs/a"}
    ).resolved()
    content = yaml.safe_load(yaml.safe_dump(to_yaml(options)))
    assert "out" not in content
    again = TrainOptions.model_validate(content).resolved()
    here = {"out": None, "csv": Path("a.csv").resolve(), "exclude": (Path("x.csv").resolve(),)}
    assert again == options.model_copy(update=here)


def test_films_are_held_out_or_given() -> None:
    with pytest.raises(ValidationError, match="exclude each other"):
        TrainOptions(val_csv=Path("a.csv"), val_fraction=0.2)
    content = to_yaml(TrainOptions(csv=Path("a.csv"), val_csv=Path("b.csv")).resolved())
    assert TrainOptions.model_validate(content).val_csv == Path("b.csv").resolve()


def test_flags() -> None:
    assert flag(TrainOptions, "image_dir") == "--image-dir"
    assert flag(config.EvaluateOptions, "json_path") == "--json"
    assert flag(config.InferOptions, "checkpoint") == "CHECKPOINT"


@pytest.mark.parametrize(
    ("named", "registry", "contract"),
    [
        (choices.HEADS, heads.HEADS, "linear mlp csra csra-winner mldecoder"),
        (
            choices.LOSSES,
            losses.LOSSES,
            "bce weighted-bce focal cb-focal asl asl-exp ral hill twoway ldam ldam-drw db db-lite mfm",
        ),
        (choices.SAMPLERS, sampling.SAMPLERS, "uniform cas rfs rfs-label-share sqrt progressive"),
        (choices.VIEWS, tta.VIEWS, "none flip light medium heavy flip_scale"),
        (choices.MERGES, merging.MERGES, "mean logit_mean gmean median max rank"),
        (choices.TRACKERS, {**tracking.TRACKERS, "none": None}, "tensorboard wandb mlflow none"),
    ],
    ids=["heads", "losses", "samplers", "views", "merges", "trackers"],
)
def test_what_can_be_chosen_is_what_there_is_and_what_the_contract_names(
    named: Mapping[str, str], registry: Mapping[str, object], contract: str
) -> None:
    assert set(named) == set(registry) == set(contract.split())


def test_choices_of_the_same_words_share_a_line() -> None:
    told = choices.choices_help("What.", {"a": "one.", "b": "two.", "c": "one."})
    assert told == "What.\n\na, c: one.\n\nb: two."


@pytest.mark.parametrize(("model", "given", "said"), [
    (config.InferOptions, {"checkpoint": "m", "decide": "f1"}, "--decisions"),
    (config.InferOptions, {"checkpoint": "m", "normal": "Normal"}, "--postprocess"),
    (config.InferOptions, {"checkpoint": "m", "merge": "max"}, "--tta"),
    (config.EnsembleOptions, {"members": ["m", "n"], "normal": "Normal"}, "--postprocess"),
    (config.OodOptions, {"image_dir": "films"}, "--csv"),
    (config.TrainOptions, {"image_dir": "films"}, "--csv"),
    (config.TrainOptions, {"run_id": "mine"}, "--nodes"),
    (config.FinetuneOptions, {"checkpoint": "m", "lr_warmup": 0.1}, "--warmup-epochs"),
    (config.FinetuneOptions, {"checkpoint": "m", "retrain_head": True, "layer_decay": 0.5}, "--layer-decay"),
    (config.TrainOptions, {"epochs": 0, "average_last": 3}, "--average-last"),
])  # fmt: skip
def test_no_option_is_ignored_in_silence(model: type[Options], given: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        model.model_validate(given)


@pytest.mark.parametrize("options", [
    TrainOptions(csv=Path("labels.csv"), head="linear", warmup_epochs=0),
    TrainOptions(csv=Path("labels.csv"), epochs=0),
    config.FinetuneOptions(csv=Path("labels.csv"), checkpoint=Path("m"), retrain_head=True),
])  # fmt: skip
def test_what_a_run_writes_down_is_taken_again(options: TrainOptions | config.FinetuneOptions) -> None:
    resolved = options.resolved()
    assert type(options).model_validate(to_yaml(resolved)).resolved().loss == resolved.loss
