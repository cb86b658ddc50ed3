"""Options of the commands that do not train."""

from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator

from cxrlt_cli.config.choices import MERGES, POSTPROCESSES, VIEWS, Merge, Postprocess, Views, choices_help
from cxrlt_cli.config.fields import Films, ImageSize, Names, Numbers, Options, Pool, changed, option
from cxrlt_cli.config.film_options import CORRECTIONS_HELP, FIT_HELP, IMAGE_SIZE_HELP, ComputeOptions, FilmOptions, Fit
from cxrlt_cli.config.shard_options import ShardOptions
from cxrlt_cli.config.study_options import StudyOptions

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
        choices_help("How views, and members of an ensemble, are merged to one probability.", MERGES),
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
        "Calibrate probabilities, as fitted on the validation films of the training or by --fitted.\n\n"
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
        "f1: where F1 is best.\n\n"
        "sensitivity-0.8, -0.9, -0.95: where that share of the positives is found.",
        panel="Prediction",
        shown="f1, or as calibrate was asked",
    )
    fitted: Path | None = option(
        None,
        "JSON that cxrlt calibrate wrote of this model, or ensemble --fit of this ensemble: for --calibration and "
        "--decisions, in place of what the training fitted. Of calibrate's, warns where films are unlike those it was "
        "fitted on.",
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
    checkpoint: Path = option(..., "Weights: a file that train wrote, or the winner's.", argument=True)
    films: Films = option((), FILMS_HELP, argument=True)
    findings: Names | None = option(
        None, "Findings to write, separated by commas (default: all the model has).", panel="Films"
    )
    ood_score: bool = option(
        False,
        "Add a column ood_score: how unlike the training films a film is, from 0 to 1, as the share of the validation "
        "films that are less so.",
        panel="Prediction",
    )
    embeddings: Path | None = option(
        None,
        "Parquet or npz file for image features (embeddings), averaged over the feature map.",
        panel="Prediction",
        rare=True,
    )
    nearest: Path | None = option(
        None, "CSV for the 5 films of --among that each film resembles most.", panel="Prediction", rare=True
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
        (), "Checkpoints, runs of --folds or --seeds, and prediction CSVs, mixed.", argument=True
    )
    weights: Numbers | None = option(
        None,
        "A weight for each member, or for each run, whose members share it (default: all members alike).",
        panel="Prediction",
    )
    fit: bool = option(
        False,
        "Choose weights, merge and gating by macro AP on the labels of --csv, and write them to a YAML beside --out; "
        "--out gets each of these films as blended by what was chosen without it.",
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
        False, "Write the findings of all members, each blended of those that know it.", panel="Prediction", rare=True
    )
    soup: Literal["uniform", "greedy"] | None = option(
        None,
        "Average weights of checkpoints of one architecture to one checkpoint, judged on labelled films of --csv.\n\n"
        "uniform: of all members.\n\n"
        "greedy: of those with which macro AP on --csv is no lower, from the best on (Wortsman 2022).",
        panel="Prediction",
    )
    out: Path = option(Path("submission.csv"), "CSV to write; with --soup, a .safetensors file.")

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
        "auto: whyxrayclip; for digital phantoms, where that cannot be had, phantom-clip.\n\n"
        "whyxrayclip: WhyXrayCLIP, from this machine or else from the hub.\n\n"
        "phantom-clip: a demonstration that knows drawings alone.\n\n"
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
        "Each ranks films in another order.",
        panel="Zero-shot",
        rare=True,
    )
    anchor: Literal["none", "normal"] = option(
        "none",
        "What a score is compared with.\n\n"
        "none: nothing; probabilities lie near a half, and the order is that of the cosines.\n\n"
        "normal: sentences on a normal film, at the model's temperature; the order changes.",
        panel="Zero-shot",
    )
    tta: Views = option(
        "none", "Test-time augmentation: views of a film whose features are averaged; as for infer.", panel="Zero-shot"
    )
    features: Path | None = option(
        None, "Folder that keeps image features, so that other sentences cost seconds.", panel="Zero-shot", rare=True
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
        None, "HTML file on what each sentence is worth, where --csv has labels.", panel="Zero-shot"
    )
    dicom_columns: bool = option(False, DICOM_COLUMNS_HELP, panel="Zero-shot", rare=True)
    out: Path = option(Path("submission.csv"), "CSV to write.")


class DemoOptions(Options):
    directory: Path = option(Path("cxrlt-demo"), "Folder for the demonstration.", argument=True)


class GuideOptions(Options):
    topic: str | None = option(None, "Page to show (default: the list of them).", argument=True)


class EnvOptions(Options):
    pass


class DataCheckOptions(FilmOptions):
    films: Films = option((), FILMS_HELP, argument=True)
    against: tuple[Path, ...] = option(
        (), "CSV of other films, such as the validation's, that must share no patient; may be repeated.", panel="Films"
    )
    corrections: tuple[Path, ...] = option((), CORRECTIONS_HELP, panel="Films", rare=True)
    submission: Path | None = option(None, "Submission CSV to hold against --csv.", panel="Films")
    checkpoint: Path | None = option(None, "Model whose findings the columns are held against.", panel="Films")
    json_path: Path | None = option(None, "File for the faults as JSON.", alias="json")
    fix: Path | None = option(None, "CSV of the films that training is better without, for --exclude.")


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
        "PatientAge. Labels are the study's: some findings show on one of its films alone.",
    )
    hospital: int = option(
        1,
        "Where they are taken; 2: a referral hospital with older, sicker patients, other devices, and softer, noisier "
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
        None, "Folder to put it in, to be copied elsewhere (default: the cache, where commands find it by its name)."
    )


class ModelsVerifyOptions(Options):
    name: str = option(..., "Model or folder to check.", argument=True)


class ModelsExportOptions(Options):
    checkpoint: Path = option(..., "Weights to export.", argument=True)
    out: Path = option(Path("model.onnx"), "ONNX file to write.")
