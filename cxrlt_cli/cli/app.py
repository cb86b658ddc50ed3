"""The commands: options in, engine called, exit code out."""

import inspect
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from cxrlt_cli import __version__
from cxrlt_cli import config as c
from cxrlt_cli.cli.options import as_command, resolve_told
from cxrlt_cli.cli.typed import Command, Group, remarks
from cxrlt_cli.errors import explain
from cxrlt_cli.files import open_standard_streams
from cxrlt_cli.machine import keep_freed_memory, share_cores, signals

if TYPE_CHECKING:
    from cxrlt_cli.engine.reporter import Reporter

INTERRUPTED = 130

app = typer.Typer(
    name="cxrlt",
    cls=Group,
    help="Long-tailed and zero-shot classification of chest X-rays. Research software, not a medical device.",
    epilog="Every command has its own help: cxrlt train --help. Every option of all commands: cxrlt guide options",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(cls=Group, help="Import, check and cache films and labels; draw phantoms.", no_args_is_help=True)
models_app = typer.Typer(cls=Group, help="List, download, verify and export models.", no_args_is_help=True)
app.add_typer(data_app, name="data", rich_help_panel="Data and models")
app.add_typer(models_app, name="models", rich_help_panel="Data and models")

Run = Callable[[c.OptionsT, "Reporter"], object]
Load = Callable[[], Run[c.OptionsT]]


def command(
    model: type[c.OptionsT], *, panel: str, parent: typer.Typer = app, name: str | None = None
) -> Callable[[Load[c.OptionsT]], Load[c.OptionsT]]:
    """Register a function as the command of its name, with its docstring for help and the errors of the table.

    The function imports what carries the command out, which can take seconds, and gives that. The second paragraph of
    its docstring is a line that works, for the end of the help.
    """
    rare = frozenset(field for field in model.model_fields if c.about(model, field)["rare"])
    kind = type("Command", (Command,), {"rare": rare})

    def register(load: Load[c.OptionsT]) -> Load[c.OptionsT]:
        def body(ctx: typer.Context) -> None:
            from cxrlt_cli.cli.display import RichReporter, consoles, show_error, waiting
            from cxrlt_cli.engine.cluster import speaks

            out, err = consoles()
            debug = ctx.params["debug"]
            first = speaks(os.environ)
            try:
                os.getcwd()  # noqa: PTH109 - some libraries end the process where the folder that it began in is gone
                options = resolve_told(model, ctx, first)
                debug = options.debug
                share_cores()
                keep_freed_memory()
                with waiting(err, options.quiet):
                    run = load()
                reporter = RichReporter(out, err, options.quiet)
                for remark in remarks(ctx) if first else ():
                    reporter.warn(remark)
                run(options, reporter)
            except KeyboardInterrupt:
                err.print("Interrupted.")
                raise typer.Exit(INTERRUPTED) from None
            except Exception as error:
                known = explain(error)
                if known is None:
                    raise
                if debug:
                    import traceback  # late: help and completion need none

                    traceback.print_exc()
                show_error(err, known)
                raise typer.Exit(known.exit_code) from None

        function = as_command(model, body)
        function.__doc__, example = inspect.cleandoc(load.__doc__ or "").split("\n\n")
        epilog = f"Example: {example}"
        parent.command(name or load.__name__, cls=kind, epilog=epilog, rich_help_panel=panel)(function)
        return load

    return register


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cxrlt {__version__}")
        raise typer.Exit


@app.callback()
def main_options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    pass


@command(c.TrainOptions, panel="Train")
def train() -> Run[c.TrainOptions]:
    """Train a classifier on your films: first the head on a frozen backbone, then the whole network.

    cxrlt train --csv labels.csv --image-dir images
    """
    from cxrlt_cli.verbs.train import train

    return train


@command(c.FinetuneOptions, panel="Train")
def finetune() -> Run[c.FinetuneOptions]:
    """Fine-tune a checkpoint on other films, other findings or another loss.

    cxrlt finetune runs/nih --csv labels.csv --image-dir images --loss asl
    """
    from cxrlt_cli.verbs.finetune import finetune

    return finetune


@command(c.InferOptions, panel="Predict")
def infer() -> Run[c.InferOptions]:
    """Predict films with one checkpoint: a CSV of probabilities, one row per film, one column per finding.

    cxrlt infer runs/nih --csv test.csv --image-dir images --out predictions.csv
    """
    from cxrlt_cli.verbs.infer import infer

    return infer


@command(c.EnsembleOptions, panel="Predict")
def ensemble() -> Run[c.EnsembleOptions]:
    """Combine checkpoints and prediction CSVs into one prediction.

    cxrlt ensemble runs/a runs/b --csv test.csv --image-dir images --tta flip_scale
    """
    from cxrlt_cli.verbs.ensemble import ensemble

    return ensemble


@command(c.CalibrateOptions, panel="Predict")
def calibrate() -> Run[c.CalibrateOptions]:
    """Fit thresholds and calibrate probabilities on labelled films of your hospital, for infer --fitted.

    cxrlt calibrate runs/nih --csv local.csv --image-dir images --miss-at-most 0.1
    """
    from cxrlt_cli.verbs.calibrate import calibrate

    return calibrate


@command(c.OodOptions, panel="Predict")
def ood() -> Run[c.OodOptions]:
    """Score findings without labels, from text prompts (zero-shot).

    cxrlt ood --csv test.csv --image-dir images
    """
    from cxrlt_cli.verbs.ood import ood

    return ood


@command(c.EvaluateOptions, panel="Evaluate")
def evaluate() -> Run[c.EvaluateOptions]:
    """Score predictions against labels: AP, AUROC, F1 and calibration, with confidence intervals.

    cxrlt evaluate predictions.csv --csv labels.csv --report page.html
    """
    from cxrlt_cli.verbs.evaluate import evaluate

    return evaluate


@command(c.ReportOptions, panel="Evaluate")
def report() -> Run[c.ReportOptions]:
    """Write a folder for a paper (tables, figures, methods, cards), or verify one (--verify).

    cxrlt report runs/x --out report
    """
    from cxrlt_cli.verbs.paper import report

    return report


@command(c.DemoOptions, panel="Train")
def demo() -> Run[c.DemoOptions]:
    """See all of it on synthetic X-rays: check, train, ensemble, evaluate, report. Resumes after a stop.

    cxrlt demo
    """
    from cxrlt_cli.cli.demo import demo
    from cxrlt_cli.cli.display import consoles

    return lambda options, _: demo(options.directory, options.seed, _run_again, consoles()[0])


@command(c.DataCheckOptions, panel="Data", parent=data_app, name="check")
def data_check() -> Run[c.DataCheckOptions]:
    """Check films, labels and submissions for errors before a run.

    cxrlt data check --csv labels.csv --image-dir images
    """
    from cxrlt_cli.verbs.data_check import check

    return check


@command(c.DataCacheOptions, panel="Data", parent=data_app, name="cache")
def data_cache() -> Run[c.DataCacheOptions]:
    """Decode films once, on all cores, and keep them at the model's input size, for --cache of other commands.

    cxrlt data cache --csv labels.csv --image-dir images --cache cache
    """
    from cxrlt_cli.verbs.data_cache import build_cache

    return build_cache


@command(c.DataImportOptions, panel="Data", parent=data_app, name="import")
def data_import() -> Run[c.DataImportOptions]:
    """Convert a public data set's label files, as published, to the CSV that every command reads.

    cxrlt data import nih NIH --out labels.csv
    """
    from cxrlt_cli.verbs.data_import import import_labels

    return import_labels


@command(c.DataPhantomOptions, panel="Data", parent=data_app, name="phantom")
def data_phantom() -> Run[c.DataPhantomOptions]:
    """Draw digital phantoms: synthetic chest X-rays with known findings.

    cxrlt data phantom films --films 300
    """
    from cxrlt_cli.verbs.data_phantom import draw_phantoms

    return draw_phantoms


@command(c.ModelsListOptions, panel="Models", parent=models_app, name="list")
def models_list() -> Run[c.ModelsListOptions]:
    """List the models that cxrlt knows, and which are on this machine.

    cxrlt models list
    """
    from cxrlt_cli.verbs.models import list_models

    return list_models


@command(c.ModelsPullOptions, panel="Models", parent=models_app, name="pull")
def models_pull() -> Run[c.ModelsPullOptions]:
    """Download a model from the hub for offline use: a pinned revision, as safetensors, with checksums.

    cxrlt models pull rad-dino --out rad-dino
    """
    from cxrlt_cli.verbs.models import pull_model

    return pull_model


@command(c.ModelsVerifyOptions, panel="Models", parent=models_app, name="verify")
def models_verify() -> Run[c.ModelsVerifyOptions]:
    """Verify a downloaded model against the checksums of its manifest.

    cxrlt models verify rad-dino
    """
    from cxrlt_cli.verbs.models import verify_model

    return verify_model


@command(c.ModelsExportOptions, panel="Models", parent=models_app, name="export")
def models_export() -> Run[c.ModelsExportOptions]:
    """Export a checkpoint to ONNX, for other programs.

    cxrlt models export runs/nih/best.safetensors --out model.onnx
    """
    from cxrlt_cli.verbs.models_export import export_model

    return export_model


@command(c.GuideOptions, panel="Help")
def guide() -> Run[c.GuideOptions]:
    """Read the guide: how things work, what was measured, every option. No network is needed.

    cxrlt guide train
    """
    from cxrlt_cli.cli.display import consoles
    from cxrlt_cli.cli.guide import show_guide

    return lambda options, _: show_guide(options.topic, consoles()[0])


@command(c.EnvOptions, panel="Help")
def env() -> Run[c.EnvOptions]:
    """Show versions, devices, folders and licences, for a bug report.

    cxrlt env
    """
    from cxrlt_cli.verbs.environment import show_environment

    return show_environment


def _run_again(arguments: Sequence[str]) -> int:
    """A command as if it had been typed; its exit code."""
    try:
        return int(app(list(arguments), standalone_mode=False) or 0)
    except typer.Exit as ended:
        return ended.exit_code


def main() -> None:
    open_standard_streams()
    for number in signals("SIGUSR1"):  # which asks a training to keep its state: elsewhere, and before, there is none
        signal.signal(number, signal.SIG_IGN)
    try:
        app()
    except OSError as error:  # of what Typer prints itself, such as help
        known = explain(error)
        if known is None:
            raise
        sys.exit(f"Error: {known.message}")
