"""A checkpoint and films to predictions."""

import json
from functools import partial
from itertools import combinations
from pathlib import Path

from torch.utils.data import DataLoader

from cxrlt_cli.config import InferOptions
from cxrlt_cli.data.loading import Batch, FilmDataset
from cxrlt_cli.engine.default_films import films_csv
from cxrlt_cli.engine.disk_space import require_room_for_table
from cxrlt_cli.engine.feature_files import FeatureFiles
from cxrlt_cli.engine.film_facts import FilmFacts
from cxrlt_cli.engine.film_studies import all_studies, finish_studies
from cxrlt_cli.engine.films import FilmList
from cxrlt_cli.engine.folder_films import FolderFilms, takes_folder
from cxrlt_cli.engine.launch import launch, prepared_once
from cxrlt_cli.engine.local_file import fit_of_checkpoint
from cxrlt_cli.engine.next_step import tell_scoring
from cxrlt_cli.engine.partial import Output, table, write_predictions
from cxrlt_cli.engine.postprocess import Postprocess, plan_of_views
from cxrlt_cli.engine.precision import choose_for_predicting
from cxrlt_cli.engine.predict import Outputs, films_in_order, predict, read_checkpoint, rehearse, stretches
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporter import Advance, Reporter, counted, tell_needless
from cxrlt_cli.engine.sharding import films_of_shard, named_by_shard, told_of_parts
from cxrlt_cli.engine.sources import film_sources, keep_films
from cxrlt_cli.engine.stated_views import StatedViews
from cxrlt_cli.engine.topology import lock_outputs_once
from cxrlt_cli.errors import OptionError
from cxrlt_cli.files import real
from cxrlt_cli.nets.classifier import Classifier, from_checkpoint
from cxrlt_cli.nets.manifest import sha256
from cxrlt_cli.scores.studies import Studies
from cxrlt_cli.tables.embeddings import require_embeddings
from cxrlt_cli.tables.label_table import Texts
from cxrlt_cli.tables.outputs import require_table
from cxrlt_cli.tta import VIEWS


@prepared_once
def infer(options: InferOptions, reporter: Reporter) -> None:
    """Write the probabilities of every film of ``--csv``, in its order, or of a folder; nothing in a dry run.

    Films are predicted and written a stretch at a time. After a stop, the same command goes on where it was.
    """
    options = named_by_shard(options, ("out", "decisions", "embeddings", "nearest"))
    if options.merge == "rank":
        raise OptionError("--merge rank blends members of an ensemble; views of a film have no ranks.")
    Process.of(options)
    inputs = (options.checkpoint, options.csv, options.among, options.fitted, *options.films, *options.exclude)
    require_table(options.out, "--out", inputs)
    for flag, path in (("--decisions", options.decisions), ("--nearest", options.nearest)):
        if path is not None:
            require_table(path, flag, inputs)
    if options.embeddings is not None:
        require_embeddings(options.embeddings, "--embeddings", inputs, options.id_column)
    outputs = [("--out", options.out), ("--decisions", options.decisions)]
    outputs += [("--embeddings", options.embeddings), ("--nearest", options.nearest)]
    for (flag, path), (other, same) in combinations(reversed(outputs), 2):
        if path is not None and same is not None and real(path) == real(same):
            raise OptionError(f"{flag} and {other} are both {same}.", "Give each a file of its own.")
    if options.per_study is None:
        needless = ["patient_column", "study_column", *(["view_column"] if options.fitted is None else [])]
        tell_needless(reporter, options, needless, "predictions of films do not use patients or studies")
    with lock_outputs_once(options, *outputs):
        _infer(options, reporter)


def _infer(options: InferOptions, reporter: Reporter) -> None:
    checkpoint = read_checkpoint(options.checkpoint, reporter)
    csv = None if takes_folder(options, options.films) else films_csv(options.csv, [checkpoint], reporter)
    films = films_of_shard(options, options.shard, options.films, csv, reporter)
    facts = FilmFacts.of(options, films, options.dicom_columns)
    studies = all_studies(films, options, reporter)
    model = from_checkpoint(checkpoint, options.checkpoint)
    kept = FeatureFiles.of(options, model.num_features)
    local = fit_of_checkpoint(options, options.checkpoint, kept.key["model"])
    post = Postprocess.of(options, checkpoint, local, None if local is None else _stated_views(films, csv, options))
    if local is not None and local.trained_on:
        reporter.warn(f"--fitted {options.fitted} is not valid for other films: {local.told_trained_on}.")
    if local is not None and options.calibration == "none" and options.decisions is None:
        reporter.note("--fitted alone changes no probability: add --calibration or --decisions.")
    if local is not None and options.shard is not None:
        reporter.note("The drift test of --fitted covers only this part.")
    if not options.dry_run:
        require_room_for_table("--out", options.out, films.number, len(post.findings))
        kept.require_room(films.number)
        keep_films(films.path_stretches(), films.number, [model.preprocessing], options, reporter)
    launch(_predict, options, reporter, model, films, facts, post, kept, studies)


def _predict(
    process: Process,
    reporter: Reporter,
    model: Classifier,
    films: FilmList,
    facts: FilmFacts,
    post: Postprocess,
    kept: FeatureFiles,
    studies: Studies | None,
) -> None:
    options, views = post.options, VIEWS[post.options.tta]
    reporter.plan(
        "Prediction",
        {
            "films": f"{films.number:,} of {films.source}",
            "model": f"{options.checkpoint}: {model.architecture.backbone}, {model.architecture.head}, "
            f"{len(model.findings)} findings, {model.preprocessing.told}",
            **plan_of_views(options, post.normal),
            "process": str(process),
            "out": str(options.out),
        },
    )
    if post.deciding is not None and options.decisions is not None:
        post.deciding.tell(post.findings, reporter)
    if post.deciding is not None and post.deciding.local is None and len(views) > 1:
        reporter.note(
            "Calibration and thresholds were fitted without test-time augmentation, and fit merged views less well."
        )
    process = choose_for_predicting(options, process, model, films.number * len(views), reporter)
    model = model.to(process.device)
    source = film_sources([model.preprocessing], options, reporter)

    def batches(ids: Texts) -> "DataLoader[Batch]":
        dataset = FilmDataset(source(films.paths(ids)))
        return films_in_order(dataset, options.batch_size, process)

    features, watch = post.need_features or kept.wanted, post.watch()

    def predicted(ids: Texts, advance: Advance) -> Outputs:
        (outputs,) = predict([model], batches(ids), process, advance, views, features)
        return outputs

    def rows(ids: Texts, outputs: Outputs, first: bool) -> list[bytes]:
        tables = [facts.added(predictions, reporter) for predictions in post.predictions(ids, outputs, watch)]
        texts = [predictions.to_csv(options.id_column, header=first).encode() for predictions in tables]
        return [*texts, *kept.rows(ids, outputs, first)]

    sizes = stretches(options.batch_size, process)
    if options.dry_run:
        rehearse([model], batches(next(films.stretches(sizes))), views, films.number, process, reporter)
        return
    what = counted(len(post.findings), "finding")
    files = [table(path, what, options.id_column) for path in (options.out, options.decisions) if path is not None]
    if studies is not None:
        finish = partial(finish_studies, studies=studies, options=options)
        files = [Output(options.out, f"{what} of {counted(len(studies), 'study', 'studies')}", finish)]
    key = _key(options, films, kept, process)
    write_predictions([*files, *kept.outputs()], key, films, sizes, predicted, rows, process, reporter)
    if process.is_main:
        kept.tell(films, reporter)
        if watch is not None:
            watch.tell(reporter, films.number)
        if options.shard is not None:
            reporter.note(told_of_parts(options.out, options.shard))
        else:
            tell_scoring(reporter, options, post.findings, not isinstance(films, FolderFilms))


def _stated_views(films: FilmList, csv: Path | None, options: InferOptions) -> StatedViews:
    (ids,) = films.stretches([films.number])
    return StatedViews.of(ids, csv, films.paths, options)


def _key(options: InferOptions, films: FilmList, kept: FeatureFiles, process: Process) -> dict[str, object]:
    """All that decides what is written."""
    free = {"csv", "films", "image_dir", "exclude", "out", "workers", "quiet", "debug", "seed", "processes", "nodes",
            "device", "rendezvous", "run_id", "checkpoint", "batch", "cache", "among", "fitted"}  # fmt: skip
    chosen = json.loads(options.model_dump_json(exclude=free))
    if options.fitted is not None:
        chosen["fitted"] = sha256(options.fitted)
    return {**kept.key, "films": films.to_json(), "options": chosen, "dtype": str(process.dtype)}
