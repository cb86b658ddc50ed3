"""The options of every command: one frozen model each, and the only place where a default is written.

The command line, ``--config`` files, the saved ``run.yaml`` and the help are all made from these models. A field is an
option of the same name with dashes; ``option`` gives it its default, its help and the panel it stands in.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from cxrlt_cli.errors import OptionError

Head = Literal["linear", "mlp", "csra", "csra-winner"]
Loss = Literal["bce", "asl", "db"]
Sampler = Literal["uniform", "cas"]
Preset = Literal["challenge", "phantom"]
Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Views = Literal["none", "flip", "light", "medium", "heavy", "flip_scale"]
Merge = Literal["mean", "logit_mean", "gmean", "median", "max", "rank"]
Postprocess = Literal["none", "normal_gating"]


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _unique(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names or len(set(names)) < len(names):
        raise ValueError("names must be given, each once")
    return names


Names = Annotated[tuple[str, ...], BeforeValidator(_split), AfterValidator(_unique)]
Numbers = Annotated[tuple[float, ...], BeforeValidator(_split)]
Threshold = Annotated[Literal["0.5", "best"], BeforeValidator(str)]
OptionsT = TypeVar("OptionsT", bound="Options")

PRESETS: dict[Preset, dict[str, Any]] = {
    "challenge": {},
    "phantom": {
        "backbone": "convnextv2_atto",
        "weights": "none",
        "image_size": 96,
        "drop_path": 0.0,
        "warmup_epochs": 0,
        "epochs": 4,
        "lr_head": 2e-3,
        "lr_backbone": 2e-3,
        "batch_size": 32,
    },
}


def option(
    default: Any, help: str, *, panel: str = "Run", built: bool = True, argument: bool = False, **bounds: Any
) -> Any:
    """A field that is an option: its default, its help, its panel, and pydantic's bounds (``ge``, ``le``, ...).

    An option of a later version stands in the help marked as such (``built=False``), and its use is an error.
    """
    about: dict[str, Any] = {"panel": panel, "built": built, "argument": argument}
    return Field(default, description=help, json_schema_extra=about, **bounds)


class Options(BaseModel):
    """What all commands share."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    seed: int = option(42, "One seed drives split, order, augmentation and initial weights.", ge=0)
    quiet: bool = option(False, "Print results and errors only.")
    debug: bool = option(False, "Show a traceback with every error.")


class FilmOptions(Options):
    """Which films, and what their CSV calls things."""

    csv: Path | None = option(None, "CSV with one row a film.", panel="Films")
    image_dir: Path | None = option(
        None, "Folder of the films (default: the CSV's folder, or images/ beside the CSV).", panel="Films"
    )
    id_column: str = option("ImageID", "Column that names the film's file inside the folder.", panel="Films")
    patient_column: str = option("PatientID", "Column that says whose film it is.", panel="Films")
    findings: Names | None = option(
        None, "Findings, separated by commas (default: every column of 0, 1 and empty).", panel="Films"
    )
    exclude: tuple[Path, ...] = option((), "CSV of films to leave out, by id; may be repeated.", panel="Films")
    cache: Path | None = option(None, "Folder that keeps decoded films.", panel="Films", built=False)
    max_pixels: int = option(100_000_000, "Refuse films of more pixels than this.", panel="Films", ge=1)


class ComputeOptions(FilmOptions):
    """Where it runs, and how wide."""

    device: Device = option("auto", "auto takes a GPU where there is one.", panel="Compute")
    precision: Precision = option(
        "auto", "auto takes bf16 where the hardware has matrix units for it.", panel="Compute"
    )
    workers: int | Literal["auto"] = option("auto", "Processes that read films.", panel="Compute")
    batch_size: int = option(64, "Films in a batch, on each process.", panel="Compute", ge=1)
    processes: int | Literal["auto"] = option(1, "Processes that compute.", panel="Processes", built=False)
    nodes: int = option(1, "Machines that take part.", panel="Processes", built=False)
    rendezvous: str | None = option(None, "HOST:PORT of the first machine.", panel="Processes", built=False)
    run_id: str | None = option(None, "Name that the machines of one run share.", panel="Processes", built=False)
    dry_run: bool = option(False, "Check everything, run one batch, print the plan and an estimate; write nothing.")

    @model_validator(mode="after")
    def _check_workers(self) -> Self:
        if self.workers != "auto" and self.workers < 0:
            raise ValueError("--workers must be auto, 0 or more")
        return self


class FitOptions(ComputeOptions):
    """What train and finetune share. The defaults are the recipe that won CXR-LT 2026, where it was right."""

    out: Path | None = option(None, "Folder of the run (default: runs/COMMAND-K).")
    resume: bool = option(False, "Go on where the run in --out stopped.", built=False)
    checkpoint_minutes: float = option(10.0, "Minutes between resumable checkpoints.", built=False)
    track: Literal["tensorboard", "wandb", "mlflow", "none"] = option("none", "Experiment tracker.", built=False)

    val_csv: Path | None = option(
        None, "CSV of validation films (default: patients held out from --csv).", panel="Films"
    )
    val_fraction: float = option(0.1, "Share of the films to hold out, by patient.", panel="Films", gt=0, lt=1)

    drop_path: float = option(0.2, "Stochastic depth of the backbone while it trains.", panel="Model", ge=0, lt=1)

    loss: Loss = option(
        "db",
        "bce: every label counts the same; asl: easy negatives count less (Ridnik 2021); "
        "db: rebalances findings that occur together and spares negatives (Wu 2020).",
        panel="Long tail",
    )
    sampler: Sampler = option(
        "cas",
        "uniform: every film once an epoch; cas: every finding equally often (class-aware sampling).",
        panel="Long tail",
    )

    warmup_epochs: int = option(
        10, "Epochs of phase 1: the head learns, the backbone is frozen.", panel="Schedule", ge=0
    )
    epochs: int = option(60, "Epochs of phase 2: everything learns.", panel="Schedule", ge=0)
    max_steps: int | None = option(None, "Stop after this many optimizer steps.", panel="Schedule", ge=1)
    lr_warmup: float = option(1e-3, "Learning rate of phase 1.", panel="Schedule", gt=0)
    lr_head: float | None = option(
        None, "Learning rate of the head in phase 2 (default: 1.5e-4; from scratch 1e-3).", panel="Schedule", gt=0
    )
    lr_backbone: float | None = option(
        None, "Learning rate of the backbone in phase 2 (default: 1.5e-5; from scratch 1e-3).", panel="Schedule", gt=0
    )
    weight_decay: float = option(0.01, "AdamW's weight decay; biases and norms are spared.", panel="Schedule", ge=0)
    ema_decay: float = option(
        0.9999,
        "Decay of the averaged weights in phase 2, warmed up; 0 switches averaging off.",
        panel="Schedule",
        ge=0,
        lt=1,
    )
    clip_grad: float = option(1.0, "Largest norm of the gradient; 0 switches clipping off.", panel="Schedule", ge=0)
    accumulate: int = option(1, "Batches that make one optimizer step.", panel="Schedule", ge=1)
    compile: bool | None = option(None, "Compile the model with torch.compile.", panel="Compute", built=False)

    @model_validator(mode="after")
    def _check_validation(self) -> Self:
        if self.val_csv is not None and "val_fraction" in self.model_fields_set:
            raise ValueError(
                "--val-csv and --val-fraction exclude each other: no film is held out where others are given"
            )
        return self

    @model_validator(mode="after")
    def _check_epochs(self) -> Self:
        if self.warmup_epochs + self.epochs == 0:
            raise ValueError("--warmup-epochs and --epochs are both 0: there is nothing to train")
        return self


class TrainOptions(FitOptions):
    preset: Preset | None = option(
        None,
        "challenge: the winner's recipe, as the defaults say it; phantom: a small network for digital phantoms "
        "(default: challenge with --csv, phantom without).",
        panel="Model",
    )
    backbone: str = option("convnextv2_base", "Any image model of timm.", panel="Model")
    head: Head = option(
        "csra",
        "From feature map to logits. linear: average, then one layer; mlp: average, then two layers; "
        "csra: attention for each finding (Zhu & Wu 2021); csra-winner: as the challenge's winner built it.",
        panel="Model",
    )
    csra_heads: Literal[1, 2, 4, 6, 8] = option(1, "Attention heads of csra.", panel="Model")
    csra_lambda: float = option(0.1, "Weight of csra's attention against its average.", panel="Model", ge=0)
    image_size: int = option(512, "Side of the square that a film is resized to, in pixels.", panel="Model", ge=32)
    weights: str = option("pretrained", "pretrained (timm's hub), none, or a file or folder of weights.", panel="Model")

    def resolved(self) -> "TrainOptions":
        """These options with the preset's values where none was given, and every dependent default filled in."""
        preset = self.preset or ("phantom" if self.csv is None else "challenge")
        given = self.model_fields_set | {"preset"}
        chosen = {name: value for name, value in PRESETS[preset].items() if name not in given}
        weights = str(Path(self.weights).resolve()) if Path(self.weights).exists() else self.weights
        options = self.model_copy(update={"preset": preset, "weights": weights, **chosen})
        rates = (1e-3, 1e-3) if options.weights == "none" else (1.5e-4, 1.5e-5)
        return _fill(options, lr_head=rates[0], lr_backbone=rates[1])


class FinetuneOptions(FitOptions):
    checkpoint: Path = option(..., "Weights to start from: a file that train wrote, or the winner's.", argument=True)
    retrain_head: bool = option(False, "Train a fresh head on a frozen backbone.", panel="Model", built=False)
    head: Head | None = option(None, "Another head than the checkpoint's, from scratch.", panel="Model")
    csra_heads: Literal[1, 2, 4, 6, 8] | None = option(
        None, "Attention heads of csra; another number starts from scratch (default: the checkpoint's).", panel="Model"
    )
    csra_lambda: float | None = option(
        None, "Weight of csra's attention against its average (default: the checkpoint's).", panel="Model", ge=0
    )
    image_size: int | None = option(
        None, "Side of the square film in pixels (default: the checkpoint's).", panel="Model", ge=32
    )
    warmup_epochs: int = option(
        0, "Epochs of phase 1: the head learns, the backbone is frozen.", panel="Schedule", ge=0
    )
    epochs: int = option(10, "Epochs of phase 2: everything learns.", panel="Schedule", ge=0)

    def resolved(self) -> "FinetuneOptions":
        """These options with every default that depends on another one filled in."""
        return _fill(self, lr_head=1.5e-4, lr_backbone=1.5e-5)


class PredictOptions(ComputeOptions):
    """What infer and ensemble share."""

    tta: Views = option("none", "Views of a film that are averaged.", panel="Prediction", built=False)
    merge: Merge = option("mean", "How views and members become one probability.", panel="Prediction", built=False)
    postprocess: Postprocess = option(
        "none", "What happens to the probabilities last.", panel="Prediction", built=False
    )
    alpha: float = option(0.5, "Strength of normal_gating.", panel="Prediction", built=False)


class InferOptions(PredictOptions):
    checkpoint: Path = option(..., "Weights: a file that train wrote, or the winner's.", argument=True)
    findings: Names | None = option(
        None, "Findings to write, separated by commas (default: all the model has).", panel="Films"
    )
    out: Path = option(Path("predictions.csv"), "CSV to write.")


class EnsembleOptions(PredictOptions):
    members: tuple[Path, ...] = option(..., "Checkpoints and prediction CSVs, mixed.", argument=True)
    weights: Numbers | None = option(None, "A weight for each member, separated by commas.", panel="Prediction")
    normal: str | None = option(None, "Finding that means normal.", panel="Prediction")
    fit: bool = option(False, "Choose the weights on labelled films.", panel="Prediction")
    out: Path = option(Path("submission.csv"), "CSV to write.")


class OodOptions(ComputeOptions):
    model: str = option("auto", "auto, whyxrayclip, phantom-clip, a folder, or hf-hub:NAME.", panel="Zero-shot")
    prompts: Path | None = option(None, "YAML file: findings and the sentences that describe them.", panel="Zero-shot")
    pool: str = option("mean", "From prompts to a score: mean, max, topk:K or lse.", panel="Zero-shot")
    anchor: Literal["none", "normal"] = option("none", "What a score is measured against.", panel="Zero-shot")
    tta: Views = option("none", "Views of a film that are averaged.", panel="Zero-shot")
    features: Path | None = option(None, "Folder that keeps image features.", panel="Zero-shot")
    normalization: str = option("auto", "Mean and deviation that the encoder expects.", panel="Zero-shot")
    out: Path = option(Path("submission.csv"), "CSV to write.")


class EvaluateOptions(Options):
    predictions: tuple[Path, ...] = option(
        ..., "Prediction CSV (two compare them in pairs, in a later version).", argument=True
    )
    csv: Path | None = option(
        None, "CSV with the true labels (default: the phantoms' own, where those were predicted).", panel="Films"
    )
    train_csv: Path | None = option(
        None, "Labels of the training films, for the frequency bands (default: --csv's own).", panel="Films"
    )
    id_column: str = option("ImageID", "Column that names the film.", panel="Films")
    patient_column: str = option("PatientID", "Column that says whose film it is.", panel="Films")
    findings: Names | None = option(
        None, "Findings to score, separated by commas (default: all that both have).", panel="Films"
    )
    exclude: tuple[Path, ...] = option((), "CSV of films to leave out, by id; may be repeated.", panel="Films")
    bootstrap: int = option(1000, "Resamples of patients for the intervals.", panel="Scores", built=False)
    empty: Literal["skip", "zero"] = option(
        "skip", "A finding without a positive film is left out of the means, or counts as AP 0.", panel="Scores"
    )
    threshold: Threshold = option("0.5", "Where F1 cuts: at 0.5, or where it is best.", panel="Scores")
    by: str | None = option(None, "Column whose groups are scored apart.", panel="Scores", built=False)
    json_path: Path | None = option(None, "File for the scores as JSON.", panel="Scores", alias="json")
    report: Path | None = option(None, "File for a page to look at.", panel="Scores", built=False)


class DemoOptions(Options):
    directory: Path = option(Path("cxrlt-demo"), "Folder for the demonstration.", argument=True)


class DataCheckOptions(FilmOptions):
    submission: Path | None = option(None, "Submission CSV to hold against --csv.", panel="Films")
    json_path: Path | None = option(None, "File for the faults as JSON.", alias="json")
    fix: Path | None = option(None, "CSV of the films at fault, for --exclude.")


class DataCacheOptions(FilmOptions):
    image_size: int = option(512, "Side of the square film in pixels.", ge=32)


class DataPhantomOptions(Options):
    directory: Path = option(..., "Folder for the films.", argument=True)
    films: int = option(1000, "Number of films, those of the two tests included.", ge=10)
    size: int = option(256, "Side of a film in pixels.", ge=64, le=4096)
    imbalance: float | None = option(None, "Ratio of the most to the least frequent finding.", ge=1)
    sheet: Path | None = option(None, "PNG for a contact sheet.")


class ModelsListOptions(Options):
    pass


class ModelsPullOptions(Options):
    name: str = option(..., "Model to fetch.", argument=True)
    out: Path | None = option(None, "Folder to put it in.")


class ModelsVerifyOptions(Options):
    name: str = option(..., "Model or folder to check.", argument=True)


class ModelsExportOptions(Options):
    checkpoint: Path = option(..., "Weights to export.", argument=True)
    out: Path = option(Path("model.onnx"), "ONNX file to write.")


def about(model: type[Options], name: str) -> dict[str, Any]:
    """What ``option`` said of a field: its panel, whether it is built, whether it is an argument."""
    extra = model.model_fields[name].json_schema_extra
    assert isinstance(extra, dict), f"{model.__name__}.{name} is not made with option()"
    return extra


def flag(model: type[Options], name: str) -> str:
    """``--image-dir`` for ``image_dir``; ``CHECKPOINT`` for an argument."""
    if about(model, name)["argument"]:
        return name.upper()
    return "--" + (model.model_fields[name].alias or name).replace("_", "-")


def to_yaml(options: Options) -> dict[str, Any]:
    """What a ``--config`` file needs to say to ask for the same again, elsewhere."""
    model = type(options)
    left_out = {"out", "quiet", "debug", "dry_run"} | {n for n in model.model_fields if not about(model, n)["built"]}
    if getattr(options, "val_csv", None) is not None:
        left_out.add("val_fraction")
    values = options.model_dump(by_alias=True, exclude_none=True, exclude=left_out)
    return {name: _plain(value) for name, value in values.items()}


def _plain(value: object) -> object:
    """A value as YAML has it; a path as it is from anywhere."""
    if isinstance(value, Path):
        return str(value.resolve())
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def refuse_unbuilt(options: Options) -> None:
    """Raise OptionError where an option of a later version was used."""
    model = type(options)
    for name in sorted(options.model_fields_set):
        default = model.model_fields[name].default
        if not about(model, name)["built"] and getattr(options, name) != default:
            raise OptionError(f"{flag(model, name)} is not built yet in this version of cxrlt.")


def _fill(options: OptionsT, **defaults: Any) -> OptionsT:
    return options.model_copy(update={k: v for k, v in defaults.items() if getattr(options, k) is None})
