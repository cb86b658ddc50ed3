"""Several members, checkpoints and prediction CSVs, to one prediction."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from cxrlt_cli.config import EnsembleOptions, changed, flags
from cxrlt_cli.data.listing import ending_of
from cxrlt_cli.engine.blending import MemberOutputs, Members, finished, said, watching
from cxrlt_cli.engine.by_view import ByView
from cxrlt_cli.engine.chosen_rows import chosen_rows
from cxrlt_cli.engine.deciding import Deciding
from cxrlt_cli.engine.film_facts import FilmFacts
from cxrlt_cli.engine.film_studies import studies_to_predict
from cxrlt_cli.engine.films import FilmList
from cxrlt_cli.engine.launch import prepared_once
from cxrlt_cli.engine.member_films import Blend
from cxrlt_cli.engine.next_step import tell_next, tell_scoring, typed
from cxrlt_cli.engine.postprocess import normal_finding, plan_of_views
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporter import Reporter, Silent, counted, tell_exclusions, told_of_written
from cxrlt_cli.engine.routing import Route, shares, views_of_films, with_routes
from cxrlt_cli.engine.several import with_members
from cxrlt_cli.engine.sharding import films_of_shard, ids_of_shard, named_by_shard, told_of_parts
from cxrlt_cli.engine.stated_views import StatedViews
from cxrlt_cli.engine.topology import lock_outputs_once
from cxrlt_cli.errors import DataError, OptionError, listed
from cxrlt_cli.files import real, require_file, require_no_labels
from cxrlt_cli.labels import LabelSpace
from cxrlt_cli.scores.predictions import Predictions, require_same
from cxrlt_cli.scores.studies import Studies
from cxrlt_cli.tables.label_table import Texts, read_exclusions, read_ids
from cxrlt_cli.tables.outputs import require_table
from cxrlt_cli.verbs.ensemble_films import predict_stretches, streams
from cxrlt_cli.verbs.ensemble_fit import Fit, fitted, kept_beside, labels_to_fit, read_fit
from cxrlt_cli.verbs.ensemble_held import predict_held
from cxrlt_cli.verbs.ensemble_soup import make_soup


@prepared_once
def ensemble(options: EnsembleOptions, reporter: Reporter) -> None:
    """Write the blend of checkpoints and prediction CSVs, aligned by film and finding; nothing in a dry run.

    Checkpoints share one reading of each film. Raises DataError where members differ in films or findings.
    """
    Process.of(options)
    options = named_by_shard(options, ("out", "decisions"))
    options, routes = with_routes(options)
    given, options = options, with_members(options)
    if options.soup is not None:
        make_soup(options, reporter)
        return
    _check(options)
    require_no_labels(options.members, options.csv)
    deciding = read_fit(given, reporter)
    fitted_path = options.out.with_suffix(".yaml")
    inputs = (*options.members, options.csv, options.fitted, *options.exclude)
    require_table(options.out, "--out", inputs)
    if options.fit:
        require_file(fitted_path, "--out, with .yaml for --fit,", (*inputs, options.out))
        require_file(kept_beside(fitted_path), "--out, with .json for --fit,", (*inputs, options.out))
    if options.decisions is not None:
        require_table(options.decisions, "--decisions", inputs)
        if real(options.decisions) == real(options.out):
            raise OptionError(f"--decisions and --out are both {options.out}.", "Give each a file of its own.")
    outputs = [("--out", options.out), ("--decisions", options.decisions)]
    outputs += [("--out", fitted_path), ("--out", kept_beside(fitted_path))] if options.fit else []
    with lock_outputs_once(options, *outputs):
        _ensemble(options, routes, fitted_path, deciding, reporter)


def _ensemble(
    options: EnsembleOptions,
    routes: Sequence[Route],
    fitted_path: Path,
    deciding: Deciding | None,
    reporter: Reporter,
) -> None:
    members = Members.read(options, reporter)
    findings = members.findings(options)
    others = [members.known(index) for index in range(len(members.paths))]
    enough = any if options.union else all
    known = [name for name in dict.fromkeys(chain(*others)) if enough(name in other for other in others)]
    normal = normal_finding(options, known)
    gate = options.normal or LabelSpace.of(known).normal
    truth = labels_to_fit(options, members.csv, findings, known) if options.fit else None
    if truth is not None and members.csv is not None:
        members.warn_of_seen(truth, members.csv, reporter)
    needed = tuple(dict.fromkeys([*findings, *([gate] if gate and (normal or options.fit) else [])]))
    watch = None if deciding is None else watching(deciding, findings, options, reporter)
    blend = Blend(members, options, findings, needed, normal, watch)
    fit = None if truth is None else Fit(truth, gate, fitted_path)
    if members.models:
        _of_films(blend, routes, fit, reporter)
    else:
        _of_files(blend, routes, fit, reporter)
    _tell_next(findings, bool(members.models), options, reporter)


def _of_films(blend: Blend, routes: Sequence[Route], fit: Fit | None, reporter: Reporter) -> None:
    """Members look at films, those of a CSV or of a folder."""
    options, members = blend.options, blend.members
    films = films_of_shard(options, options.shard, (), members.csv, reporter)
    facts = FilmFacts.of(options, films, options.dicom_columns)
    studies = None
    if options.per_study is not None:
        studies = studies_to_predict(next(films.stretches([films.number])), films, members.csv, options, reporter)
    reporter.plan("Ensemble", _plan(blend, routes, films.number, films))
    if streams(options):
        by_view = ByView.of(members, routes, films, options, reporter) if routes else None
        predict_stretches(blend, films, facts, by_view, studies, reporter)
    else:
        chooser = None if fit is None else partial(fitted, fit=fit, findings=blend.findings, options=options)
        predict_held(blend, films, facts, studies, chooser, reporter)


def _of_files(blend: Blend, routes: Sequence[Route], fit: Fit | None, reporter: Reporter) -> None:
    """All members are predictions, and no film is looked at."""
    options, members = blend.options, blend.members
    ids, studies = _ids(members, options, reporter), None
    if options.per_study is not None:
        studies = studies_to_predict(ids, None, members.csv, options, reporter)
    reporter.plan("Ensemble", _plan(blend, routes, len(ids), None))
    if routes:
        blended = _by_view(blend, routes, ids, studies, reporter)
    else:
        outputs = replace(_outputs(blend, members, ids), studies=studies, per_study=options.per_study or "mean")
        if fit is None or options.dry_run:
            blended = outputs.blended(blend.normal, options)
        else:
            blended = fitted(outputs, reporter, fit, blend.findings, options)
    if options.dry_run:
        reporter.result("Dry run: all members were read. Nothing was written.")
        return
    stated = None
    if blend.watch is not None and blend.watch.deciding.local is not None:
        stated = StatedViews.of(ids, members.csv, None, options)
    blended, decided = finished(blended.select(blend.findings), blend.watch, stated, options)
    what = counted(len(blend.findings), "finding")
    if studies is not None:
        what += f" of {counted(len(studies), 'study', 'studies')}"
    for path, table in ((options.out, blended), (options.decisions, decided)):
        if path is not None and table is not None:
            replaced = path.is_file()
            table.write(path, options.id_column if studies is None else options.study_column)
            reporter.result(told_of_written(path, replaced, len(ids), what))
    if blend.watch is not None:
        blend.watch.tell(reporter)


def _tell_next(findings: Sequence[str], reads_films: bool, options: EnsembleOptions, reporter: Reporter) -> None:
    if options.dry_run:
        return
    if options.shard is not None:
        reporter.note(told_of_parts(options.out, options.shard))
    elif not tell_scoring(reporter, options, findings) and reads_films and options.csv is not None:
        given = typed(options, ("csv", "image_dir", "id_column", "where", "exclude"))
        tell_next(reporter, "data", "check", *given, "--submission", options.out)


def _by_view(
    blend: Blend, routes: Sequence[Route], ids: Texts, studies: Studies | None, reporter: Reporter
) -> Predictions:
    """Each film as the predictions for its view have it, or each study of such films."""
    options, members = blend.options, blend.members
    blended: list[Predictions] = []
    views = views_of_films(ids, members.csv, options)
    for route, mine in zip(routes, shares(ids, views, routes), strict=True):
        if not len(mine):
            reporter.warn(f"--by-view: no film has the view {route.view}, so its members predict none.")
            continue
        blended.append(_outputs(blend, members.only(route.members), mine).blended(blend.normal, options))
    together = np.concatenate([one.probabilities for one in blended])
    films = Predictions(np.concatenate([one.ids for one in blended]), blend.needed, together).rows(list(ids))
    if studies is None or options.per_study is None:
        return films
    return studies.predictions(films, options.per_study, options.view_weights)


def _outputs(blend: Blend, members: Members, ids: Texts) -> MemberOutputs:
    """What some predictions say of these films. Raises DataError where one lacks some."""
    names = [str(path) for path in members.paths]
    files = {}
    for index, file in members.files.items():
        if members.csv is None:
            require_same("film", members.files[0].ids, file.ids, names[0], names[index])
        else:
            members.require_films(index, ids, members.csv)
        files[index] = file.rows(list(ids))
    return MemberOutputs(said([]), files, ids, tuple(map(members.known, range(len(names)))), blend.needed)


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
    if options.fit and (kept := changed(options) & {"calibration", "decisions", "fitted"}):
        raise OptionError(
            f"--fit fits calibrations and thresholds: leave {flags(options, kept)} out.",
            "They are for the films that are predicted with its YAML, by --config.",
        )
    if options.fit and chosen:
        raise OptionError(f"--fit chooses weights, merge and gating: leave {' and '.join(chosen)} out.")
    if options.merge == "rank" and options.postprocess == "normal_gating":
        raise OptionError("--merge rank gives ranks, and normal_gating needs probabilities.", "Take another --merge.")


def _plan(blend: Blend, routes: Sequence[Route], number: int, films: FilmList | None) -> dict[str, str]:
    members, options = blend.members, blend.options
    weights = options.weights or (1.0,) * len(members.paths)
    view_of = {place: route.view for route in routes for place in route.members}
    plan = {}
    for index, (path, weight) in enumerate(zip(members.paths, weights, strict=True)):
        role = members.judged_by(index) if options.fit else f" (weight {weight:g})"
        plan[f"member {index + 1}"] = f"{path} ({view_of[index]})" if routes else f"{path}{role}"
    source = members.csv if films is None else films.source
    return {
        "films": f"{number:,} of {source or members.paths[0]}",
        **plan,
        **plan_of_views(options, blend.normal),
        "merge": "chosen" if options.fit else options.merge,
        "out": str(options.out),
        "process": str(Process.of(options)),
    }


def _ids(members: Members, options: EnsembleOptions, reporter: Reporter) -> Texts:
    """The films that prediction CSVs are blended of."""
    if members.csv is None:
        ids = _without_excluded(members.files[0].ids, "the members", options, reporter)
    else:
        ids = read_ids(members.csv, options.id_column, chosen_rows(options, members.csv, options.split, reporter))
        ids = _without_excluded(ids, str(members.csv), options, reporter)
    if options.per_study is None:
        return ids_of_shard(ids, options.shard, None)
    studies = partial(studies_to_predict, ids, None, members.csv, options, Silent())
    return ids_of_shard(ids, options.shard, studies)


def _without_excluded(ids: Texts, source: str, options: EnsembleOptions, reporter: Reporter) -> Texts:
    excluded = read_exclusions(options.exclude, options.id_column)
    tell_exclusions(reporter, excluded, ids)
    kept = ids[[film not in excluded for film in ids]]
    if len(kept) == 0:
        raise DataError(f"--exclude leaves no film of {source}.")
    return kept
