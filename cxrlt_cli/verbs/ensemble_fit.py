"""``ensemble --fit``: chooses weights, merge and gating on labelled films, and writes them down for ``--config``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from cxrlt_cli.config import EnsembleOptions
from cxrlt_cli.engine.blending import MemberOutputs
from cxrlt_cli.engine.reporter import Reporter
from cxrlt_cli.engine.several import out_of_fold
from cxrlt_cli.errors import DataError, OptionError
from cxrlt_cli.files import write_text
from cxrlt_cli.machine import num_cores
from cxrlt_cli.names import meant
from cxrlt_cli.scores.bootstrap import Interval
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.scores.selection import CHOSEN_AMONG, Choice, Gating, choose
from cxrlt_cli.tables.label_table import LabelTable, read_exclusions, read_labels

NUM_FOLDS = 5
NUM_RESAMPLES = 500


def labels_to_fit(
    options: EnsembleOptions, csv: Path | None, findings: Sequence[str], known: Sequence[str]
) -> LabelTable:
    """The labels to choose by; read before any film is. Raises DataError and OptionError."""
    if csv is None:
        raise OptionError("--fit needs labelled films.", "Pass their labels with --csv.")
    if options.normal is not None and options.normal not in known:
        raise OptionError(f"--normal: the members do not know {options.normal}.{meant(options.normal, known)}")
    truth = read_labels(
        csv,
        id_column=options.id_column,
        patient_column=options.patient_column,
        findings=findings,
        needs_patients=False,
        excluded=read_exclusions(options.exclude, options.id_column),
        parts=options.split,
    )
    if truth.counts.sum() == 0:
        raise DataError(f"{csv} has no positive label, so --fit has nothing to choose by.")
    return truth


def fold_of(truth: LabelTable, seed: int) -> NDArray[np.int64] | None:
    """The fold ``[N]`` of each film, of 5 or of as many as leave a positive label to all others; None below 2."""
    for number in range(min(NUM_FOLDS, truth.num_patients), 1, -1):
        fold = truth.folds(number, seed)
        if all(truth.rows(fold != one).counts.sum() for one in range(number)):
            return fold
    return None


def fitted(
    outputs: MemberOutputs,
    truth: LabelTable,
    findings: Sequence[str],
    normal: str | None,
    options: EnsembleOptions,
    path: Path,
    reporter: Reporter,
) -> Predictions:
    """The labelled films, each blended as was chosen without its fold; what was chosen on all goes to a YAML file."""
    row = {film: index for index, film in enumerate(truth.ids)}
    truth = truth.rows(np.array([row[film] for film in outputs.ids]))
    with reporter.progress("Choosing weights", len(CHOSEN_AMONG), "merges") as advance:
        choice = choose(
            outputs.merged,
            truth.targets,
            truth.patients,
            findings=findings,
            normal=normal,
            fold=fold_of(truth, options.seed),
            num_resamples=NUM_RESAMPLES,
            seed=options.seed,
            num_threads=num_cores(),
            advance=advance,
        )
    recipe = choice.recipe
    chosen: dict[str, Any] = {"weights": list(recipe.weights), "merge": recipe.merge}
    if recipe.alpha:
        chosen |= {"postprocess": "normal_gating", "alpha": recipe.alpha, "normal": normal}
    content = {"members": [str(member.resolve()) for member in options.members], "tta": options.tta, **chosen}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    head = f"# The same again: cxrlt ensemble --config {path}, with --csv and what it needs; weights go with members."
    write_text(path, f"{head}\n{text}")
    for line in _told(choice, truth):
        reporter.result(line)
    reporter.result(f"Wrote {path}: members, weights, merge, gating and views, for --config.{_runs(options)}")
    if choice.num_folds:
        reporter.note(
            f"{options.out} gets each labelled film as blended without its fold, which cxrlt evaluate may judge; "
            f"other films are predicted with --config {path}."
        )
    return choice.blended


def _runs(options: EnsembleOptions) -> str:
    if not any(map(out_of_fold, options.members)):
        return ""
    return " Of a run with folds, all members then predict, and share its weight."


def _told(choice: Choice, truth: LabelTable) -> list[str]:
    recipe = choice.recipe
    weights = ", ".join(f"{weight:.2f}" for weight in recipe.weights)
    unit = "film, as there are no patients" if np.array_equal(truth.patients, truth.ids) else "patient"
    gain = f"{choice.gain:+.3f}{_held(choice.gain_ci, '+')} against the mean of all alike"
    if choice.num_folds:
        how, end = f", nested in {choice.num_folds} folds by {unit}: each film blended as was chosen on the others", "."
    else:
        how, end = "", "; on the films it was chosen on, so it is too good: too few patients to choose without some."
    return [
        f"Chosen on all {len(truth):,} films: weights {weights}; {recipe.merge}; {_told_gating(recipe.gating)}.",
        f"Macro AP {choice.ap:.3f}{_held(choice.ap_ci, '')}, {gain}{how}{end}",
    ]


def _told_gating(gating: Gating | None) -> str:
    if gating is None:
        return "no gating"
    adds = f"adds {gating.gain:+.3f}{_held(gating.gain_ci, '+')} there"
    if gating.helps:
        return f"normal_gating with alpha {gating.alpha:g}, which {adds}"
    return f"no gating (alpha {gating.alpha:g}, the best of them, {adds})"


def _held(bounds: Interval | None, sign: str) -> str:
    return f" (95 % of resampled patients: {bounds[0]:{sign}.3f} to {bounds[1]:{sign}.3f})" if bounds else ""
