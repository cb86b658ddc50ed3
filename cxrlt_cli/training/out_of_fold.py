"""What the members of a run come to together: each film as the member predicted it that did not see its patient."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median_low
from typing import Any

import numpy as np

from cxrlt_cli.config import FitOptions
from cxrlt_cli.engine.films import Division
from cxrlt_cli.engine.next_step import ROWS, tell_next, typed
from cxrlt_cli.engine.reporter import Reporter, counted
from cxrlt_cli.files import write_text
from cxrlt_cli.machine import num_cores
from cxrlt_cli.report.group_tables import tables_of
from cxrlt_cli.scores.bootstrap import Resampled, resample
from cxrlt_cli.scores.groups import compare_groups, large_enough
from cxrlt_cli.scores.metrics import Scores, score
from cxrlt_cli.scores.pooled import on_one_scale
from cxrlt_cli.scores.predictions import Predictions, blend
from cxrlt_cli.scores.spread import Spread, spread_over_seeds
from cxrlt_cli.tables.label_table import LabelTable
from cxrlt_cli.training.loop import Fitted
from cxrlt_cli.training.members import Member
from cxrlt_cli.training.run_folder import RunFolder

NUM_RESAMPLES = 1000
FEW = 30  # positives, below which the score of a finding says little


def judge(
    members: Sequence[Member],
    fitted: Sequence[Fitted],
    division: Division,
    options: FitOptions,
    folder: RunFolder,
    reporter: Reporter,
) -> Scores:
    """The scores, with 95 % intervals, of the mean over seeds; into ``metrics.json``, beside the predictions.

    With folds and seeds, those of each seed are written into its folder too.
    """
    name = "oof_predictions.csv" if options.folds else "val_predictions.csv"
    table = division.judged
    by_seed = {seed: _gathered(members, seed, division, options) for seed in {m.options.seed: None for m in members}}
    single = list(by_seed.values())
    together = single[0] if len(single) == 1 else blend(single)
    shown = [together, *(single if options.seeds else [])]
    judged = [
        score(
            table.targets,
            one.probabilities,
            one.findings,
            frequencies=division.frequencies,
            num_patients=table.num_patients,
        )
        for one in shown
    ]
    resampled = resampled_patients(shown, table, options.seed, reporter)
    scores, *of_seeds = (one.with_intervals(mine) for one, mine in zip(judged, resampled, strict=True))
    content: dict[str, Any] = {**scores.to_json(), "members": list(map(_told, members, fitted))}
    spread = None
    if of_seeds:
        spread = spread_over_seeds(of_seeds, resampled[1:], options.seed)
        content["over_seeds"] = {"seeds": list(by_seed), **spread.to_json()}
    for (seed, one), mine in zip(by_seed.items(), of_seeds, strict=False):
        if options.folds:
            its = [pair for pair in zip(members, fitted, strict=True) if pair[0].options.seed == seed]
            where = folder.path / f"seed-{seed}"
            one.write(where / name, options.id_column)
            _write(where, {**mine.to_json(), "members": [_told(*pair) for pair in its]})
    together.write(folder.path / name, options.id_column)
    _write(folder.path, content)
    _tell(scores, spread, len(members), table, options, folder, name, reporter)
    tell_by_view(together, table, options, reporter)
    return scores


def resampled_patients(
    predictions: Sequence[Predictions], table: LabelTable, seed: int, reporter: Reporter
) -> list[Resampled]:
    """For 95 % intervals, of predictions for the films of ``table``, in its order."""
    with reporter.progress("Resampling patients", NUM_RESAMPLES, "resamples") as advance:
        return resample(
            table.targets,
            [one.probabilities for one in predictions],
            table.patients,
            NUM_RESAMPLES,
            seed=seed,
            num_threads=num_cores(),
            advance=advance,
        )


def tell_by_view(predictions: Predictions, table: LabelTable, options: FitOptions, reporter: Reporter) -> None:
    """A line for each view of the films that are judged, where a column says how they were taken."""
    if table.views is None or not _has_views(table):
        return
    names = sorted(set(table.views))
    films = [((name or "(empty)",), np.flatnonzero(table.views == name)) for name in names]
    groups, small = large_enough(films, table.patients)
    comparison = compare_groups(
        [options.view_column],
        groups,
        small,
        predictions.findings,
        table.targets,
        predictions.probabilities,
        table.patients,
        NUM_RESAMPLES,
        seed=options.seed,
        num_threads=num_cores(),
    )
    if not comparison.findings:
        reporter.note(f"No table by {options.view_column}: too few patients of each, or with a finding in each.")
    for shown in tables_of(comparison, "Judged") if comparison.findings else ():
        reporter.table(shown.title, shown.columns, shown.rows)
        reporter.note(shown.note)


def warn_of_few(scores: Scores, options: FitOptions, reporter: Reporter) -> None:
    """Where few positives have both chosen the best epoch and judged it."""
    positives = [finding.positives for finding in scores.findings if finding.positives]
    if options.folds or (half := int(median_low(positives))) >= FEW:
        return
    way_out = "" if options.val_csv else " To score all films, cross-validate: --folds 5."
    reporter.warn(
        f"Half of the findings have {counted(half, 'positive')} or fewer on "
        f"{counted(scores.num_films, 'validation film')}, and the best epoch was chosen on them: these scores are too "
        f"high, and uncertain.{way_out}"
    )


def tell_best_place(run: Path, options: FitOptions, reporter: Reporter) -> None:
    """Where the epoch that was kept, by validation AP, is the first or the last of several."""
    try:
        lines = (run / "history.jsonl").read_text(encoding="utf-8").splitlines()
        chosen = [place for place, line in enumerate(lines) if json.loads(line)["best"]]
    except (ValueError, LookupError, TypeError):  # damaged before it was gone on with; nothing is read from it
        return
    if options.folds or len(lines) < 2 or not chosen:
        return
    if chosen[-1] == 0:
        reporter.warn(
            f"The best of {len(lines)} epochs by validation AP is the first: later epochs did not help. "
            "Lower --lr-head and --lr-backbone, or validate on more films."
        )
    elif chosen[-1] == len(lines) - 1:
        reporter.note(f"The best of {len(lines)} epochs is the last: more --epochs may improve it.")


def _gathered(members: Sequence[Member], seed: int, division: Division, options: FitOptions) -> Predictions:
    """What the members of a seed predicted, in the order of the CSV; each film was judged by one of them.

    Of several, on one scale: no two networks mean the same by a number.
    """
    parts = [
        Predictions.read(member.folder.path / "val_predictions.csv", options.id_column)
        for member in members
        if member.options.seed == seed
    ]
    findings = parts[0].findings
    ids = np.concatenate([part.ids for part in parts])
    probabilities = [part.select(findings).probabilities for part in parts]
    probabilities = on_one_scale(probabilities) if len(parts) > 1 else probabilities
    return Predictions(ids, findings, np.concatenate(probabilities)).rows(list(division.judged.ids))


def _told(member: Member, fitted: Fitted) -> dict[str, Any]:
    means = fitted.scores.macro()
    place = {name: value for name in ("seed", "fold") if (value := getattr(member.options, name)) is not None}
    return {
        "member": member.name,
        **place,
        "num_films": fitted.scores.num_films,
        "ap": means["ap"],
        "auroc": means["auroc"],
        "best": fitted.best,
    }


def _write(folder: Path, content: dict[str, Any]) -> None:
    write_text(folder / "metrics.json", json.dumps(content, indent=2, allow_nan=False) + "\n")


def _tell(
    scores: Scores,
    spread: Spread | None,
    num_members: int,
    table: LabelTable,
    options: FitOptions,
    folder: RunFolder,
    name: str,
    reporter: Reporter,
) -> None:
    films = "Out of fold" if options.folds else "Validation"
    mean = f", mean of {counted(options.seeds, 'seed')}" if options.seeds else ""
    reporter.scores(f"{films}{mean}", scores)
    if spread is not None:
        reporter.result(f"Over {counted(len(spread.seeds), 'seed')}, each alone: {spread}.")
    warn_of_few(scores, options, reporter)
    path, csv = folder.path, options.val_csv or options.csv
    assert csv is not None, "phantoms have one too"
    reporter.result(
        f"Wrote {path}: {name}, metrics.json, and {counted(num_members, 'member')}; cxrlt ensemble {path} predicts "
        "with all of them."
    )
    tell_next(reporter, *page_of(path / name, csv, table, options))


def page_of(predictions: Path, csv: Path, table: LabelTable, options: FitOptions) -> list[str]:
    """The words of the command for a page of scores, by view where films are of several."""
    by = ["--by", options.view_column] if _has_views(table) else []
    rows = typed(options, set(ROWS) - {"csv"})
    return ["evaluate", str(predictions), "--csv", str(csv), *rows, *by, "--report", "page.html"]


def _has_views(table: LabelTable) -> bool:
    return table.views is not None and len(set(table.views) - {""}) > 1
