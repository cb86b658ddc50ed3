"""What options can be chosen from: names and their help, for the command line, the README and the registries in code.

A new loss is its name and line here and its function in ``losses.LOSSES``; so for heads, samplers, views, merges and
trackers. ``tests/config/test_choices.py`` holds each table against its registry.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias

HEADS = {
    "linear": "average, then one layer.",
    "mlp": "average, then two layers.",
    "csra": "attention for each finding (Zhu & Wu 2021).",
    "csra-winner": "csra as the challenge's winner built it.",
    "mldecoder": "a query for each finding looks at the map (Ridnik 2023).",
}
LOSSES = {
    "bce": "every label counts the same.",
    "weighted-bce": "positives of rare findings count more.",
    "focal": "easy labels count less.",
    "cb-focal": "focal, and rare findings count more.",
    "asl": "easy negatives count less, very easy ones not at all.",
    "asl-exp": "asl, weighted by frequency (winner of 2023).",
    "ral": "asl, and very hard negatives count less.",
    "hill": "negatives that may be missing labels count less.",
    "twoway": "positives must rank above negatives.",
    "ldam": "a wider margin for rare positives.",
    "ldam-drw": "ldam, and rare findings count more at the end.",
    "db": "rebalances findings that occur together; negatives count less.",
    "db-lite": "frequency weights; called db by the winner of 2026.",
    "mfm": "asl with a stronger focal term for rare findings.",
}
SAMPLERS = {
    "uniform": "every film once per epoch.",
    "cas": "every finding equally often (class-aware).",
    "rfs": "films are repeated if their rarest finding is below a threshold.",
    "rfs-label-share": "rfs, by shares of labels; called cas by the winner of 2026.",
    "sqrt": "between uniform and cas.",
    "progressive": "from uniform to cas over the epochs.",
}
VIEWS = {
    "none": "the film as it is.",
    "flip": "also its mirror image.",
    "light": "flip, and rotated by 5 degrees both ways.",
    "medium": "light, and 10 % larger and smaller.",
    "heavy": "medium, and 10 % brighter and darker.",
    "flip_scale": "flip, and 5 % larger and smaller, each mirrored too (the winner's).",
}
MERGES = {
    "mean": "of the probabilities.",
    "logit_mean": "the sigmoid of the mean logit.",
    "gmean": "the geometric mean of the probabilities.",
    "median": "of the probabilities.",
    "max": "of the probabilities.",
    "rank": "the mean rank among the films (members only; their views by mean).",
}
POSTPROCESSES = {
    "none": "nothing.",
    "normal_gating": "findings are lowered if the film looks normal; this can lower AP, so test it on labelled films.",
}
TRACKERS = {
    "tensorboard": "event files in the run folder.",
    "wandb": "Weights & Biases; WANDB_PROJECT names the project, WANDB_MODE=offline needs no network.",
    "mlflow": "the server or folder of MLFLOW_TRACKING_URI.",
    "none": "only history.jsonl.",
}
KINDS = {
    "auto": "recognised by the files.",
    "nih": "NIH ChestX-ray14; NIH-CXR-LT; Google's labels.",
    "chexpert": "CheXpert, CheXpert Plus, BRAX.",
    "mimic": "MIMIC-CXR-JPG: the tables joined.",
    "cxr-lt": "the CXR-LT challenges of 2023, 2024 and 2026.",
    "padchest": "PadChest, PadChest-GR, BIMCV-COVID19.",
    "vindr": "VinDr-CXR and VinDr-PCXR, also Kaggle's.",
    "rsna": "RSNA pneumonia.",
    "siim": "SIIM-ACR pneumothorax.",
    "candid": "CANDID-PTX.",
    "boxes": "ChestX-Det10, Object-CXR.",
    "folders": "one folder per class: COVID-19 Radiography, Kermany; Shenzhen, Montgomery and JSRT by their names.",
    "huggingface": "a folder with metadata.csv, .jsonl or Parquet shards.",
    "medmnist": "ChestMNIST's .npz.",
    "openi": "Open-i (Indiana): XML reports.",
    "table": "any other table: columns of 0 and 1, or a list in a cell.",
}

if TYPE_CHECKING:
    HeadName: TypeAlias = str
    LossName: TypeAlias = str
    SamplerName: TypeAlias = str
    Views: TypeAlias = str
    Merge: TypeAlias = str
    Postprocess: TypeAlias = str
    Track: TypeAlias = str
    Kind: TypeAlias = str
else:
    HeadName = Literal[tuple(HEADS)]
    LossName = Literal[tuple(LOSSES)]
    SamplerName = Literal[tuple(SAMPLERS)]
    Views = Literal[tuple(VIEWS)]
    Merge = Literal[tuple(MERGES)]
    Postprocess = Literal[tuple(POSTPROCESSES)]
    Track = Literal[tuple(TRACKERS)]
    Kind = Literal[tuple(KINDS)]


def choices_help(first: str, choices: Mapping[str, str]) -> str:
    """The help of an option: a line on what it does, then one on each choice; those of the same words share one."""
    names: dict[str, list[str]] = {}
    for name, text in choices.items():
        names.setdefault(text, []).append(name)
    return "\n\n".join([first, *(f"{', '.join(same)}: {text}" for text, same in names.items())])
