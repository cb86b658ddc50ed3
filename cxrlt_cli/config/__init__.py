"""The options of every command: one frozen model each, and the only place where a default is written.

The command line, ``--config`` files, the saved ``run.yaml`` and the help are all made from these models.
"""

from cxrlt_cli.config.calibrate_options import CalibrateOptions
from cxrlt_cli.config.choices import Track
from cxrlt_cli.config.command_options import (
    DataCacheOptions,
    DataCheckOptions,
    DataPhantomOptions,
    DemoOptions,
    EnsembleOptions,
    EnvOptions,
    GuideOptions,
    InferOptions,
    ModelsExportOptions,
    ModelsListOptions,
    ModelsPullOptions,
    ModelsVerifyOptions,
    OodOptions,
    PredictOptions,
)
from cxrlt_cli.config.evaluate_options import EvaluateOptions
from cxrlt_cli.config.fields import (
    Names,
    Numbers,
    Options,
    OptionsT,
    Settings,
    about,
    changed,
    check_settings,
    flag,
    flags,
    keys,
    option,
    to_yaml,
)
from cxrlt_cli.config.film_options import STEP, ComputeOptions, Device, FilmOptions, Precision
from cxrlt_cli.config.fit_options import FitOptions
from cxrlt_cli.config.import_options import DataImportOptions
from cxrlt_cli.config.presets import PRESETS, filled_in
from cxrlt_cli.config.report_options import ReportOptions
from cxrlt_cli.config.shard_options import ShardOptions, shard_of
from cxrlt_cli.config.train_options import FinetuneOptions, TrainOptions

__all__ = [
    "PRESETS",
    "STEP",
    "CalibrateOptions",
    "ComputeOptions",
    "DataCacheOptions",
    "DataCheckOptions",
    "DataImportOptions",
    "DataPhantomOptions",
    "DemoOptions",
    "Device",
    "EnsembleOptions",
    "EnvOptions",
    "EvaluateOptions",
    "FilmOptions",
    "FinetuneOptions",
    "FitOptions",
    "GuideOptions",
    "InferOptions",
    "ModelsExportOptions",
    "ModelsListOptions",
    "ModelsPullOptions",
    "ModelsVerifyOptions",
    "Names",
    "Numbers",
    "OodOptions",
    "Options",
    "OptionsT",
    "Precision",
    "PredictOptions",
    "ReportOptions",
    "Settings",
    "ShardOptions",
    "Track",
    "TrainOptions",
    "about",
    "changed",
    "check_settings",
    "filled_in",
    "flag",
    "flags",
    "keys",
    "option",
    "shard_of",
    "to_yaml",
]
