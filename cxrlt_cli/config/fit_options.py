"""Options of a training, whatever it starts from."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import model_validator

from cxrlt_cli.config.choices import (
    LOSSES,
    SAMPLERS,
    TRACKERS,
    LossName,
    SamplerName,
    Track,
    choices_help,
)
from cxrlt_cli.config.fields import OptionsT, Settings, changed, flags, option
from cxrlt_cli.config.film_options import CORRECTIONS_HELP, STEP, ComputeOptions
from cxrlt_cli.config.presets import Preset, values_of
from cxrlt_cli.config.study_options import VIEW_COLUMN_HELP

BY_PRESET = "by --preset"
WEIGHTS = ("pretrained", "imagenet", "none")  # words, whatever a folder is called; ./imagenet is a folder


class FitOptions(ComputeOptions):
    """What train and finetune share. Loss and sampler are those of CXR-LT's winner where nothing fills them in."""

    seed: int = option(
        42, "Random seed of the split, the order of films, augmentation and initial weights.", ge=0, rare=True
    )
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
        "Cross-validation by patient: this many models, each validated on the fold that it was not trained on.",
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
        "Train only the head, on features of the frozen backbone, computed once.",
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
        "Start the bias of each new finding at the log odds of its prevalence; csra then has a bias "
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
        "Logit adjustment: TAU times the log odds of each finding, added to its logits in training only (Menon 2021); "
        "0: none, 1: full correction for prevalence.",
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

    warmup_epochs: int = option(10, "Epochs of phase 1: only the head is trained.", panel="Schedule", ge=0)
    epochs: int = option(60, "Epochs of phase 2: the whole network is trained.", panel="Schedule", ge=0)
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
        0.01, "Weight decay (AdamW), except on biases and norms.", panel="Schedule", ge=0, rare=True
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
        0, "Also average the weights of this many last epochs; 0 and 1: no average.", panel="Schedule", ge=0, rare=True
    )
    clip_grad: float = option(1.0, "Gradient clipping: largest norm; 0: none.", panel="Schedule", ge=0, rare=True)
    batch: int | Literal["auto"] = option(  # type: ignore[assignment]
        STEP,
        f"Films per batch, of each process; auto: as many as fit the GPU, with {STEP} per step (--accumulate).",
        panel="Compute",
        alias="batch_size",
    )
    accumulate: int = option(1, "Gradient accumulation: batches per optimizer step.", panel="Schedule", ge=1, rare=True)
    compile: bool | None = option(
        None,
        "Compile the backbone with torch.compile (default: in runs of 20 minutes or more, if a trial shows that it "
        "is faster).",
        panel="Compute",
        rare=True,
    )

    @property
    def batch_size(self) -> int:
        """Films per batch, once they are chosen."""
        assert self.batch != "auto", "training.batch_size chooses it first"
        return self.batch

    @model_validator(mode="after")
    def _check_batch(self) -> Self:
        if self.batch != "auto" and self.batch < 1:
            raise ValueError("--batch-size must be auto, 1 or more")
        return self

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
    def _check_frozen_backbone(self) -> Self:
        if self.features is not None and not self.frozen:
            raise ValueError("--features keeps what a frozen backbone gives: pass --frozen too")
        of_backbone = {"warmup_epochs", "lr_warmup", "lr_backbone", "layer_decay", "drop_path", "compile"}
        given = {name for name in changed(self) & of_backbone if getattr(self, name)}  # 0 and false are as good as none
        if self.frozen and given:
            raise ValueError(f"--frozen trains the head alone: leave {flags(self, given)} out")
        if self.frozen and self.batch == "auto":
            raise ValueError("--batch-size auto is for a backbone that is trained: leave it out with --frozen")
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


def fill(options: OptionsT, **defaults: Any) -> OptionsT:
    """What is None takes its default; a frozen backbone has neither a rate nor stochastic depth."""
    if getattr(options, "frozen", False):
        del defaults["lr_backbone"]
        options = options.model_copy(update={"drop_path": 0.0})
    return options.model_copy(update={k: v for k, v in defaults.items() if getattr(options, k) is None})
