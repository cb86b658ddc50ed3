"""Options of the commands that do not train."""

from pathlib import Path
from typing import Literal

from cxrlt_cli.config.fields import Names, Numbers, Options, Threshold, option
from cxrlt_cli.config.training import ComputeOptions, FilmOptions, Merge, Postprocess, Views


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
        ..., "Prediction CSV; with a second one, the first is compared with it.", argument=True
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
    bootstrap: int = option(1000, "Resamples of patients for the 95 % intervals; 0: none.", panel="Scores", ge=0)
    empty: Literal["skip", "zero"] = option(
        "skip", "A finding without a positive film is left out of the means, or counts as AP 0.", panel="Scores"
    )
    threshold: Threshold = option("0.5", "Where F1 cuts: at 0.5, or where it is best.", panel="Scores")
    by: str | None = option(None, "Column of --csv whose groups are scored apart.", panel="Scores")
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
