"""Recipes by name: what ``--preset`` fills in for options that are not given.

``auto`` has no values of its own: ``training.recipe`` takes them, and tells why, once labels are read.
"""

from typing import Any, Literal

from cxrlt_cli.config.fields import Options

Preset = Literal["auto", "challenge", "plain", "stage1", "phantom"]

PRESET_HELP = {
    "auto": "the choices that scored best out of fold on real films, each shown with its numbers.",
    "challenge": "the winner's: attention head, Distribution-Balanced loss, class-aware sampling.",
    "plain": "linear, bce, uniform.",
    "stage1": "the winner's pretraining on MIMIC-CXR, to be followed by finetune: asl with logit adjustment.",
    "phantom": "a small network for digital phantoms.",
}
PRESETS: dict[Preset, dict[str, Any]] = {
    "auto": {},
    "challenge": {"head": "csra", "loss": "db", "sampler": "cas", "warmup_epochs": 10, "epochs": 60},
    "plain": {"head": "linear", "loss": "bce", "sampler": "uniform"},
    "stage1": {
        "head": "mlp",
        "loss": "asl",
        "logit_adjust": 1.0,
        "sampler": "uniform",
        "warmup_epochs": 3,
        "lr_warmup": 1e-3,
        "lr_head": 1e-4,
        "lr_backbone": 1e-5,
    },
    "phantom": {
        "backbone": "convnextv2_atto",
        "weights": "none",
        "image_size": 96,
        "head": "csra",
        "loss": "db",
        "sampler": "cas",
        "drop_path": 0.0,
        "warmup_epochs": 0,
        "epochs": 4,
        "lr_head": 2e-3,
        "lr_backbone": 2e-3,
        "batch": 32,
    },
}


def filled_in(preset: Preset) -> set[str]:
    """What a preset that is typed takes out of a file that another one was written to: the method, and its own."""
    return {"head", "loss", "sampler", "prior_bias", "logit_adjust", *PRESETS[preset]}


def values_of(preset: Preset, options: Options) -> dict[str, Any]:
    """What a preset says of options that were not given, and that do not contradict those that were."""
    values = PRESETS[preset]
    given = set(options.model_fields_set)
    if getattr(options, "retrain_head", False):
        given |= {"warmup_epochs", "epochs"}
    if getattr(options, "frozen", False):
        given |= {"warmup_epochs", "lr_warmup", "lr_backbone", "drop_path"}
    if getattr(options, "prior_bias", None):
        given |= {"logit_adjust"}
    if given & {"csra_heads", "csra_lambda"} and values.get("head") != "csra":
        given |= {"head"}
    if getattr(options, "weights", None) == "none" and values.get("weights") != "none":
        given |= {"lr_head", "lr_backbone"}  # the preset's are for weights that have learned
    return {name: value for name, value in values.items() if name not in given}
