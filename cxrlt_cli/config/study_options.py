"""Options of commands that can predict and score studies: all films of one examination together."""

import math
from typing import Literal, Self

from pydantic import model_validator

from cxrlt_cli.config.fields import Options, Weights, option

VIEW_COLUMN_HELP = "Column with the view of a film, such as PA, AP or L."


class StudyOptions(Options):
    per_study: Literal["mean", "max", "noisy-or"] | None = option(
        None,
        "One prediction per study, merged from its films (default: one per film).\n\n"
        "mean: weighted by --view-weights.\n\n"
        "max: the largest.\n\n"
        "noisy-or: 1 - product(1 - p): at least one film shows it.",
        panel="Studies",
    )
    view_weights: Weights | None = option(
        None,
        "Weights of views in the mean of a study, such as frontal=7,lateral=3; PA, AP and others by name "
        "too (default: equal weights).",
        panel="Studies",
        rare=True,
    )
    study_column: str = option("StudyID", "Column with the study of a film.", panel="Studies", rare=True)
    view_column: str = option("ViewPosition", VIEW_COLUMN_HELP, panel="Studies", rare=True)

    @model_validator(mode="after")
    def _check_studies(self) -> Self:
        if self.view_weights is None:
            return self
        if self.per_study != "mean":
            raise ValueError("--view-weights are for the mean of a study: pass --per-study mean too")
        weights = self.view_weights.values()
        if not all(0 <= one < math.inf for one in weights) or not any(weights):
            raise ValueError("--view-weights are numbers, none negative and not all 0, such as frontal=7,lateral=3")
        return self
