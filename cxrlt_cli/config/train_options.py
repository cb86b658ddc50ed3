"""Options of ``train`` and ``finetune``."""

from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator

from cxrlt_cli.config.choices import (
    HEADS,
    HeadName,
    choices_help,
)
from cxrlt_cli.config.fields import Channels, ImageSize, changed, option
from cxrlt_cli.config.film_options import FIT_HELP, IMAGE_SIZE_HELP, Fit
from cxrlt_cli.config.fit_options import BY_PRESET, WEIGHTS, FitOptions, fill
from cxrlt_cli.config.presets import PRESET_HELP, Preset, values_of


class TrainOptions(FitOptions):
    preset: Preset | None = option(
        None,
        choices_help(
            "Recipe: sets the options that you do not give (default: auto with --csv, phantom without).", PRESET_HELP
        ),
        panel="Model",
    )
    backbone: str = option(
        "convnextv2_base", "Backbone: any image model of timm, or an encoder of models list.", panel="Model"
    )
    head: HeadName = option(
        "csra",
        choices_help("Classification head.", HEADS),
        panel="Model",
        shown=BY_PRESET,
    )
    csra_heads: Literal[1, 2, 4, 6, 8] = option(1, "Attention heads of csra.", panel="Model", rare=True)
    csra_lambda: float = option(0.1, "Weight of csra's attention against its average.", panel="Model", ge=0, rare=True)
    image_size: ImageSize = option(512, f"{IMAGE_SIZE_HELP} If not given, an encoder takes its own.", panel="Model")
    fit: Fit = option("stretch", FIT_HELP, panel="Model", rare=True)
    weights: str = option(
        "pretrained",
        "Initial weights: pretrained (from the hub), imagenet (from a Python package, for tf_efficientnet_lite0 "
        "and _lite2), none, or a file or folder.",
        panel="Model",
    )
    mean: Channels | None = option(
        None,
        "Mean of the levels, from 0 to 1, one number or three (default: those of the weights).",
        panel="Model",
        rare=True,
    )
    std: Channels | None = option(
        None,
        "Standard deviation of the levels, one number or three (default: those of the weights).",
        panel="Model",
        rare=True,
    )

    @model_validator(mode="after")
    def _check_deviation(self) -> Self:
        if self.std is not None and min(self.std) <= 0:
            raise ValueError("--std must be above 0: levels are divided by it")
        return self

    @property
    def recipe(self) -> Preset:
        return self.preset or ("phantom" if self.csv is None else "auto")

    def resolved(self) -> "TrainOptions":
        """These options with the preset's values where none was given, and every dependent default filled in."""
        is_path = self.weights not in WEIGHTS and Path(self.weights).exists()
        weights = str(Path(self.weights).resolve()) if is_path else self.weights
        given = {"preset": self.recipe, "weights": weights}
        options = self.model_copy(update={**given, **values_of(self.recipe, self)})
        rates = (1e-3, 1e-3) if options.weights == "none" or options.frozen else (1.5e-4, 1.5e-5)
        return fill(options, lr_head=rates[0], lr_backbone=rates[1])


class FinetuneOptions(FitOptions):
    preset: Literal["auto", "challenge", "plain"] = option(
        "auto",
        choices_help(
            "Recipe for options that are not given.",
            {name: PRESET_HELP[name] for name in ("auto", "challenge", "plain")},
        ),
        panel="Model",
    )
    checkpoint: Path = option(..., "Weights to start from: a file that train wrote, or the winner's.", argument=True)
    retrain_head: bool = option(
        False, "Classifier re-training: a new head is trained for --epochs; the rest is frozen.", panel="Model"
    )
    head: HeadName | None = option(None, "Another head than the checkpoint's, from scratch.", panel="Model")
    csra_heads: Literal[1, 2, 4, 6, 8] | None = option(
        None,
        "Attention heads of csra; another number starts from scratch (default: the checkpoint's).",
        panel="Model",
        rare=True,
    )
    csra_lambda: float | None = option(
        None,
        "Weight of csra's attention against its average (default: the checkpoint's).",
        panel="Model",
        ge=0,
        rare=True,
    )
    image_size: ImageSize | None = option(None, f"{IMAGE_SIZE_HELP[:-1]} (default: the checkpoint's).", panel="Model")
    fit: Fit | None = option(
        None, "How a film is fitted to --image-size, as in train (default: the checkpoint's).", panel="Model", rare=True
    )
    warmup_epochs: int = option(0, "Epochs of phase 1: only the head is trained.", panel="Schedule", ge=0)
    epochs: int = option(10, "Epochs of phase 2: the whole network is trained.", panel="Schedule", ge=0)

    @property
    def recipe(self) -> Preset:
        return self.preset

    def resolved(self) -> "FinetuneOptions":
        """These options with the preset's values where none was given, and every dependent default filled in."""
        options = self.model_copy(update=values_of(self.recipe, self))
        return fill(options, lr_head=1e-3 if self.retrain_head or self.frozen else 1.5e-4, lr_backbone=1.5e-5)

    @model_validator(mode="after")
    def _check_retraining(self) -> Self:
        if self.retrain_head and self.warmup_epochs:
            raise ValueError("--retrain-head trains the head alone for --epochs: leave --warmup-epochs out")
        if self.retrain_head and not self.epochs:
            raise ValueError("--retrain-head with --epochs 0: there is nothing to train")
        if self.retrain_head and "layer_decay" in changed(self):
            raise ValueError("--retrain-head keeps the backbone as it is: leave --layer-decay out")
        return self
