"""What train and finetune refuse together, and what depends on what."""

from typing import Any

import pytest
from pydantic import ValidationError

from cxrlt_cli.config import TrainOptions
from cxrlt_cli.config.fit_options import fill


def options(**given: Any) -> TrainOptions:
    return TrainOptions.model_validate({"csv": "labels.csv", **given})


@pytest.mark.parametrize(("given", "said"), [
    ({"val_csv": "v.csv", "val_fraction": 0.2}, "--val-csv and --val-fraction exclude each other"),
    ({"fold": 1}, "--fold is one of --folds"), ({"folds": 3, "fold": 2}, "pass --out too"),
    ({"folds": 3, "fold": 4, "out": "x"}, "they are 1 to 3"), ({"folds": 3, "val_csv": "v.csv"}, "exclude each other"),
    ({"folds": 3, "patience": 2}, "--patience"), ({"val_csv": "v.csv", "split_seed": 1}, "--split-seed"),
    ({"features": "f"}, "pass --frozen too"), ({"frozen": True, "lr_backbone": 1e-4}, "leave --lr-backbone out"),
    ({"frozen": True, "epochs": 0}, "nothing to train"), ({"warmup_epochs": 0, "epochs": 0}, "nothing to train"),
    ({"warmup_epochs": 0, "lr_warmup": 1.0}, "pass --warmup-epochs too"), ({"epochs": 0, "average_last": 3}, "phase 2"),
    ({"prior_bias": True, "logit_adjust": 1.0}, "exclude each other"), ({"csv": None, "image_dir": "x"}, "--csv"),
])  # fmt: skip
def test_what_cannot_be_meant_together_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        options(**given)


def test_0_and_false_are_as_good_as_none_with_a_frozen_backbone() -> None:
    assert options(frozen=True, warmup_epochs=0, compile=False).frozen


def test_the_split_has_the_seed_of_the_run_unless_it_has_its_own() -> None:
    assert options(seed=5).seed_of_split == 5
    assert options(seed=5, split_seed=0).seed_of_split == 0


def test_what_is_not_given_is_filled_in_and_what_is_given_stays() -> None:
    filled = fill(options(lr_head=0.5), lr_head=1.0, lr_backbone=2.0)
    assert (filled.lr_head, filled.lr_backbone) == (0.5, 2.0)
    frozen = fill(options(frozen=True), lr_head=1.0, lr_backbone=2.0)
    assert (frozen.lr_head, frozen.lr_backbone, frozen.drop_path) == (1.0, None, 0.0)
