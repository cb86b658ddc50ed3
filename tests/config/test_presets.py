"""``--preset``: what each fills in, that what is typed wins, and that nothing typed is contradicted."""

from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from cxrlt_cli.cli.options import build, read_config
from cxrlt_cli.config import PRESETS, FinetuneOptions, TrainOptions, to_yaml
from cxrlt_cli.config.presets import PRESET_HELP, Preset
from cxrlt_cli.losses import settings_of


def train(**given: Any) -> TrainOptions:
    return TrainOptions.model_validate({"csv": "labels.csv", **given}).resolved()


def finetune(**given: Any) -> FinetuneOptions:
    return FinetuneOptions.model_validate({"csv": "labels.csv", "checkpoint": "m", **given}).resolved()


def test_every_preset_has_values_and_a_line_of_help() -> None:
    assert set(get_args(Preset)) == set(PRESETS) == set(PRESET_HELP)
    known = set(TrainOptions.model_fields)
    assert all(set(values) <= known for values in PRESETS.values())


def test_stage_1_is_as_published() -> None:
    """Head at 1e-3 for 3 epochs, then 1e-4 and 1e-5; asl (4, 0, .05) with tau 1 on plainly shuffled films."""
    options = train(preset="stage1")
    assert (options.head, options.loss, options.logit_adjust, options.sampler) == ("mlp", "asl", 1.0, "uniform")
    assert (options.warmup_epochs, options.lr_warmup) == (3, 1e-3)
    assert (options.lr_head, options.lr_backbone, options.ema_decay) == (1e-4, 1e-5, 0.9999)
    settings = settings_of("asl")
    assert (settings["gamma_neg"], settings["gamma_pos"], settings["clip"]) == (4, 0, 0.05)


def test_what_both_stages_share_is_as_published() -> None:
    for options in (train(preset="stage1"), finetune(preset="challenge")):
        assert (options.batch_size, options.clip_grad, options.drop_path, options.seed) == (64, 1.0, 0.2, 42)
        assert (options.weight_decay, options.ema_decay, options.val_fraction) == (0.01, 0.9999, 0.1)


def test_the_winners_second_stage_without_its_first() -> None:
    options = train(preset="challenge")
    assert (options.backbone, options.image_size, options.csra_lambda) == ("convnextv2_base", 512, 0.1)
    assert (options.head, options.loss, options.sampler) == ("csra", "db", "cas")
    assert (options.warmup_epochs, options.epochs, options.lr_head, options.lr_backbone) == (10, 60, 1.5e-4, 1.5e-5)


def test_finetune_goes_on_as_the_winner_did() -> None:
    options = finetune(preset="challenge")
    assert (options.head, options.loss, options.sampler) == ("csra", "db", "cas")
    assert (options.warmup_epochs, options.epochs) == (10, 60)
    assert (options.lr_warmup, options.lr_head, options.lr_backbone) == (1e-3, 1.5e-4, 1.5e-5)


@pytest.mark.parametrize("preset", [name for name in PRESETS if name != "auto"])
def test_what_is_typed_wins(preset: str) -> None:
    for name, value in {"head": "mldecoder", "loss": "hill", "sampler": "sqrt", "warmup_epochs": 1}.items():
        assert getattr(train(preset=preset, **{name: value}), name) == value


def test_no_preset_contradicts_what_is_typed() -> None:
    assert train(preset="stage1", prior_bias=True).logit_adjust == 0
    assert train(preset="stage1", prior_bias=False).logit_adjust == 1
    options = finetune(preset="challenge", retrain_head=True, epochs=4)
    assert (options.warmup_epochs, options.epochs) == (0, 4)


@pytest.mark.parametrize("preset", ["plain", "stage1"])
def test_an_option_of_csra_takes_csra(preset: str) -> None:
    assert train(preset=preset, csra_heads=2).head == train(preset=preset, csra_lambda=0.2).head == "csra"
    assert finetune(preset="plain", csra_heads=2).head is None, "the checkpoint's"


def test_another_loss_is_adjusted_as_well() -> None:
    """A preset fills in option by option; the plan tells of both."""
    options = train(preset="stage1", loss="ldam")
    assert (options.loss, options.logit_adjust) == ("ldam", 1.0)


def test_rates_for_weights_that_have_learned_are_not_taken_from_scratch() -> None:
    options = train(preset="stage1", weights="none")
    assert (options.lr_head, options.lr_backbone) == (1e-3, 1e-3)
    assert train(preset="stage1", weights="none", lr_backbone=1e-5).lr_backbone == 1e-5
    assert train(preset="phantom", weights="none").lr_backbone == 2e-3


def test_phases_are_checked_with_those_of_the_preset() -> None:
    assert finetune(preset="challenge", lr_warmup=2e-3).warmup_epochs == 10
    assert finetune(preset="challenge", epochs=0).warmup_epochs == 10
    with pytest.raises(ValueError, match="--lr-warmup is for phase 1"):
        finetune(lr_warmup=2e-3)
    with pytest.raises(ValueError, match="--lr-warmup is for phase 1"):
        train(preset="phantom", lr_warmup=2e-3)
    with pytest.raises(ValueError, match="nothing to train"):
        train(preset="phantom", epochs=0)
    with pytest.raises(ValueError, match="nothing to train"):
        TrainOptions(epochs=0)  # without --csv: phantoms


@pytest.mark.parametrize("preset", list(PRESETS))
def test_what_is_written_down_asks_for_the_same_again(preset: str, tmp_path: Path) -> None:
    options = train(preset=preset)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(to_yaml(options)))
    assert build(TrainOptions, {}, read_config(TrainOptions, tmp_path / "run.yaml")).resolved().model_dump() == {
        **options.model_dump(), "csv": Path("labels.csv").resolve()
    }  # fmt: skip


@pytest.mark.parametrize("preset", get_args(FinetuneOptions.model_fields["preset"].annotation))
def test_what_finetune_writes_down_asks_for_the_same_again(preset: str, tmp_path: Path) -> None:
    options = finetune(preset=preset, epochs=3)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(to_yaml(options)))
    again = build(FinetuneOptions, {}, read_config(FinetuneOptions, tmp_path / "run.yaml")).resolved()
    assert again.model_dump(exclude={"csv", "checkpoint"}) == options.model_dump(exclude={"csv", "checkpoint"})
