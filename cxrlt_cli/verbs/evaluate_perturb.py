"""``cxrlt evaluate --perturb``: a checkpoint on the same films, perturbed more and more."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cxrlt_cli.config import ComputeOptions, EvaluateOptions
from cxrlt_cli.data.image import report_faults
from cxrlt_cli.data.levels import Film
from cxrlt_cli.data.loading import Batch, FilmDataset, FilmSource, on_device
from cxrlt_cli.data.perturbations import NUM_VERSIONS, PERTURBATIONS, versions
from cxrlt_cli.engine.film_folder import finder
from cxrlt_cli.engine.films import require_films
from cxrlt_cli.engine.learned import learned_by
from cxrlt_cli.engine.precision import choose_for_predicting
from cxrlt_cli.engine.predict import films_in_order, read_checkpoint
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporter import Advance, Reporter, counted
from cxrlt_cli.engine.sources import film_source
from cxrlt_cli.errors import DataError, FilmError, WorkerError, listed
from cxrlt_cli.machine import num_cores
from cxrlt_cli.nets.classifier import Classifier, from_checkpoint
from cxrlt_cli.scores.judged import Judged
from cxrlt_cli.scores.robustness import Kind, Robustness, robustness
from cxrlt_cli.tables.label_table import LabelTable

BATCH = 2  # films, each in all its versions
NEAR = 0.005  # of macro AP, by which predictions of one model may differ


@dataclass(frozen=True)
class PerturbedFilms:
    """Each film in all versions of ``data.perturbations``, read once."""

    films: FilmSource
    names: Sequence[str]
    seed: int

    def __len__(self) -> int:
        return len(self.films)

    def __getitem__(self, index: int) -> tuple[Film, ...]:
        (film,) = self.films[index]
        return versions(film, self.names[index], self.seed)


@dataclass(frozen=True)
class Trial:
    """A model, and the films that it is tried on."""

    path: Path
    model: Classifier
    truth: LabelTable  # of the findings that the model has
    options: ComputeOptions
    paths: Sequence[Path]

    @classmethod
    def of(cls, truth: LabelTable, csv: Path, options: EvaluateOptions, reporter: Reporter) -> "Trial":
        """Raises DataError with all films that are missing, or where the model has none of the findings."""
        path = options.perturb
        assert path is not None, "asked for"
        checkpoint = read_checkpoint(path, reporter)
        shared = [name for name in truth.space.findings if name in checkpoint.findings]
        if not shared:
            raise DataError(
                f"--perturb {path} has none of the findings that are scored ({listed(truth.space.findings)}).",
                f"It has {listed(checkpoint.findings, 40)}.",
            )
        if lost := [name for name in truth.space.findings if name not in shared]:
            reporter.warn(f"--perturb {path} does not know, so not scored on perturbed films: {listed(lost, 40)}.")
        names = list(map(str, truth.ids))
        learned = learned_by(path, checkpoint)
        if learned is not None and (number := learned.number(truth)):
            reporter.warn(
                f"{path} learned from {number:,} of these films, or from others of their patients: its loss on "
                "perturbed ones may be memorised detail. "
                "Score films on which it was not trained, such as those of its val_predictions.csv."
            )
        given = {"csv": csv, "image_dir": options.image_dir, "id_column": options.id_column, "seed": options.seed}
        films = ComputeOptions.model_validate(given)
        where = finder(csv, options.image_dir, names, films.links, reporter.progress)
        found = where.find(lambda: [names])
        require_films(found, where, films, csv)
        model = from_checkpoint(checkpoint, path)
        return cls(path, model, truth.select(shared), films, [found.naming.path(name) for name in names])

    def scores(self, judged: Judged, options: EvaluateOptions, reporter: Reporter) -> Robustness:
        """Scores of the films as they are and perturbed, told; each film is read once."""
        process = Process.of(self.options)
        process = choose_for_predicting(self.options, process, self.model, NUM_VERSIONS * len(self.paths), reporter)
        source = film_source(self.paths, [self.model.preprocessing], self.options, reporter)
        films = FilmDataset(PerturbedFilms(source, list(map(str, self.truth.ids)), options.seed))
        with reporter.progress(f"Films in {NUM_VERSIONS} versions", len(self.paths)) as advance:
            logits = _logits(
                self.model.to(process.device).eval(), films_in_order(films, BATCH, process), process, advance
            )
        columns = [self.model.findings.index(name) for name in self.truth.space.findings]
        kinds = [Kind(one.name, one.strengths, one.unit) for one in PERTURBATIONS]
        with reporter.progress("Resampling patients", options.bootstrap, "resamples") as advance:
            result = robustness(
                str(self.path),
                self.truth.targets,
                logits[:, :, columns].double().sigmoid().numpy(),
                self.truth.space.findings,
                kinds,
                self.truth.patients,
                options.bootstrap,
                seed=options.seed,
                num_threads=num_cores(),
                advance=advance,
            )
        _tell(result, reporter)
        _tell_other_model(result, judged, reporter)
        return result


def _tell(result: Robustness, reporter: Reporter) -> None:
    """The table in the terminal: a line of AP and one of AUROC for each kind."""
    plain, films = result.plain, counted(result.num_films, "film")
    auroc = _number(plain.auroc, plain.auroc_ci)
    reporter.result(f"{result.model} on {films} as they are: macro AP {_number(plain.ap, plain.ap_ci)}, AUROC {auroc}.")
    rows: list[tuple[str, ...]] = []
    for trend in result.trends:
        kind, levels = trend.kind, trend.levels
        rows.append((f"{kind.name} ({kind.unit})", *(f"{strength:g}" for strength in kind.strengths), ""))
        rows.append(("  AP", *(_number(level.ap) for level in levels), _change(trend.ap_slope, trend.ap_slope_ci)))
        change = _change(trend.auroc_slope, trend.auroc_slope_ci)
        rows.append(("  AUROC", *(_number(level.auroc) for level in levels), change))
    title = f"The same {films}, perturbed"
    reporter.table(title, ("perturbation", "weak", "", "", "", "strong", "a step, 95 %"), rows)


def _logits(model: Classifier, batches: Iterable[Batch], process: Process, advance: Advance) -> Tensor:
    """Of all versions of all films, ``[V, N, C]``, on the CPU; raises DataError with the films that cannot be read."""
    found: list[Tensor] = []
    faults: list[FilmError] = []
    number = 0
    with torch.inference_mode():
        for batch in on_device(batches, process.device):
            number += len(batch.indices) + len(batch.faults)
            faults.extend(batch.faults)
            if batch.films:
                with process.autocast():
                    logits = model(model.normalize(torch.cat(batch.films)))
                found.append(logits.float().cpu().unflatten(0, (len(batch.films), -1)))
            advance(len(batch.indices) + len(batch.faults))
    if faults:
        raise report_faults(faults, number)
    every = torch.cat(found, dim=1)
    if not torch.isfinite(every).all():
        raise WorkerError("The outputs of the model are NaN or infinite.", "Pass another checkpoint.")
    return every


def _tell_other_model(result: Robustness, judged: Judged, reporter: Reporter) -> None:
    """Say where the predictions that are scored are not what this model gives."""
    found = {finding.name: finding.ap for finding in judged.scores.findings}
    known = [ap for name in result.findings if (ap := found[name]) is not None]
    if result.plain.ap is not None and known and abs(float(np.mean(known)) - result.plain.ap) > NEAR:
        reporter.note(
            f"{judged.path} has macro AP {np.mean(known):.3f} on these findings, not {result.plain.ap:.3f}: it is of "
            f"another model than {result.model}, or of several models or views."
        )


def _number(value: float | None, bounds: tuple[float, float] | None = None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" + (f" ({bounds[0]:.3f} to {bounds[1]:.3f})" if bounds else "")


def _change(value: float | None, bounds: tuple[float, float] | None) -> str:
    if value is None:
        return "–"
    return f"{value:+.3f}" + (f" ({bounds[0]:+.3f} to {bounds[1]:+.3f})" if bounds else "")
