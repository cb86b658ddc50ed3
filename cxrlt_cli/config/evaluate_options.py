"""Options of ``evaluate``."""

from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator

from cxrlt_cli.config.fields import WHERE_IN_COLUMNS, Columns, Names, Threshold, Where, option
from cxrlt_cli.config.film_options import CORRECTIONS_HELP
from cxrlt_cli.config.study_options import StudyOptions


class EvaluateOptions(StudyOptions):
    predictions: tuple[Path, ...] = option(
        ...,
        "Prediction CSV, CSV of decisions (0 and 1), or run; several are compared with the first. With --against, a "
        "second one is for those films.",
        argument=True,
    )
    seed: int = option(42, "Random seed of the bootstrap, of cross-validation and of --perturb.", ge=0, rare=True)
    csv: Path | None = option(None, "CSV with the true labels (default, for phantoms: their own).", panel="Films")
    against: Path | None = option(
        None,
        "Labels of other films, such as those of your own hospital: shows what differs, and how much of the difference "
        "in AP is due to prevalence.",
        panel="Films",
    )
    train_csv: Path | None = option(
        None, "Labels of the training films, for the frequency bands (default: --csv's own).", panel="Films"
    )
    id_column: str = option("ImageID", "Column that names the film.", panel="Films", rare=True)
    patient_column: str = option("PatientID", "Column that names the patient.", panel="Films", rare=True)
    findings: Names | None = option(
        None, "Findings to score, separated by commas (default: all that are predicted and labelled).", panel="Films"
    )
    split: Names | None = option(
        None,
        "Parts to score, separated by commas, by the column Split of --csv, such as test (default: every row).",
        panel="Films",
    )
    where: Where | None = option(None, WHERE_IN_COLUMNS, panel="Films", rare=True)
    exclude: tuple[Path, ...] = option((), "CSV of films to leave out, by id; may be repeated.", panel="Films")
    corrections: tuple[Path, ...] = option((), CORRECTIONS_HELP, panel="Films", rare=True)
    missing: Literal["error", "leave-out"] = option(
        "error",
        "Labelled films without a prediction, or with one in only one of two files: an error, or left out.",
        panel="Films",
        rare=True,
    )
    bootstrap: int = option(
        1000, "Resamples of patients (bootstrap) for the 95 % confidence intervals; 0: none.", panel="Scores", ge=0
    )
    empty: Literal["skip", "zero"] = option(
        "skip", "AP of a finding without a positive film: left out of the means, or 0.", panel="Scores", rare=True
    )
    threshold: Threshold = option(
        0.5, "Threshold of F1 and of --errors: a probability, or best: where F1 is best on these films.", panel="Scores"
    )
    by: Columns = option(
        (),
        "Column of --csv whose groups are compared, ages by decade; PatientAge:4 makes four groups of similar size. "
        "Repeat it to cross several columns.",
        panel="Scores",
    )
    by_finding: bool = option(
        False, "With --by: also a row for each finding that all groups have.", panel="Scores", rare=True
    )
    json_path: Path | None = option(None, "File for the scores as JSON.", panel="Scores", alias="json")
    report: Path | None = option(None, "HTML file for the report, with charts and films.", panel="Scores")
    errors: Path | None = option(
        None,
        "CSV of errors: each film whose decision at --threshold differs from its label, with patient, study and view.",
        panel="Scores",
    )
    suspects: Path | None = option(
        None,
        "CSV of labels that are probably wrong, from out-of-fold predictions. With --report, an HTML page of the same "
        "name to review these films and save --corrections.",
        panel="Scores",
    )
    image_dir: Path | None = option(
        None,
        "Folder of the films, for the report and --perturb (default: the CSV's folder, or images/ beside it); with "
        "--against, sharpness and bit depth of both are compared.",
        panel="Films",
    )
    checkpoint: Path | None = option(
        None,
        "Model for heat maps in the report: a checkpoint, or a run with --folds, each film then by the member that was "
        "not trained on it.",
        panel="Scores",
    )
    among: Path | None = option(
        None,
        "Embeddings of the training films, as infer --embeddings wrote them with --checkpoint: the report shows the "
        "most similar ones.",
        panel="Scores",
        rare=True,
    )
    perturb: Path | None = option(
        None,
        "Checkpoint to test on the same films with noise, JPEG, fewer bits, inversion, cropping, rotation and changed "
        "brightness, each at five strengths.",
        panel="Scores",
    )

    @model_validator(mode="after")
    def _check_films(self) -> Self:
        if self.per_study is not None:
            for name in ("by", "against", "checkpoint", "image_dir", "perturb", "suspects"):
                if getattr(self, name):
                    raise ValueError(f"--{name.replace('_', '-')} is for films: leave it out with --per-study")
        return self

    @model_validator(mode="after")
    def _check_groups(self) -> Self:
        if self.by_finding and not self.by:
            raise ValueError("--by-finding is for groups: pass --by too, such as --by ViewPosition")
        if self.by and self.against is not None:
            raise ValueError("--by and --against compare different things: pass one of them")
        return self

    @model_validator(mode="after")
    def _check_among(self) -> Self:
        if self.among is not None and (self.report is None or self.checkpoint is None):
            raise ValueError(
                "--among is for the films of a report, as a model sees them: pass --report and --checkpoint"
            )
        return self
