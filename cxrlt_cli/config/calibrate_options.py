"""Options of ``calibrate``."""

from pathlib import Path
from typing import Self

from pydantic import model_validator

from cxrlt_cli.config.choices import VIEWS, Views, choices_help
from cxrlt_cli.config.fields import changed, flags, option
from cxrlt_cli.config.film_options import ComputeOptions
from cxrlt_cli.config.study_options import VIEW_COLUMN_HELP

PANEL = "Thresholds"


class CalibrateOptions(ComputeOptions):
    model: Path = option(
        ..., "A checkpoint, or a prediction CSV, such as of an ensemble: then no film is read.", argument=True
    )
    view_column: str = option("ViewPosition", VIEW_COLUMN_HELP, panel="Films", rare=True)
    tta: Views = option("none", choices_help("Test-time augmentation, as for infer later.", VIEWS), panel="Prediction")
    unlabelled: bool = option(
        False,
        "Films without labels: estimate only prevalences, from the probabilities (EM, Saerens et al. 2002). Valid if "
        "films with a finding, and films without it, look as in training.",
        panel=PANEL,
    )
    sensitivity: float | None = option(None, "Threshold for this sensitivity.", panel=PANEL, gt=0, le=1)
    miss_at_most: float | None = option(
        None,
        "Threshold with a guarantee (Learn then Test): at most this share of patients with the finding has "
        "a positive film below it. For exchangeable patients; there is none if too few have the finding.",
        panel=PANEL,
        gt=0,
        lt=1,
    )
    sure: float = option(
        0.95, "Confidence that --miss-at-most holds, of each finding by itself.", panel=PANEL, gt=0, lt=1
    )
    joint: bool = option(False, "Let --sure hold for all findings at once (Bonferroni).", panel=PANEL, rare=True)
    ppv: float | None = option(
        None,
        "Threshold for this positive predictive value. With --sensitivity or --miss-at-most, films between "
        "both thresholds are left undecided.",
        panel=PANEL,
        gt=0,
        le=1,
    )
    width: float = option(
        0.1,
        "Width of a 95 % confidence interval: shows how many patients it needs.",
        panel=PANEL,
        gt=0,
        lt=1,
        rare=True,
    )
    out: Path = option(Path("local.json"), "JSON to write, for --fitted of infer and ensemble.")

    @model_validator(mode="after")
    def _check_wanted(self) -> Self:
        wanted = changed(self) & {"sensitivity", "miss_at_most", "ppv"}
        if {"sensitivity", "miss_at_most"} <= wanted:
            raise ValueError(
                "--sensitivity and --miss-at-most both say below what a film is negative: pass one of them"
            )
        if (extra := {"sure", "joint"} & changed(self)) and self.miss_at_most is None:
            raise ValueError(f"{flags(self, extra)} is about --miss-at-most: pass that too")
        if "width" in changed(self) and not wanted:
            raise ValueError("--width is of what --sensitivity, --miss-at-most or --ppv want: pass one of them too")
        if self.unlabelled and wanted:
            raise ValueError(f"{flags(self, wanted)} needs labels: leave --unlabelled out")
        return self
