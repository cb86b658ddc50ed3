"""What the phases of one run share: the model, its loss, its films, and how it is scored."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch.utils.data import DataLoader

from cxrlt_cli import losses
from cxrlt_cli.config import FitOptions
from cxrlt_cli.data.loading import Batch, EpochDraws, training_loader
from cxrlt_cli.engine.films import LabelledFilms
from cxrlt_cli.engine.precision import NAMES, choose_for_training, compile_backbone, uncompiled
from cxrlt_cli.engine.predict import films_in_order, predict
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporter import Reporter
from cxrlt_cli.nets.batch_norm import synchronize
from cxrlt_cli.nets.classifier import Classifier
from cxrlt_cli.scores.metrics import Scores, prevalence, score
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.training.learner import Learner
from cxrlt_cli.training.method import Method
from cxrlt_cli.training.resume import Action, Position, ResumeFile
from cxrlt_cli.training.run_folder import RunFolder
from cxrlt_cli.training.schedule import Phase, num_films_learned
from cxrlt_cli.training.seen import FrozenFeatures, Images, Seen
from cxrlt_cli.tta import merge


@dataclass(frozen=True)
class Run:
    """What the phases of one run share."""

    model: Classifier
    training: LabelledFilms
    validation: LabelledFilms
    criterion: losses.Criterion
    draws: EpochDraws
    seen: Seen
    options: FitOptions
    process: Process
    reporter: Reporter

    @cached_property
    def batches(self) -> "DataLoader[Batch]":
        known = self.seen.augmented(self.training.paths)
        return training_loader(known, self.draws, num_workers=self.process.num_workers, pin=self.process.pins)

    @cached_property
    def val_batches(self) -> "DataLoader[Batch]":
        return films_in_order(self.seen.plain(self.validation.paths), self.options.batch_size, self.process)

    def prepare(self) -> None:
        """Before the first batch of either."""
        self.seen.prepare(self.training.paths + self.validation.paths)

    def learner(self, phase: Phase, num_steps: int) -> Learner:
        if self.options.compile and phase.trains == "all":
            compile_backbone(self.model)
        return Learner.of(self.options, self.model, self.criterion, phase, num_steps=num_steps, process=self.process)

    def learn(
        self, learner: Learner, num_batches: int, planned: int, at: Position, resume: ResumeFile, title: str
    ) -> tuple[Position, int]:
        """Learn from what is left of an epoch; where the run stands then, and how many films were left.

        ``planned``: its number, from 0, in a run whose phases all last as long as they may.
        """
        table = self.training.table
        self.draws.enter(planned * len(self.draws) + at.batch)

        def after_step(batch: int, sums: Callable[[], tuple[float, int]]) -> None:
            if (action := resume.due()) != "continue":
                loss, num_films = self.process.summed(torch.tensor(sums(), dtype=torch.float64)).tolist()
                self.keep(resume, replace(at, batch=batch, loss=loss, num_films=int(num_films)), learner, action)

        films = (num_batches - at.batch) * self.options.batch_size * self.process.num_processes
        with self.reporter.progress(title, films) as advance:
            loss, num_films = learner.epoch(
                self.batches,
                range(at.batch, num_batches),
                torch.from_numpy(table.targets),
                list(table.ids),
                advance,
                after_step,
                (at.loss, at.num_films) if self.process.is_main else (0.0, 0),
            )
        here = replace(at, batch=num_batches, loss=loss, num_films=num_films, learned=True)
        return here, num_films - at.num_films

    def rehearse(self, learner: Learner) -> None:
        """One batch, after which nothing is kept."""
        table = self.training.table
        targets, ids = torch.from_numpy(table.targets), list(table.ids)
        learner.epoch(self.batches, range(1), targets, ids, lambda _: None, lambda *_: None)

    def keep_if_due(self, resume: ResumeFile, at: Position, learner: Learner) -> None:
        if (action := resume.due()) != "continue":
            self.keep(resume, at, learner, action)

    def keep(self, resume: ResumeFile, at: Position, learner: Learner, action: Action) -> None:
        """Write the state, and end if that is the ``action``."""
        if action == "stop":
            self.reporter.warn(f"Stopped; the state is saved in {resume.path}. Resume with --resume.")
        resume.write(at, learner.state(), action)

    def score_of(self, folder: RunFolder) -> Scores:
        """The scores of the best epoch, from the predictions that it left."""
        return self.score(Predictions.read(folder.path / "val_predictions.csv", folder.id_column))

    def score(self, predictions: Predictions) -> Scores:
        table = self.validation.table
        return score(
            table.targets,
            predictions.probabilities,
            predictions.findings,
            frequencies=prevalence(self.training.table.targets),
            num_patients=table.num_patients,
        )

    def validate(
        self, models: Mapping[str, Classifier], after_batch: Callable[[], None] = lambda: None
    ) -> dict[str, tuple[Predictions, Scores]]:
        """What each model predicts for the validation films, and how good it is.

        ``after_batch`` may end it; all processes come to it equally often.
        """
        table = self.validation.table

        def batches() -> Iterator[Batch]:
            for batch in self.val_batches:
                yield batch
                after_batch()

        with self.reporter.progress("validation", len(table)) as advance, uncompiled():
            outputs = predict(list(models.values()), batches(), self.process, advance)
        results = {}
        for (name, model), mine in zip(models.items(), outputs, strict=True):
            predictions = Predictions(table.ids, model.findings, merge(mine.logits, "mean").numpy())
            predictions = predictions.select(table.space.findings)
            results[name] = predictions, self.score(predictions)
        return results


def set_up(
    model: Classifier,
    method: Method,
    training: LabelledFilms,
    validation: LabelledFilms,
    options: FitOptions,
    process: Process,
    reporter: Reporter,
) -> Run:
    """Model and criterion on their device, and how films reach the model."""
    if process.num_processes > 1:
        synchronize(model, process.device)
    share = {"rank": process.rank, "num_processes": process.num_processes}
    draws = EpochDraws(method.order, options.batch_size, options.seed, **share)
    if options.frozen:
        options = options.model_copy(update={"precision": NAMES[process.dtype], "compile": False})
        seen: Seen = FrozenFeatures(model, options, process, reporter)
    else:
        num_films = num_films_learned(options, len(draws))
        options, process = choose_for_training(options, process, model, num_films, reporter)
        seen = Images(model, options, reporter)
    return Run(
        seen.model.to(process.device),
        training,
        validation,
        method.criterion.to(process.device),
        draws,
        seen,
        options,
        process,
        reporter,
    )
