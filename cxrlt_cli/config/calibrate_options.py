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
        ..., "A checkpoint, or a prediction CSV (of an ensemble, say): then no film is read.", argument=True
    )
    view_column: str = option("ViewPosition", VIEW_COLUMN_HELP, panel="Films")
    tta: Views = option("none", choices_help("Views of a film, as infer will take them.", VIEWS), panel="Prediction")
    unlabelled: bool = option(
        False,
        "Films without labels: prevalences alone, from the probabilities (EM, Saerens et al. 2002), if films with and "
        "without a finding look as in training.",
        panel=PANEL,
    )
    sensitivity: float | None = option(
        None, "Threshold that finds this share of the positive films.", panel=PANEL, gt=0, le=1
    )
    miss_at_most: float | None = option(
        None,
        "Threshold with a promise: of patients with the finding, at most this share is missed (any of their positive "
        "films below it). Learn then Test, for exchangeable patients; none where too few have the finding.",
        panel=PANEL,
        gt=0,
        lt=1,
    )
    sure: float = option(0.95, "How surely --miss-at-most is kept, of each finding by itself.", panel=PANEL, gt=0, lt=1)
    joint: bool = option(False, "--sure is of all findings at once (Bonferroni).", panel=PANEL)
    ppv: float | None = option(
        None,
        "Threshold from which this share of the films decided positive are. With one of the two above, films between "
        "both thresholds are not decided.",
        panel=PANEL,
        gt=0,
        le=1,
    )
    width: float = option(
        0.1, "Width of a 95 % interval, for which the patients that it takes are told.", panel=PANEL, gt=0, lt=1
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
