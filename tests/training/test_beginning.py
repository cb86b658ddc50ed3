from dataclasses import replace

import pytest

from cxrlt_cli.config import TrainOptions
from cxrlt_cli.errors import OptionError
from cxrlt_cli.training.beginning import facts_of, normalization_of, with_backbone, with_weights


def typed(**values: object) -> tuple[TrainOptions, set[str]]:
    options = TrainOptions.model_validate({"csv": "a.csv", "weights": "none", **values})
    return options.resolved(), options.model_fields_set


def test_an_encoder_fills_in_what_was_not_typed() -> None:
    assert with_backbone(*typed(backbone="rad-dino")).image_size == 518
    assert with_backbone(*typed(backbone="rad-dino", image_size=224)).image_size == 224
    assert with_backbone(*typed(backbone="rad-dino")).drop_path == 0.2
    assert with_backbone(*typed(backbone="xrv-chex")).drop_path == 0.0
    assert with_backbone(*typed(backbone="xrv-chex", drop_path=0.1)).drop_path == 0.1
    assert with_backbone(*typed(backbone="rad-dino", preset="phantom")).image_size == 518
    assert with_backbone(*typed()).image_size == 512


def test_unknown_names_and_sizes_are_told_before_films_are_read() -> None:
    with pytest.raises(OptionError, match="Did you mean rad-dino"):
        with_backbone(*typed(backbone="rad-dinos"))
    with pytest.raises(OptionError, match="Pass 504 or 518"):
        with_backbone(*typed(backbone="rad-dino", image_size=512))


def test_the_plan_says_what_it_has_seen_and_how_films_are_normalised() -> None:
    options, found = with_weights(*typed(backbone="rad-dino"))
    facts = facts_of(options, found)
    assert facts["encoder"] == "rad-dino: microsoft/rad-dino at 2ec9ca0, MIT"
    assert "films seen" not in facts, "random weights have seen none"
    assert "PadChest" in facts_of(options, replace(found, tensors={}))["films seen"]
    assert facts["normalisation"] == "mean 0.531, deviation 0.258 (the registry)"
    options, found = with_weights(*typed(backbone="test_convnext"))
    assert facts_of(options, found).keys() == {"normalisation"}


def test_what_is_typed_wins() -> None:
    options, found = with_weights(*typed(backbone="rad-dino", std=0.3))
    assert normalization_of(options, found) == ((0.5307,) * 3, (0.3,) * 3)
    assert facts_of(options, found)["normalisation"] == (
        "mean 0.531, deviation 0.3 (--std; the registry has mean 0.531, deviation 0.258)"
    )
