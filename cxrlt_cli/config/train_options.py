"""Options of ``train`` and ``finetune``."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import model_validator

from cxrlt_cli.config.choices import (
    HEADS,
    LOSSES,
    SAMPLERS,
    TRACKERS,
    HeadName,
    LossName,
    SamplerName,
    Track,
    choices_help,
)
from cxrlt_cli.config.fields import Channels, ImageSize, OptionsT, Settings, changed, flags, option
from cxrlt_cli.config.film_options import CORRECTIONS_HELP, FIT_HELP, IMAGE_SIZE_HELP, ComputeOptions, Fit
from cxrlt_cli.config.presets import PRESET_HELP, Preset, values_of
from cxrlt_cli.config.study_options import VIEW_COLUMN_HELP

BY_PRESET = "by --preset"
WEIGHTS = ("pretrained", "imagenet", "none")  # words, whatever a folder is called; ./imagenet is a folder


class FitOptions(ComputeOptions):
    """What train and finetune share. Loss and sampler are those of CXR-LT's winner where nothing fills them in."""

    out: Path | None = option(None, "Folder of the run (default: runs/COMMAND-K).")
    resume: bool = option(False, "Resume the run in --out where it stopped.")
    checkpoint_minutes: float = option(10.0, "Minutes between resumable checkpoints.", ge=0, rare=True)
    track: Track | None = option(
        None,
        choices_help("Experiment tracker (default: tensorboard where it is installed, else none).", TRACKERS),
        rare=True,
    )

    val_csv: Path | None = option(
        None,
        "CSV of validation films (default: with --split the rows val of --csv, if it has any; else patients held out).",
        panel="Films",
    )
    val_fraction: float = option(
        0.1, "Share of the films to hold out for validation, by patient.", panel="Films", gt=0, lt=1, rare=True
    )
    corrections: tuple[Path, ...] = option((), CORRECTIONS_HELP, panel="Films", rare=True)
    view_column: str = option("ViewPosition", VIEW_COLUMN_HELP, panel="Films", rare=True)

    folds: int | None = option(
        None,
        "Cross-validation by patient: this many models, each judged on the fold of --csv that it did not see.",
        panel="Cross-validation",
        ge=2,
    )
    fold: int | None = option(None, "Train this fold alone, counted from 1.", panel="Cross-validation", ge=1, rare=True)
    seeds: int | None = option(
        None, "Train once for each of this many seeds, from --seed on.", panel="Cross-validation", ge=2, rare=True
    )
    split_seed: int | None = option(
        None,
        "Seed of the folds, or of the films held out (default: --seed).",
        panel="Cross-validation",
        ge=0,
        rare=True,
    )

    frozen: bool = option(
        False,
        "Train the head alone, on features of the frozen backbone, computed once for each film as it is and augmented.",
        panel="Model",
    )
    features: Path | None = option(
        None,
        "Folder that keeps the features of --frozen for the next run (default: features/ in --out).",
        panel="Films",
        rare=True,
    )
    drop_path: float = option(
        0.2, "Stochastic depth (drop path) of the backbone in training.", panel="Model", ge=0, lt=1, rare=True
    )

    prior_bias: bool | None = option(
        None,
        "Start the bias of each new finding at its prevalence in the training films; gives csra a bias "
        "(default: by --preset).",
        panel="Model",
        rare=True,
    )

    loss: LossName = option(
        "db",
        choices_help("Loss function.", LOSSES),
        panel="Long tail",
        shown=BY_PRESET,
    )
    loss_options: Settings = option(
        {}, "Settings of the loss, such as gamma_neg=2,clip=0.1.", panel="Long tail", rare=True
    )
    logit_adjust: float = option(
        0.0,
        "Logit adjustment: TAU times the log odds of each finding, added to its logits in training alone (Menon 2021); "
        "0: none, 1: rare findings as if none were rare.",
        panel="Long tail",
        ge=0,
        le=5,
        rare=True,
    )
    sampler: SamplerName = option(
        "cas",
        choices_help("Sampling of training films.", SAMPLERS),
        panel="Long tail",
        shown=BY_PRESET,
    )
    sampler_options: Settings = option(
        {}, "Settings of the sampler, such as repeat_cap=20.", panel="Long tail", rare=True
    )

    warmup_epochs: int = option(
        10, "Epochs of phase 1: the head is trained, the backbone frozen.", panel="Schedule", ge=0
    )
    epochs: int = option(60, "Epochs of phase 2: everything is trained.", panel="Schedule", ge=0)
    patience: int | None = option(
        None,
        "Early stopping: a phase ends when validation AP has not risen for this many epochs.",
        panel="Schedule",
        ge=1,
        rare=True,
    )
    max_steps: int | None = option(None, "Stop after this many optimizer steps.", panel="Schedule", ge=1, rare=True)
    lr_warmup: float = option(1e-3, "Learning rate of phase 1.", panel="Schedule", gt=0, rare=True)
    lr_head: float | None = option(
        None,
        "Learning rate of the head in phase 2 (default: 1.5e-4; from scratch and with --frozen 1e-3).",
        panel="Schedule",
        gt=0,
        rare=True,
    )
    lr_backbone: float | None = option(
        None,
        "Learning rate of the backbone in phase 2 (default: 1.5e-5; from scratch 1e-3).",
        panel="Schedule",
        gt=0,
        rare=True,
    )
    layer_decay: float = option(
        1.0,
        "Layer-wise decay: factor of the learning rate from one layer of the backbone to the one below it; 1: none.",
        panel="Schedule",
        gt=0,
        le=1,
        rare=True,
    )
    weight_decay: float = option(
        0.01, "Weight decay (AdamW), of all but biases and norms.", panel="Schedule", ge=0, rare=True
    )
    ema_decay: float = option(
        0.9999,
        "Decay of the exponential moving average (EMA) of the weights in phase 2, warmed up; 0: no EMA.",
        panel="Schedule",
        ge=0,
        lt=1,
        rare=True,
    )
    average_last: int = option(
        0, "Average the weights of this many last epochs too; 0 and 1: no average.", panel="Schedule", ge=0, rare=True
    )
    clip_grad: float = option(1.0, "Gradient clipping: largest norm; 0: none.", panel="Schedule", ge=0, rare=True)
    accumulate: int = option(1, "Gradient accumulation: batches per optimizer step.", panel="Schedule", ge=1, rare=True)
    compile: bool | None = option(
        None,
        "Compile the backbone with torch.compile (default: in runs of 20 minutes or more, where a trial shows that it "
        "pays).",
        panel="Compute",
        rare=True,
    )

    @model_validator(mode="after")
    def _check_validation(self) -> Self:
        if self.val_csv is not None and "val_fraction" in self.model_fields_set:
            raise ValueError(
                "--val-csv and --val-fraction exclude each other: no film is held out where others are given"
            )
        return self

    @model_validator(mode="after")
    def _check_folds(self) -> Self:
        if self.fold is not None and self.folds is None:
            raise ValueError("--fold is one of --folds: pass that too")
        if self.fold is not None and self.out is None:
            raise ValueError("--fold trains one fold of a run: pass --out too, the folder that all of them share")
        if self.fold is not None and self.folds is not None and self.fold > self.folds:
            raise ValueError(f"--fold {self.fold}: with --folds {self.folds} they are 1 to {self.folds}")
        if self.folds is not None and (given := self.model_fields_set & {"val_csv", "val_fraction"}):
            raise ValueError(
                f"{flags(self, given)} and --folds exclude each other: every film of --csv is judged in its fold. "
                "Leave it out; on films of their own, score what cxrlt ensemble predicts afterwards"
            )
        if self.folds is not None and self.patience is not None:
            raise ValueError(
                "--patience ends a phase by validation films, which are those that judge with --folds: scores would be "
                "too good. Leave it out; how long to train is for --epochs"
            )
        if self.split_seed is not None and self.val_csv is not None:
            raise ValueError("--split-seed is for films that are held out: leave it out with --val-csv")
        return self

    @property
    def seed_of_split(self) -> int:
        return self.seed if self.split_seed is None else self.split_seed

    @property
    def recipe(self) -> Preset:
        """The preset, whether it was typed or not."""
        return "auto"

    @model_validator(mode="after")
    def _check_frozen(self) -> Self:
        if self.features is not None and not self.frozen:
            raise ValueError("--features keeps what a frozen backbone gives: pass --frozen too")
        of_backbone = {"warmup_epochs", "lr_warmup", "lr_backbone", "layer_decay", "drop_path", "compile"}
        given = {name for name in changed(self) & of_backbone if getattr(self, name)}  # 0 and false are as good as none
        if self.frozen and given:
            raise ValueError(f"--frozen trains the head alone: leave {flags(self, given)} out")
        return self

    @model_validator(mode="after")
    def _check_epochs(self) -> Self:
        planned = self.model_copy(update=values_of(self.recipe, self))
        if self.frozen and not planned.epochs:
            raise ValueError("--frozen with --epochs 0: there is nothing to train")
        if planned.warmup_epochs + planned.epochs == 0:
            raise ValueError("--warmup-epochs and --epochs are both 0: there is nothing to train")
        if planned.warmup_epochs == 0 and "lr_warmup" in changed(self):
            raise ValueError("--lr-warmup is for phase 1: pass --warmup-epochs too")
        if planned.epochs == 0 and (needless := changed(self) & {"layer_decay", "average_last"}):
            raise ValueError(f"{flags(self, needless)} is for phase 2, and --epochs is 0")
        return self

    @model_validator(mode="after")
    def _check_priors(self) -> Self:
        if self.prior_bias and self.logit_adjust:
            raise ValueError(
                "--prior-bias and --logit-adjust exclude each other: both put the positives' share into the logits"
            )
        return self

    @model_validator(mode="after")
    def _check_films(self) -> Self:
        if self.csv is None and (needless := changed(self) & {"image_dir", "val_csv"}):
            raise ValueError(f"{flags(self, needless)} goes with the films of --csv: pass that too")
        return self


class TrainOptions(FitOptions):
    preset: Preset | None = option(
        None,
        choices_help("Recipe, for what is not typed (default: auto with --csv, phantom without).", PRESET_HELP),
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
    image_size: ImageSize = option(512, f"{IMAGE_SIZE_HELP} Not typed: an encoder's own.", panel="Model")
    fit: Fit = option("stretch", FIT_HELP, panel="Model", rare=True)
    weights: str = option(
        "pretrained",
        "Initial weights: pretrained (from the hub), imagenet (from a package, for tf_efficientnet_lite0 "
        "and _lite2), none, or a file or folder.",
        panel="Model",
    )
    mean: Channels | None = option(
        None,
        "Mean of the levels, from 0 to 1, one number or three (default: as the weights want it).",
        panel="Model",
        rare=True,
    )
    std: Channels | None = option(
        None,
        "Standard deviation of the levels, one number or three (default: as the weights want it).",
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
        return _fill(options, lr_head=rates[0], lr_backbone=rates[1])


class FinetuneOptions(FitOptions):
    preset: Literal["auto", "challenge", "plain"] = option(
        "auto",
        choices_help(
            "Recipe, for what is not typed.", {name: PRESET_HELP[name] for name in ("auto", "challenge", "plain")}
        ),
        panel="Model",
    )
    checkpoint: Path = option(..., "Weights to start from: a file that train wrote, or the winner's.", argument=True)
    retrain_head: bool = option(
        False, "Classifier re-training: a fresh head is trained for --epochs, everything else is frozen.", panel="Model"
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
    warmup_epochs: int = option(
        0, "Epochs of phase 1: the head is trained, the backbone frozen.", panel="Schedule", ge=0
    )
    epochs: int = option(10, "Epochs of phase 2: everything is trained.", panel="Schedule", ge=0)

    @property
    def recipe(self) -> Preset:
        return self.preset

    def resolved(self) -> "FinetuneOptions":
        """These options with the preset's values where none was given, and every dependent default filled in."""
        options = self.model_copy(update=values_of(self.recipe, self))
        return _fill(options, lr_head=1e-3 if self.retrain_head or self.frozen else 1.5e-4, lr_backbone=1.5e-5)

    @model_validator(mode="after")
    def _check_retraining(self) -> Self:
        if self.retrain_head and self.warmup_epochs:
            raise ValueError("--retrain-head trains the head alone for --epochs: leave --warmup-epochs out")
        if self.retrain_head and not self.epochs:
            raise ValueError("--retrain-head with --epochs 0: there is nothing to train")
        if self.retrain_head and "layer_decay" in changed(self):
            raise ValueError("--retrain-head keeps the backbone as it is: leave --layer-decay out")
        return self


def _fill(options: OptionsT, **defaults: Any) -> OptionsT:
    """What is None takes its default; a frozen backbone has neither a rate nor stochastic depth."""
    if getattr(options, "frozen", False):
        del defaults["lr_backbone"]
        options = options.model_copy(update={"drop_path": 0.0})
    return options.model_copy(update={k: v for k, v in defaults.items() if getattr(options, k) is None})
