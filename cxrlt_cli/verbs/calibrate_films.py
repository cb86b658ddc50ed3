"""``calibrate`` of a checkpoint: what it knows, and what it predicts of the films of a place."""

from dataclasses import dataclass
from pathlib import Path

from cxrlt_cli.config import CalibrateOptions
from cxrlt_cli.data.loading import FilmDataset
from cxrlt_cli.engine.feature_files import digest_of
from cxrlt_cli.engine.film_traits import FilmTraits
from cxrlt_cli.engine.folder_films import film_list
from cxrlt_cli.engine.launch import launch
from cxrlt_cli.engine.learned import learned_by
from cxrlt_cli.engine.precision import choose_for_predicting
from cxrlt_cli.engine.predict import Outputs, films_in_order, predict, read_checkpoint, rehearse
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporter import Reporter
from cxrlt_cli.engine.sources import film_source, keep_films
from cxrlt_cli.engine.stated_views import StatedViews
from cxrlt_cli.errors import OptionError
from cxrlt_cli.nets.checkpoints import Checkpoint
from cxrlt_cli.nets.classifier import Classifier, from_checkpoint
from cxrlt_cli.scores.calibration import Calibration
from cxrlt_cli.scores.drift import Traits
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.tables.label_table import LabelTable
from cxrlt_cli.tta import VIEWS, merge


@dataclass(frozen=True)
class Model:
    """A checkpoint and its own calibration."""

    checkpoint: Checkpoint
    calibration: Calibration
    digest: str

    @classmethod
    def read(cls, options: CalibrateOptions, reporter: Reporter) -> "Model":
        """Raises OptionError where prevalences are asked for and those of the training are not known."""
        Process.of(options)
        checkpoint = read_checkpoint(options.model, reporter)
        if "calibration" in checkpoint.training:
            calibration = Calibration.of(checkpoint.training, checkpoint.findings)
        elif options.unlabelled:
            raise OptionError(
                f"{options.model} does not record the prevalence of findings in training.",
                "Films without labels cannot be calibrated without it.",
            )
        else:
            reporter.note(f"{options.model} has no calibration: its probabilities are used uncalibrated.")
            calibration = Calibration.identity(checkpoint.findings)
        return cls(checkpoint, calibration, digest_of(options.model))

    @property
    def findings(self) -> tuple[str, ...]:
        return self.checkpoint.findings

    def num_seen(self, table: LabelTable, options: CalibrateOptions, reporter: Reporter) -> int | None:
        """Of how many of these films, or of their patients, it learned; with a warning. None where nobody knows."""
        learned = learned_by(options.model, self.checkpoint)
        if learned is None:
            reporter.note(
                f"It is not known whether {options.model} was trained on these films: its training CSV is not there. "
                "If it was, what is fitted here is not valid for other films."
            )
            return None
        if number := learned.number(table):
            reporter.warn(
                f"{options.model} was trained on {number:,} of the {len(table):,} films of {options.csv}, or on others "
                "of their patients: thresholds and guarantees fitted on them are not valid for other films."
            )
        elif alike := learned.number_by_patient(table):
            reporter.note(
                f"{alike:,} of the {len(table):,} films of {options.csv} are of patients with numbers that "
                f"{options.model} learned from. If they are the same patients, leave them out."
            )
        return number


def predicted(model: Model, options: CalibrateOptions, reporter: Reporter) -> tuple[Predictions, Traits] | None:
    """What it says of the films of ``--csv``, in its order, or of a folder, and what else is known of them.

    None after a dry run, or elsewhere. Raises DataError where a column of views was named and is not there.
    """
    films = film_list(options, (), options.csv, reporter)
    (ids,) = films.stretches([films.number])
    paths = films.paths(ids)
    traits = FilmTraits.of(model.checkpoint, StatedViews.of(ids, options.csv, films.paths, options))
    net = from_checkpoint(model.checkpoint, options.model)
    reporter.plan(
        "Calibration",
        {
            "films": f"{len(ids):,} of {films.source}",
            "model": f"{options.model}: {net.architecture.backbone}, {net.architecture.head}, "
            f"{len(net.findings)} findings, {net.preprocessing.told}",
            "process": str(Process.of(options)),
            "out": str(options.out),
        },
    )
    if not options.dry_run:
        keep_films([paths], len(paths), [net.preprocessing], options, reporter)
    outputs = launch(_predict, options, reporter, net, paths, options, traits.need_features)
    if outputs is None:
        return None
    predictions = Predictions(ids, net.findings, merge(outputs.logits, "mean").numpy())
    return predictions, traits.of_films(ids, outputs.features)


def _predict(
    process: Process,
    reporter: Reporter,
    net: Classifier,
    paths: list[Path],
    options: CalibrateOptions,
    features: bool,
) -> Outputs | None:
    views = VIEWS[options.tta]
    process = choose_for_predicting(options, process, net, len(paths) * len(views), reporter)
    net = net.to(process.device)
    dataset = FilmDataset(film_source(paths, [net.preprocessing], options, reporter))
    loader = films_in_order(dataset, options.batch_size, process)
    if options.dry_run:
        rehearse([net], loader, views, len(paths), process, reporter)
        return None
    with reporter.progress("Predicting", len(paths)) as advance:
        (outputs,) = predict([net], loader, process, advance, views, features)
    return outputs
