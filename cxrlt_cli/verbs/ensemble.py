"""Several members, checkpoints and prediction CSVs, to one prediction."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from torch import Tensor

from cxrlt_cli.config import EnsembleOptions, changed, flags
from cxrlt_cli.data.listing import ending_of
from cxrlt_cli.data.loading import FilmDataset
from cxrlt_cli.engine.default_films import films_csv
from cxrlt_cli.engine.film_facts import FilmFacts
from cxrlt_cli.engine.films import FilmList
from cxrlt_cli.engine.folder_films import film_list, takes_folder
from cxrlt_cli.engine.launch import launch, lock_outputs_once
from cxrlt_cli.engine.postprocess import normal_finding, plan_of_views
from cxrlt_cli.engine.precision import choose_for_predicting
from cxrlt_cli.engine.predict import Outputs, films_in_order, predict, preprocessings, read_checkpoint, rehearse
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporter import Reporter, tell_exclusions, tell_needless, told_of_written
from cxrlt_cli.engine.several import with_members
from cxrlt_cli.engine.sources import film_source, keep_films
from cxrlt_cli.errors import DataError, OptionError, listed
from cxrlt_cli.files import require_file, write_text
from cxrlt_cli.labels import LabelSpace
from cxrlt_cli.machine import num_cores
from cxrlt_cli.names import meant
from cxrlt_cli.nets.classifier import Classifier, from_checkpoint
from cxrlt_cli.scores.predictions import Predictions, blend_known, normal_gating, require_same
from cxrlt_cli.scores.selection import CHOSEN_AMONG, Choice, choose
from cxrlt_cli.tables.label_table import LabelTable, Texts, read_exclusions, read_ids, read_labels
from cxrlt_cli.tables.outputs import require_table
from cxrlt_cli.tables.rows import is_table
from cxrlt_cli.tta import VIEWS, merge

NUM_RESAMPLES = 500


@dataclass(frozen=True)
class Members:
    """What was named: models by their place, and predictions by theirs."""

    paths: tuple[Path, ...]
    models: dict[int, Classifier]
    files: dict[int, Predictions]
    csv: Path | None  # of the films; None where a folder has them, or all members are predictions and none was given

    def findings(self, index: int) -> tuple[str, ...]:
        return self.models[index].findings if index in self.models else self.files[index].findings


@dataclass(frozen=True)
class MemberOutputs:
    """What the members said of the same films and findings."""

    logits: dict[int, Tensor]  # [V, N, C] of the models
    files: dict[int, Predictions]
    ids: Texts
    findings: tuple[tuple[str, ...], ...]
    needed: tuple[str, ...]  # the findings that are written or gate the others
    facts: FilmFacts | None  # None where no film was read

    def merged(self, mode: str) -> list[Predictions]:
        """A prediction a member; the views of a model are merged by ``mode``, by their mean where that is ``rank``."""
        of_views = "mean" if mode == "rank" else mode
        predicted = {
            index: Predictions(self.ids, self.findings[index], merge(logits, of_views).numpy())
            for index, logits in self.logits.items()
        }
        everything = {**predicted, **self.files}
        return [
            everything[index].select([name for name in self.needed if name in self.findings[index]])
            for index in range(len(everything))
        ]


def ensemble(options: EnsembleOptions, reporter: Reporter) -> Predictions | None:
    """Blend checkpoints and prediction CSVs, aligned by film and finding; None after a dry run.

    Checkpoints share one reading of each film. Raises DataError where members differ in films or findings.
    """
    Process.of(options)
    options = with_members(options)
    _check(options)
    fitted_path = options.out.with_suffix(".yaml")
    inputs = (*options.members, options.csv, *options.exclude)
    require_table(options.out, "--out", inputs)
    if options.fit:
        require_file(fitted_path, "--out, with .yaml for --fit,", (*inputs, options.out))
    with lock_outputs_once(options, ("--out", options.out), ("--out", fitted_path if options.fit else None)):
        return _ensemble(options, fitted_path, reporter)


def _ensemble(options: EnsembleOptions, fitted_path: Path, reporter: Reporter) -> Predictions | None:
    process = Process.of(options)
    members = _read(options, reporter)
    findings = _findings(members, options)
    others = [members.findings(index) for index in range(len(members.paths))]
    enough = any if options.union else all
    known = [name for name in dict.fromkeys(chain(*others)) if enough(name in other for other in others)]
    normal = normal_finding(options, known)
    gate = options.normal or LabelSpace.of(known).normal
    truth = _truth(options, members, findings, known) if options.fit else None
    needed = tuple(dict.fromkeys([*findings, *([gate] if gate and (normal or options.fit) else [])]))
    outputs = _predict(members, options, process, normal, needed, reporter)
    if outputs is None:
        return None
    if truth is not None:
        options = _fitted(outputs, truth, findings, gate, options, fitted_path, reporter)
        normal = normal_finding(options, known)
    blended = blend_known(outputs.merged(options.merge), needed, options.weights, options.merge)
    if normal is not None:
        blended = normal_gating(blended, options.alpha, normal)
    blended = blended.select(findings)
    if outputs.facts is not None:
        blended = outputs.facts.added(blended, reporter)
    replaced = options.out.is_file()
    blended.write(options.out, options.id_column)
    reporter.result(told_of_written(options.out, replaced, len(blended.ids), len(blended.findings)))
    return blended


def _check(options: EnsembleOptions) -> None:
    """What can be told from the options alone."""
    if films := [path for path in options.members if ending_of(path.name)]:
        raise OptionError(f"{listed(films)}: members are checkpoints and predictions.", "Films go with --image-dir.")
    weights = options.weights or ()
    if weights and len(weights) != len(options.members):
        raise OptionError(f"--weights has {len(weights)} numbers for {len(options.members)} members.")
    if weights and not (all(0 <= weight < math.inf for weight in weights) and sum(weights) > 0):
        raise OptionError(
            f"--weights {','.join(f'{weight:g}' for weight in weights)}: none may be negative, nor all 0."
        )
    chosen = [f"--{name}" for name in ("weights", "merge", "postprocess", "alpha") if name in options.model_fields_set]
    if options.fit and options.union:
        raise OptionError("--fit chooses among members that know the same findings: leave --union out.")
    if options.fit and chosen:
        raise OptionError(f"--fit chooses weights, merge and gating: leave {' and '.join(chosen)} out.")
    if options.merge == "rank" and options.postprocess == "normal_gating":
        raise OptionError("--merge rank gives ranks, and normal_gating needs probabilities.", "Take another --merge.")


def _read(options: EnsembleOptions, reporter: Reporter) -> Members:
    """Every member, before any film is read; raises DataError where they differ in findings."""
    models, files, checkpoints = {}, {}, []
    for index, path in enumerate(options.members):
        if is_table(path):
            files[index] = Predictions.read(path, options.id_column)
        else:
            checkpoints.append(read_checkpoint(path, reporter))
            models[index] = from_checkpoint(checkpoints[-1], path)
    needless = changed(options) & {"tta", "image_dir", "cache", "links", "max_pixels", "dicom_columns"}
    if not models and needless:
        raise OptionError(
            f"{flags(options, needless)} is of no use with prediction CSVs alone: no film is read.",
            "Pass checkpoints, or leave it out.",
        )
    if len(options.members) == 1 and options.tta == "none" and options.merge != "rank":
        tell_needless(reporter, options, ["weights", "merge"], "there is one member, and one view")
    if not options.fit:
        tell_needless(reporter, options, ["patient_column"], "only --fit looks at patients")
    needs_csv = models and not takes_folder(options)
    csv = films_csv(options.csv, checkpoints, reporter) if needs_csv else options.csv
    return Members(options.members, models, files, csv)


def _findings(members: Members, options: EnsembleOptions) -> tuple[str, ...]:
    """The findings to write; every member must know them, and without ``--findings`` all must have the same.

    With ``--union``, one member that knows a finding will do.
    """
    names = [str(path) for path in members.paths]
    if options.union:
        union = tuple(dict.fromkeys(chain(*(members.findings(index) for index in range(len(names))))))
        missing = [finding for finding in options.findings or () if finding not in union]
        if missing:
            raise OptionError(f"--findings: no member knows {listed(missing)}.{meant(missing[0], union)}")
        return options.findings or union
    for index, name in enumerate(names):
        known = members.findings(index)
        if options.findings is None:
            require_same("finding", members.findings(0), known, names[0], name)
        else:
            missing = [finding for finding in options.findings if finding not in known]
            if missing:
                raise OptionError(f"--findings: {name} does not know {listed(missing)}.{meant(missing[0], known)}")
    return options.findings or members.findings(0)


def _predict(
    members: Members,
    options: EnsembleOptions,
    process: Process,
    normal: str | None,
    needed: tuple[str, ...],
    reporter: Reporter,
) -> MemberOutputs | None:
    """What every member says of the films of ``--csv`` in its order, or of a folder; None after a dry run."""
    weights = options.weights or (1.0,) * len(members.paths)
    plan = {
        f"member {index + 1}": str(path) + ("" if options.fit else f" (weight {weight:g})")
        for index, (path, weight) in enumerate(zip(members.paths, weights, strict=True))
    }
    plan |= {**plan_of_views(options, normal), "merge": "chosen" if options.fit else options.merge}
    plan |= {"out": str(options.out)}
    ids, films = _films(members, options, reporter)
    source = members.csv if films is None else films.source
    names = [str(path) for path in members.paths]
    files = {}
    for index, file in members.files.items():
        if source is None:
            require_same("film", members.files[0].ids, file.ids, names[0], names[index])
        else:
            missing = sorted(set(ids) - set(file.ids))
            if missing:
                raise DataError(
                    f"{names[index]} lacks the films {listed(missing)} of {source}.",
                    "Leave films out with --exclude.",
                )
        files[index] = file.rows(list(ids))
    reporter.plan("Ensemble", {"films": f"{len(ids):,} of {source or names[0]}", **plan, "process": str(process)})
    models = list(members.models.values())
    findings = tuple(members.findings(index) for index in range(len(names)))
    if not models:
        if options.dry_run:
            reporter.result("Dry run: all members were read. Nothing was written.")
            return None
        return MemberOutputs({}, files, ids, findings, needed, None)
    assert films is not None, "there are models"
    facts, paths = FilmFacts.of(options, films, options.dicom_columns), films.paths(ids)
    if not options.dry_run:
        keep_films([paths], len(paths), preprocessings(models), options, reporter)
    outputs = launch(_predict_all, options, reporter, models, paths, options)
    if outputs is None:
        return None
    logits = {index: one.logits for index, one in zip(members.models, outputs, strict=True)}
    return MemberOutputs(logits, files, ids, findings, needed, facts)


def _predict_all(
    process: Process, reporter: Reporter, models: list[Classifier], paths: list[Path], options: EnsembleOptions
) -> list[Outputs] | None:
    """What each model gives, in the order of the films; None after a dry run."""
    process = choose_for_predicting(options, process, models[0], len(paths) * len(VIEWS[options.tta]), reporter)
    models = [model.to(process.device) for model in models]
    dataset = FilmDataset(film_source(paths, preprocessings(models), options, reporter))
    loader, views = films_in_order(dataset, options.batch_size, process), VIEWS[options.tta]
    if options.dry_run:
        rehearse(models, loader, views, len(paths), process, reporter)
        return None
    with reporter.progress("Predicting", len(paths)) as advance:
        return predict(models, loader, process, advance, views)


def _films(members: Members, options: EnsembleOptions, reporter: Reporter) -> tuple[Texts, FilmList | None]:
    """Which films to write, and where they are if they have to be read."""
    if members.models:
        films = film_list(options, (), members.csv, reporter)
        (ids,) = films.stretches([films.number])
        return ids, films
    if members.csv is None:
        return _without_excluded(members.files[0].ids, "the members", options, reporter), None
    ids = read_ids(members.csv, options.id_column, options.split)
    return _without_excluded(ids, str(members.csv), options, reporter), None


def _without_excluded(ids: Texts, source: str, options: EnsembleOptions, reporter: Reporter) -> Texts:
    excluded = read_exclusions(options.exclude, options.id_column)
    tell_exclusions(reporter, excluded, ids)
    kept = ids[[film not in excluded for film in ids]]
    if len(kept) == 0:
        raise DataError(f"--exclude leaves no film of {source}.")
    return kept


def _truth(options: EnsembleOptions, members: Members, findings: Sequence[str], known: Sequence[str]) -> LabelTable:
    """The labels to choose by; read before any film is."""
    if members.csv is None:
        raise OptionError("--fit needs labelled films.", "Pass their labels with --csv.")
    if options.normal is not None and options.normal not in known:
        raise OptionError(f"--normal: the members do not know {options.normal}.{meant(options.normal, known)}")
    truth = read_labels(
        members.csv,
        id_column=options.id_column,
        patient_column=options.patient_column,
        findings=findings,
        needs_patients=False,
        excluded=read_exclusions(options.exclude, options.id_column),
        parts=options.split,
    )
    if truth.counts.sum() == 0:
        raise DataError(f"{members.csv} has no positive label, so --fit has nothing to choose by.")
    return truth


def _fitted(
    outputs: MemberOutputs,
    truth: LabelTable,
    findings: Sequence[str],
    normal: str | None,
    options: EnsembleOptions,
    path: Path,
    reporter: Reporter,
) -> EnsembleOptions:
    """Options with what was chosen on the labelled films; written to a YAML file for ``--config``."""
    row = {film: index for index, film in enumerate(truth.ids)}
    truth = truth.rows(np.array([row[film] for film in outputs.ids]))
    with reporter.progress("Choosing weights", len(CHOSEN_AMONG), "merges") as advance:
        choice = choose(
            outputs.merged,
            truth.targets,
            truth.patients,
            findings=findings,
            normal=normal,
            num_resamples=NUM_RESAMPLES,
            seed=options.seed,
            num_threads=num_cores(),
            advance=advance,
        )
    chosen: dict[str, Any] = {"weights": list(choice.weights), "merge": choice.merge}
    if choice.alpha:
        chosen |= {"postprocess": "normal_gating", "alpha": choice.alpha, "normal": normal}
    content = {"members": [str(member.resolve()) for member in options.members], "tta": options.tta, **chosen}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    head = f"# The same again: cxrlt ensemble --config {path}, with --csv and what it needs; weights go with members."
    write_text(path, f"{head}\n{text}")
    reporter.result(_told(choice))
    reporter.result(f"Wrote {path}: members, weights, merge, gating and views, for --config.")
    return options.model_copy(update={**chosen, "weights": choice.weights})


def _told(choice: Choice) -> str:
    def held(bounds: tuple[float, float] | None, sign: str) -> str:
        return f" (95 % of resampled patients: {bounds[0]:{sign}.3f} to {bounds[1]:{sign}.3f})" if bounds else ""

    gating = f"normal_gating with alpha {choice.alpha:g}" if choice.alpha else "no gating"
    weights = ", ".join(f"{weight:.2f}" for weight in choice.weights)
    return (
        f"Chosen: weights {weights}; {choice.merge}; {gating}. Macro AP {choice.ap:.3f}{held(choice.ap_ci, '')}, "
        f"{choice.gain:+.3f}{held(choice.gain_ci, '+')} against the mean of all alike; on the films it was chosen on, "
        "so it is too good."
    )
