from pathlib import Path

import pytest
from pydantic import ValidationError

from cxrlt_cli import config
from cxrlt_cli.config import TrainOptions, to_yaml


def test_challenge_is_the_winners_recipe() -> None:
    """challenge: ConvNeXtV2-Base, 512 px, CSRA, db, cas, 10 + 60 epochs, 1e-3, then 1.5e-4 and 1.5e-5, EMA, clip 1."""
    options = TrainOptions(csv=Path("labels.csv"), preset="challenge").resolved()
    assert (options.preset, options.backbone, options.image_size) == ("challenge", "convnextv2_base", 512)
    assert (options.head, options.csra_lambda, options.loss, options.sampler) == ("csra", 0.1, "db", "cas")
    assert (options.warmup_epochs, options.epochs, options.batch_size) == (10, 60, 64)
    assert (options.lr_warmup, options.lr_head, options.lr_backbone) == (1e-3, 1.5e-4, 1.5e-5)
    assert (options.ema_decay, options.clip_grad, options.drop_path, options.weight_decay) == (0.9999, 1.0, 0.2, 0.01)


def test_with_films_the_preset_is_chosen_by_them() -> None:
    options = TrainOptions(csv=Path("labels.csv")).resolved()
    assert (options.preset, options.backbone, options.image_size) == ("auto", "convnextv2_base", 512)


def test_without_films_the_preset_is_the_phantoms() -> None:
    assert TrainOptions().resolved().preset == "phantom"
    small = TrainOptions(epochs=9).resolved()
    assert (small.backbone, small.weights, small.epochs, small.lr_backbone) == ("convnextv2_atto", "none", 9, 2e-3)
    assert TrainOptions(csv=Path("labels.csv"), preset="phantom").resolved().image_size == small.image_size


def test_from_scratch_the_backbone_learns_as_fast_as_the_head() -> None:
    options = TrainOptions(preset="challenge", weights="none").resolved()
    assert (options.lr_head, options.lr_backbone) == (1e-3, 1e-3)
    assert TrainOptions(preset="challenge", weights="none", lr_backbone=2e-4).resolved().lr_backbone == 2e-4


def test_films_are_held_out_or_given() -> None:
    with pytest.raises(ValidationError, match="exclude each other"):
        TrainOptions(val_csv=Path("a.csv"), val_fraction=0.2)
    content = to_yaml(TrainOptions(csv=Path("a.csv"), val_csv=Path("b.csv")).resolved())
    assert TrainOptions.model_validate(content).val_csv == Path("b.csv").resolve()


@pytest.mark.parametrize("options", [
    TrainOptions(csv=Path("labels.csv"), head="linear", warmup_epochs=0),
    TrainOptions(csv=Path("labels.csv"), epochs=0),
    config.FinetuneOptions(csv=Path("labels.csv"), checkpoint=Path("m"), retrain_head=True),
])  # fmt: skip
def test_what_a_run_writes_down_is_taken_again(options: TrainOptions | config.FinetuneOptions) -> None:
    resolved = options.resolved()
    assert type(options).model_validate(to_yaml(resolved)).resolved().loss == resolved.loss
