"""The commands: options in, engine called, exit code out."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from cxrlt_cli import __version__
from cxrlt_cli import config as c
from cxrlt_cli.cli.options import as_command, resolve
from cxrlt_cli.errors import explain

if TYPE_CHECKING:
    from cxrlt_cli.engine.reporting import Reporter

INTERRUPTED = 130

app = typer.Typer(
    name="cxrlt",
    help="Long-tailed and zero-shot classification of chest films. Research software, not a medical device.",
    epilog="Every command has its own help: cxrlt train --help",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="Look after films and labels.", no_args_is_help=True)
models_app = typer.Typer(help="Models for machines without a network, and for other programs.", no_args_is_help=True)
app.add_typer(data_app, name="data", rich_help_panel="Data and models")
app.add_typer(models_app, name="models", rich_help_panel="Data and models")

Run = Callable[[c.OptionsT, "Reporter"], object]


def command(
    model: type[c.OptionsT], *, panel: str, parent: typer.Typer = app, name: str | None = None
) -> Callable[[Run[c.OptionsT]], Run[c.OptionsT]]:
    """Register a function of options and reporter as the command of its name, with the errors of the table."""

    def register(run: Run[c.OptionsT]) -> Run[c.OptionsT]:
        def body(ctx: typer.Context) -> None:
            from cxrlt_cli.cli.display import RichReporter, consoles, show_error

            out, err = consoles()
            debug = ctx.params["debug"]
            try:
                options = resolve(model, ctx)
                debug = options.debug
                run(options, RichReporter(out, err, options.quiet))
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
        function.__doc__ = run.__doc__
        parent.command(name or run.__name__, rich_help_panel=panel)(function)
        return run

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


@command(c.TrainOptions, panel="Learn")
def train(options: c.TrainOptions, reporter: "Reporter") -> None:
    """Train a classifier on your films: a head on a frozen backbone first, then everything."""
    from cxrlt_cli.engine.train import train

    train(options, reporter)


@command(c.FinetuneOptions, panel="Learn")
def finetune(options: c.FinetuneOptions, reporter: "Reporter") -> None:
    """Go on from a checkpoint: with other films, other findings, another loss."""
    from cxrlt_cli.engine.train import finetune

    finetune(options, reporter)


@command(c.InferOptions, panel="Predict")
def infer(options: c.InferOptions, reporter: "Reporter") -> None:
    """Predict films with one checkpoint: a CSV of probabilities, a row a film, a column a finding."""
    from cxrlt_cli.engine.infer import infer

    infer(options, reporter)


@command(c.EnsembleOptions, panel="Predict")
def ensemble(options: c.EnsembleOptions, reporter: "Reporter") -> None:
    """Blend checkpoints and prediction CSVs into one."""
    from cxrlt_cli.engine.ensemble import ensemble

    ensemble(options, reporter)


@command(c.OodOptions, panel="Predict")
def ood(options: c.OodOptions, reporter: "Reporter") -> None:
    """Score findings that nobody labelled, from words alone."""
    from cxrlt_cli.engine.ood import ood

    ood(options, reporter)


@command(c.EvaluateOptions, panel="Judge")
def evaluate(options: c.EvaluateOptions, reporter: "Reporter") -> None:
    """Score predictions against labels: AP, AUROC, F1 and calibration, for each finding and each band."""
    from cxrlt_cli.engine.evaluate import evaluate

    evaluate(options, reporter)


@command(c.DemoOptions, panel="Learn")
def demo(options: c.DemoOptions, reporter: "Reporter") -> None:
    """The whole story on digital phantoms: drawn, checked, learned, blended, judged. Goes on after a stop."""
    from cxrlt_cli.cli.demo import demo
    from cxrlt_cli.cli.display import consoles

    demo(options.directory, options.seed, _run_again, consoles()[0])


@command(c.DataCheckOptions, panel="Data", parent=data_app, name="check")
def data_check(options: c.DataCheckOptions, reporter: "Reporter") -> None:
    """Look for faults in films, labels and submissions, before a run finds them."""
    from cxrlt_cli.engine.check import check

    check(options, reporter)


@command(c.DataCacheOptions, panel="Data", parent=data_app, name="cache")
def data_cache(options: c.DataCacheOptions, reporter: "Reporter") -> None:
    """Decode films once, on all cores, and keep them as a model sees them: for --cache of other commands."""
    from cxrlt_cli.engine.cache import build_cache

    build_cache(options, reporter)


@command(c.DataPhantomOptions, panel="Data", parent=data_app, name="phantom")
def data_phantom(options: c.DataPhantomOptions, reporter: "Reporter") -> None:
    """Draw digital phantoms: films whose findings are known."""
    from cxrlt_cli.engine.phantom import draw_phantoms

    draw_phantoms(options, reporter)


@command(c.ModelsListOptions, panel="Models", parent=models_app, name="list")
def models_list(options: c.ModelsListOptions, reporter: "Reporter") -> None:
    """Show the models that cxrlt knows, and which are on this machine."""
    from cxrlt_cli.engine.models import list_models

    list_models(reporter)


@command(c.ModelsPullOptions, panel="Models", parent=models_app, name="pull")
def models_pull(options: c.ModelsPullOptions, reporter: "Reporter") -> None:
    """Fetch a model from the hub, to be used offline: a pinned revision, as safetensors, with checksums."""
    from cxrlt_cli.engine.models import pull_model

    pull_model(options, reporter)


@command(c.ModelsVerifyOptions, panel="Models", parent=models_app, name="verify")
def models_verify(options: c.ModelsVerifyOptions, reporter: "Reporter") -> None:
    """Check a fetched model against the checksums of its manifest."""
    from cxrlt_cli.engine.models import verify_model

    verify_model(options, reporter)


@command(c.ModelsExportOptions, panel="Models", parent=models_app, name="export")
def models_export(options: c.ModelsExportOptions, reporter: "Reporter") -> None:
    """Write a checkpoint as ONNX, for other programs: films in, probabilities out."""
    from cxrlt_cli.engine.export import export_model

    export_model(options, reporter)


def _run_again(arguments: Sequence[str]) -> int:
    """A command as if it had been typed; its exit code."""
    try:
        return int(app(list(arguments), standalone_mode=False) or 0)
    except typer.Exit as ended:
        return ended.exit_code


def main() -> None:
    app()
