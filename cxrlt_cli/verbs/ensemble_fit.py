"""``ensemble --fit``: chooses weights, merge and gating on labelled films, and writes them down for ``--config``."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from cxrlt_cli.config import EnsembleOptions
from cxrlt_cli.engine.blending import MemberOutputs
from cxrlt_cli.engine.chosen_rows import chosen_rows
from cxrlt_cli.engine.deciding import Deciding
from cxrlt_cli.engine.local_file import local_fit, read_content
from cxrlt_cli.engine.reporter import Reporter, Silent, counted
from cxrlt_cli.engine.several import members_in, out_of_fold
from cxrlt_cli.engine.study_labels import labels_of_studies
from cxrlt_cli.errors import DataError, OptionError, listed
from cxrlt_cli.files import write_text
from cxrlt_cli.machine import num_cores
from cxrlt_cli.names import meant
from cxrlt_cli.nets.manifest import BEST, sha256
from cxrlt_cli.scores.bootstrap import Interval
from cxrlt_cli.scores.calibration import Calibration
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.scores.selection import CHOSEN_AMONG, Choice, Gating, ViewWeights, choose
from cxrlt_cli.tables.label_table import LabelTable, read_exclusions, read_labels
from cxrlt_cli.tables.rows import is_table
from cxrlt_cli.tables.views import FRONTAL, LATERAL, OTHER, kind_of

NUM_FOLDS = 5
NUM_RESAMPLES = 500
FRONTAL_SHARES = (9, 7, 3)  # of ten; 7 is CheXFusion's


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
        chosen=chosen_rows(options, csv, options.split, Silent()),
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


def kept_beside(path: Path) -> Path:
    """Where calibrations and thresholds stand, of what a YAML asks for."""
    return path.with_suffix(".json")


def _blend_of(members: Sequence[Path], values: Mapping[str, Any]) -> dict[str, Any]:
    """What a calibration is of, as JSON has it: other members or weights make other probabilities."""
    gated = values.get("postprocess") == "normal_gating"
    weights = values.get("weights")
    return {
        "members": [_told_apart(member) for member in members],
        "weights": None if weights is None else list(weights),
        "merge": values["merge"],
        "alpha": values["alpha"] if gated else 0.0,
        "normal": values["normal"] if gated else None,
        "per_study": values.get("per_study"),
        "view_weights": values.get("view_weights"),
    }


def _told_apart(member: Path) -> str:
    """The checksums of a checkpoint, or of those of a run, wherever they lie; predictions are of any films."""
    if is_table(member):
        return "predictions"
    files = [path / BEST if path.is_dir() else path for path in members_in(member) or [member]]
    return " ".join(sha256(path) for path in files if path.is_file())


def read_fit(options: EnsembleOptions, reporter: Reporter) -> Deciding | None:
    """The calibrations of ``--fitted`` where they are asked for; of ``options`` as they were given.

    Raises OptionError where there are none, or they are of another blend. Of predictions that cxrlt calibrate was
    given, nothing tells whether they were of this one.
    """
    if options.calibration == "none" and options.decisions is None:
        return None
    path = options.fitted
    if path is None:
        raise OptionError(
            "--calibration and --decisions of an ensemble need what --fit keeps.",
            "Run cxrlt ensemble --fit on labelled films, and this command with --config and the YAML that it writes.\n"
            "Or cxrlt calibrate on what it predicted, and pass its JSON with --fitted.",
        )
    content = read_content(path)
    if (fit := local_fit(content, path)) is not None:
        if fit.model is not None:
            raise OptionError(
                f"--fitted {path} is of one checkpoint.",
                "It is for cxrlt infer. For an ensemble: cxrlt calibrate on the CSV that it predicts.",
            )
        if options.per_study is not None:
            raise OptionError(
                f"--fitted {path} was fitted on films, and --per-study predicts studies.",
                "Leave one of them out. For studies: cxrlt ensemble --fit --per-study, and its YAML with --config.",
            )
        reporter.note(f"{path} was fitted on predictions: of this ensemble, if they were its own.")
        return Deciding(fit.calibration, fit, options.decide)
    try:
        findings = tuple(content["calibration"]["platt"])
        calibration = Calibration.of(content, findings)
        known, views = content["blend"], content["tta"]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise OptionError(f"--fitted {path} is not what cxrlt ensemble --fit writes.") from error
    mine = json.loads(json.dumps(_blend_of(options.members, options.model_dump())))
    if different := [name for name in mine if mine[name] != known.get(name)]:
        raise OptionError(
            f"--fitted {path} is of another ensemble: it differs in {listed(different)}.",
            "Leave --calibration and --decisions out, or fit this one.",
        )
    if "predictions" in known["members"]:
        before = content.get("paths", ["predictions that it does not name"] * len(options.members))
        pairs = [f"{new} as {old}" for old, new in zip(before, options.members, strict=False)]
        reporter.note(
            f"{path} was fitted on predictions. It holds where these are of the same models: {listed(pairs)}."
        )
    if views != options.tta:
        reporter.note(f"Calibrations and thresholds were fitted with --tta {views}, and suit others less well.")
    return Deciding(calibration, None, options.decide, "the films of --fit")


@dataclass(frozen=True)
class Fit:
    """What ``--fit`` chooses by, which finding may gate the others, and the YAML file of what it chose."""

    truth: LabelTable
    normal: str | None
    path: Path


def fitted(
    outputs: MemberOutputs, reporter: Reporter, fit: Fit, findings: Sequence[str], options: EnsembleOptions
) -> Predictions:
    """The labelled films, each blended as was chosen without its fold; what was chosen on all goes to a YAML file."""
    truth, normal, path = fit.truth, fit.normal, fit.path
    row = {film: index for index, film in enumerate(truth.ids)}
    truth = truth.rows(np.array([row[film] for film in outputs.ids]))
    has_patients = not np.array_equal(truth.patients, truth.ids)
    if outputs.studies is not None:
        truth = labels_of_studies(outputs.studies, truth, reporter)
    view_weights = _view_weights(outputs, options)
    with reporter.progress("Choosing weights", len(CHOSEN_AMONG) * len(view_weights), "merges") as advance:
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
            view_weights=view_weights,
            advance=advance,
        )
    recipe = choice.recipe
    chosen: dict[str, Any] = {"weights": list(recipe.weights), "merge": recipe.merge}
    if recipe.alpha:
        chosen |= {"postprocess": "normal_gating", "alpha": recipe.alpha, "normal": normal}
    if options.per_study is not None:
        chosen["per_study"] = options.per_study
    if recipe.view_weights is not None:
        chosen["view_weights"] = dict(recipe.view_weights)
    content = {"members": [str(member.resolve()) for member in options.members], "tta": options.tta, **chosen}
    if choice.calibration is not None:
        kept = kept_beside(path)
        said = {
            "blend": _blend_of(options.members, chosen),
            "paths": [str(member) for member in options.members],
            "tta": options.tta,
            "calibration": choice.calibration.to_json(),
        }
        write_text(kept, json.dumps(said, indent=2, allow_nan=False) + "\n")
        content["fitted"] = str(kept.resolve())
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    head = f"# The same again: cxrlt ensemble --config {path}, with --csv and what it needs; weights go with members."
    write_text(path, f"{head}\n{text}")
    for line in _told(choice, truth, has_patients, options.per_study):
        reporter.result(line)
    what = "members, weights, merge, gating and views, for --config"
    if choice.calibration is not None:
        what += f"; {kept_beside(path)}: calibrations and thresholds"
    reporter.result(f"Wrote {path}: {what}.{_runs(options)}")
    if choice.num_folds:
        others = f"other films are predicted with --config {path}"
        if any(map(is_table, options.members)):
            others += ", and prediction CSVs of them in this order"
        reporter.note(f"{options.out} gets out-of-fold predictions, which cxrlt evaluate may judge; {others}.")
    return choice.blended


def _view_weights(outputs: MemberOutputs, options: EnsembleOptions) -> Sequence[ViewWeights]:
    """To choose among: as typed; of studies with frontal and lateral films, several; else all films alike."""
    if options.view_weights is not None or outputs.studies is None or options.per_study != "mean":
        return [options.view_weights]
    kinds = {kind_of(view) for view in outputs.studies.views}
    if not {FRONTAL, LATERAL} <= kinds:
        return [None]
    return [None, *({FRONTAL: float(share), LATERAL: 10.0 - share, OTHER: 5.0} for share in FRONTAL_SHARES)]


def _runs(options: EnsembleOptions) -> str:
    if not any(map(out_of_fold, options.members)):
        return ""
    return " Of a run with folds, all members then predict, and share its weight."


def _told(choice: Choice, truth: LabelTable, has_patients: bool, per_study: str | None) -> list[str]:
    recipe = choice.recipe
    number = counted(len(truth), "film") if per_study is None else counted(len(truth), "study", "studies")
    shares = (
        ", ".join(f"{view} {weight:g}" for view, weight in (recipe.view_weights or {}).items()) or "all films alike"
    )
    views = f"{per_study} of a study{f', {shares}' if per_study == 'mean' else ''}; " if per_study else ""
    weights = ", ".join(f"{weight:.2f}" for weight in recipe.weights)
    unit = "patient" if has_patients else f"{'film' if per_study is None else 'study'}, as there are no patients"
    gain = f"{choice.gain:+.3f}{_held(choice.gain_ci, '+')} against the plain mean"
    judged = f"acro AP {choice.ap:.3f}{_held(choice.ap_ci, '')}, {gain}"
    if choice.num_folds:
        judged = f"Cross-validated m{judged}: {_told_gain(choice)} ({choice.num_folds} folds by {unit})."
    else:
        judged = f"M{judged}; on the films it was chosen on, so it is too good: too few patients to cross-validate."
    lines = [
        judged,
        f"The choice on all {number}: weights {weights}; {recipe.merge}; {views}{_told_gating(recipe.gating)}.",
    ]
    if choice.ece:
        each = (f"{ece:.3f} {'as it is' if name == 'none' else f'with {name}'}" for name, ece in choice.ece.items())
        where = "cross-validated too" if choice.num_folds else "on the films it was fitted on"
        lines.append(f"Calibration error (ECE), mean of the findings: {', '.join(each)}; {where}.")
    return lines


def _told_gain(choice: Choice) -> str:
    if choice.gain <= 0:
        return "choosing did not help"
    surely = choice.gain_ci is not None and choice.gain_ci[0] > 0
    return "choosing helped" if surely else "choosing may have helped"


def _told_gating(gating: Gating | None) -> str:
    if gating is None:
        return "no gating"
    adds = f"adds {gating.gain:+.3f}{_held(gating.gain_ci, '+')} there"
    if gating.helps:
        return f"normal_gating with alpha {gating.alpha:g}, which {adds}"
    return f"no gating (alpha {gating.alpha:g}, the best of them, {adds})"


def _held(bounds: Interval | None, sign: str) -> str:
    return f" (95 % of resampled patients: {bounds[0]:{sign}.3f} to {bounds[1]:{sign}.3f})" if bounds else ""
