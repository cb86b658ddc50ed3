"""``--preset``: what each fills in, that what is typed wins, and that nothing typed is contradicted."""

from pathlib import Path
from typing import Any, get_args

import pytest

from cxrlt_cli.cli.options import build
from cxrlt_cli.config import PRESETS, FinetuneOptions, TrainOptions, to_yaml
from cxrlt_cli.config.presets import PRESET_HELP, Preset


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
    options = finetune(preset="challenge", retrain_head=True, epochs=4)
    assert (options.warmup_epochs, options.epochs) == (0, 4)


@pytest.mark.parametrize("preset", list(PRESETS))
def test_what_is_written_down_asks_for_the_same_again(preset: str, tmp_path: Path) -> None:
    options = train(preset=preset)
    assert build(TrainOptions, {}, to_yaml(options)).resolved().model_dump() == {
        **options.model_dump(), "csv": Path("labels.csv").resolve()
    }  # fmt: skip
