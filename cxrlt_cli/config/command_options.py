"""Options of the commands that do not train."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import model_validator

from cxrlt_cli.config.choices import MERGES, POSTPROCESSES, VIEWS, Merge, Postprocess, Views, choices_help
from cxrlt_cli.config.fields import Films, ImageSize, Names, Numbers, Options, Pool, changed, option
from cxrlt_cli.config.film_options import CORRECTIONS_HELP, FIT_HELP, IMAGE_SIZE_HELP, ComputeOptions, FilmOptions, Fit
from cxrlt_cli.config.shard_options import ShardOptions
from cxrlt_cli.config.study_options import StudyOptions
from cxrlt_cli.errors import OptionError

FILMS_HELP = "Films, or folders of them, instead of --csv."
DICOM_COLUMNS_HELP = (
    "Add what DICOM headers say of each film: PatientID, StudyID, ViewPosition, PatientSex, PatientAge; and its Path."
)


class PredictOptions(ComputeOptions, StudyOptions, ShardOptions):
    """What infer and ensemble share."""

    tta: Views = option(
        "none",
        choices_help("Test-time augmentation: views of a film whose logits are merged.", VIEWS),
        panel="Prediction",
    )
    merge: Merge = option(
        "mean",
        choices_help("How views, and members of an ensemble, are merged into one probability.", MERGES),
        panel="Prediction",
    )
    postprocess: Postprocess = option(
        "none",
        choices_help("Postprocessing of the probabilities.", POSTPROCESSES),
        panel="Prediction",
    )
    alpha: float = option(0.5, "Strength of normal_gating.", panel="Prediction", ge=0, rare=True)
    normal: str | None = option(None, "The 'no finding' label (default: by its name).", panel="Prediction", rare=True)
    calibration: Literal["none", "platt", "temperature"] = option(
        "none",
        "Calibrate probabilities, as fitted on the validation films of the training, or by --fitted.\n\n"
        "none: as the model gives them.\n\n"
        "platt: slope and offset of each finding's logit.\n\n"
        "temperature: slope alone.",
        panel="Prediction",
    )
    decisions: Path | None = option(
        None, "CSV of decisions: 0 and 1 by the thresholds of --decide; empty: not decided.", panel="Prediction"
    )
    decide: Literal["f1", "sensitivity-0.8", "sensitivity-0.9", "sensitivity-0.95"] | None = option(
        None,
        "Thresholds of --decisions, fitted on the same films as the calibration.\n\n"
        "f1: where F1 is highest.\n\n"
        "sensitivity-0.8, -0.9, -0.95: for that sensitivity.",
        panel="Prediction",
        shown="f1, or those of calibrate",
    )
    fitted: Path | None = option(
        None,
        "JSON of cxrlt calibrate for this model, or of ensemble --fit for this ensemble: used by --calibration and "
        "--decisions instead of what the training fitted. With that of calibrate, warns if films differ from those of "
        "the fit.",
        panel="Prediction",
    )
    dicom_columns: bool = option(False, DICOM_COLUMNS_HELP, panel="Prediction", rare=True)

    @model_validator(mode="after")
    def _check_decisions(self) -> Self:
        if self.per_study is not None:
            if self.decisions is not None:
                raise ValueError(
                    "--decisions cuts by thresholds that were fitted on films, and --per-study predicts studies: leave "
                    "one of them out"
                )
            if self.dicom_columns:
                raise ValueError("--dicom-columns is for films: leave it out with --per-study")
        if "decide" in self.model_fields_set and self.decisions is None:
            raise ValueError("--decide says where --decisions cuts: pass that too, a CSV to write")
        return self

    @model_validator(mode="after")
    def _check_gating(self) -> Self:
        if "alpha" in self.model_fields_set and self.postprocess == "none" and not getattr(self, "fit", False):
            raise ValueError("--alpha is the strength of --postprocess normal_gating: pass that too")
        if self.normal is not None and self.postprocess == "none" and not getattr(self, "fit", False):
            raise ValueError("--normal names the finding for --postprocess normal_gating: pass that too")
        return self


class InferOptions(PredictOptions):
    checkpoint: Path = option(
        ..., "Weights: a run folder or file of train, or the challenge winner's file.", argument=True
    )
    films: Films = option((), FILMS_HELP, argument=True)
    findings: Names | None = option(
        None, "Findings to write, separated by commas (default: all the model has).", panel="Films"
    )
    ood_score: bool = option(
        False,
        "Add a column ood_score, from 0 to 1: how much a film differs from the training films, as the share of "
        "validation films that differ less.",
        panel="Prediction",
    )
    embeddings: Path | None = option(
        None,
        "Parquet or npz file for image features (embeddings), averaged over the feature map.",
        panel="Prediction",
        rare=True,
    )
    nearest: Path | None = option(
        None, "CSV of the 5 most similar films of --among for each film.", panel="Prediction", rare=True
    )
    among: Path | None = option(
        None,
        "Embeddings of the training films, as infer --embeddings wrote them with the same checkpoint.",
        panel="Prediction",
        rare=True,
    )
    out: Path = option(Path("predictions.csv"), "CSV to write.")

    @model_validator(mode="after")
    def _check_needless(self) -> Self:
        if "merge" in changed(self) and self.tta == "none" and self.merge != "rank":
            raise ValueError("--merge is of several views of a film: pass --tta too")
        if (self.nearest is None) != (self.among is None):
            raise ValueError("--nearest is the CSV to write, --among the films to look among: pass both")
        return self


class EnsembleOptions(PredictOptions):
    members: tuple[Path, ...] = option(
        (), "Checkpoints, runs with --folds or --seeds, and prediction CSVs, in any mix.", argument=True
    )
    weights: Numbers | None = option(
        None,
        "A weight for each member, or for each run, whose members share it (default: equal weights).",
        panel="Prediction",
    )
    fit: bool = option(
        False,
        "Choose weights, merge and gating by macro AP on the labels of --csv, and write them to a YAML beside --out. "
        "In --out, each film is predicted by what was chosen without it (cross-validation).",
        panel="Prediction",
        rare=True,
    )
    by_view: tuple[str, ...] = option(
        (),
        "A member for each view, by --view-column or DICOM header: --by-view frontal=A lateral=B; PA, AP and others by "
        "name too.",
        panel="Prediction",
    )
    union: bool = option(
        False,
        "Write the findings of all members; each is blended from the members that have it.",
        panel="Prediction",
        rare=True,
    )
    soup: Literal["uniform", "greedy"] | None = option(
        None,
        "Average the weights of checkpoints of one architecture into one checkpoint, scored on labelled films of "
        "--csv.\n\nuniform: all members.\n\n"
        "greedy: from the best member on, those that do not lower macro AP on --csv (Wortsman 2022).",
        panel="Prediction",
    )
    out: Path = option(Path("submission.csv"), "CSV to write; with --soup, a .safetensors file.")

    @classmethod
    def over(cls, configured: Mapping[str, Any], typed: Mapping[str, Any]) -> dict[str, Any]:
        """Raises OptionError where the members are those of the file in another order, and the weights are its own."""
        before, now = configured.get("members"), typed.get("members")
        if isinstance(before, list) and isinstance(now, list) and configured.get("weights") and "weights" not in typed:
            before, now = ([os.path.realpath(str(path)) for path in members] for members in (before, now))
            if before != now and sorted(before) == sorted(now):
                raise OptionError(
                    "MEMBERS are those of --config in another order, and its weights go by order.",
                    "Leave MEMBERS out, or pass --weights too.",
                )
        return super().over(configured, typed)

    @model_validator(mode="after")
    def _check_members(self) -> Self:
        if not self.members and not self.by_view:
            raise ValueError("MEMBERS is missing.")
        return self


class OodOptions(ComputeOptions, ShardOptions):
    films: Films = option((), FILMS_HELP, argument=True)
    model: str = option(
        "auto",
        "Image and text encoder.\n\n"
        "auto: whyxrayclip; for digital phantoms, if that is not available, phantom-clip.\n\n"
        "whyxrayclip: WhyXrayCLIP, from this machine or from the hub.\n\n"
        "phantom-clip: a demonstration, for digital phantoms only.\n\n"
        "hf-hub:OWNER/NAME: an open_clip model of the hub.\n\n"
        "DIR: a folder with one.",
        panel="Zero-shot",
    )
    prompts: Path | None = option(
        None, "YAML file: findings and the sentences that describe them (default: our own).", panel="Zero-shot"
    )
    findings: Names | None = option(
        None, "Findings of the prompts to score, separated by commas (default: all).", panel="Zero-shot"
    )
    pool: Pool = option(
        "mean",
        "Pooling of the cosines with the sentences of a finding.\n\n"
        "mean: of all.\n\n"
        "max: the largest.\n\n"
        "topk:K: the mean of the K largest.\n\n"
        "lse: a smooth maximum, log(mean(exp(100 s))) / 100.\n\n"
        "The ranking of films depends on it.",
        panel="Zero-shot",
        rare=True,
    )
    anchor: Literal["none", "normal"] = option(
        "none",
        "What a score is compared with.\n\n"
        "none: nothing; probabilities are close to 0.5, ranked as the cosines are.\n\n"
        "normal: sentences that describe a normal film, at the model's temperature; the ranking changes.",
        panel="Zero-shot",
    )
    tta: Views = option(
        "none", "Test-time augmentation: views of a film whose features are averaged; as for infer.", panel="Zero-shot"
    )
    features: Path | None = option(
        None, "Folder for image features: other sentences then take seconds.", panel="Zero-shot", rare=True
    )
    normalization: Literal["auto", "clip", "imagenet", "half"] = option(
        "auto",
        "Mean and standard deviation that the encoder expects.\n\n"
        "auto: as its folder says.\n\n"
        "clip, imagenet: those of CLIP, those of ImageNet.\n\n"
        "half: 0.5 for each.",
        panel="Zero-shot",
        rare=True,
    )
    report: Path | None = option(
        None, "HTML page with the score of each sentence, if --csv has labels.", panel="Zero-shot"
    )
    dicom_columns: bool = option(False, DICOM_COLUMNS_HELP, panel="Zero-shot", rare=True)
    out: Path = option(Path("submission.csv"), "CSV to write.")


class DemoOptions(Options):
    directory: Path = option(Path("cxrlt-demo"), "Folder for the demonstration.", argument=True)


class GuideOptions(Options):
    topic: str | None = option(None, "Page to show (default: the list of them).", argument=True)


class EnvOptions(Options):
    json_path: Path | None = option(None, "File for the same as JSON.", alias="json")


class DataCheckOptions(FilmOptions):
    films: Films = option((), FILMS_HELP, argument=True)
    against: tuple[Path, ...] = option(
        (), "CSV of other films, such as the validation's, that must share no patient; may be repeated.", panel="Films"
    )
    corrections: tuple[Path, ...] = option((), CORRECTIONS_HELP, panel="Films", rare=True)
    submission: Path | None = option(None, "Submission CSV to check against --csv.", panel="Films")
    checkpoint: Path | None = option(None, "Model: check that the columns have its findings.", panel="Films")
    json_path: Path | None = option(None, "File for the faults as JSON.", alias="json")
    fix: Path | None = option(None, "CSV of the films that should be left out of training, for --exclude.")


class DataCacheOptions(FilmOptions, ShardOptions):
    films: Films = option((), FILMS_HELP, argument=True)
    image_size: ImageSize = option(512, IMAGE_SIZE_HELP)
    fit: Fit = option("stretch", FIT_HELP, rare=True)


class DataPhantomOptions(Options):
    directory: Path = option(..., "Folder for the films.", argument=True)
    films: int = option(1000, "Number of films, those of the two tests included.", ge=10)
    size: int = option(256, "Side of a film in pixels.", ge=64, le=4096)
    imbalance: float | None = option(None, "Ratio of the most to the least frequent finding.", ge=1)
    studies: bool = option(
        False,
        "Studies of a PA and mostly a lateral film, or of an AP film, and columns StudyID, ViewPosition, PatientSex, "
        "PatientAge. Labels are of the study: some findings are visible on only one of its films.",
    )
    hospital: int = option(
        1,
        "Hospital; 2: a referral hospital with older, sicker patients, other devices, and softer, noisier "
        "8-bit JPEG films.",
        ge=1,
        le=2,
    )
    sheet: Path | None = option(None, "PNG for a contact sheet.")


class ModelsListOptions(Options):
    pass


class ModelsPullOptions(Options):
    name: str = option(..., "A name of models list, a timm backbone, or hf-hub:OWNER/NAME.", argument=True)
    out: Path | None = option(
        None,
        "Folder to write, such as to copy to another machine (default: the cache, where commands find it by its name).",
    )


class ModelsVerifyOptions(Options):
    name: str = option(..., "Model or folder to check.", argument=True)


class ModelsExportOptions(Options):
    checkpoint: Path = option(..., "Weights to export.", argument=True)
    out: Path = option(Path("model.onnx"), "ONNX file to write.")
