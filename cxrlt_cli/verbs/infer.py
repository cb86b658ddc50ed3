"""A checkpoint and films to predictions."""

import json

from torch.utils.data import DataLoader

from cxrlt_cli.config import InferOptions
from cxrlt_cli.data.loading import Batch, FilmDataset
from cxrlt_cli.engine.default_films import films_csv
from cxrlt_cli.engine.disk_space import require_room_for_table
from cxrlt_cli.engine.film_facts import FilmFacts
from cxrlt_cli.engine.films import FilmList
from cxrlt_cli.engine.folder_films import film_list, takes_folder
from cxrlt_cli.engine.launch import launch, lock_outputs_once
from cxrlt_cli.engine.partial import write_predictions
from cxrlt_cli.engine.postprocess import Postprocess, plan_of_views
from cxrlt_cli.engine.precision import choose_for_predicting
from cxrlt_cli.engine.predict import Outputs, films_in_order, predict, read_checkpoint, rehearse, stretches
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporter import Advance, Reporter, tell_needless
from cxrlt_cli.engine.sources import film_sources, keep_films
from cxrlt_cli.errors import OptionError
from cxrlt_cli.files import real
from cxrlt_cli.nets.classifier import Classifier, from_checkpoint
from cxrlt_cli.nets.manifest import sha256
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.tables.label_table import Texts
from cxrlt_cli.tables.outputs import require_table
from cxrlt_cli.tta import VIEWS


def infer(options: InferOptions, reporter: Reporter) -> None:
    """Write the probabilities of every film of ``--csv``, in its order, or of a folder; nothing in a dry run.

    Films are predicted and written a stretch at a time. After a stop, the same command goes on where it was.
    """
    if options.merge == "rank":
        raise OptionError("--merge rank blends members of an ensemble; views of a film have no ranks.")
    Process.of(options)
    inputs = (options.checkpoint, options.csv, *options.films, *options.exclude)
    require_table(options.out, "--out", inputs)
    if options.decisions is not None:
        require_table(options.decisions, "--decisions", inputs)
        if real(options.decisions) == real(options.out):
            raise OptionError(f"--decisions and --out are both {options.out}.", "Give each a file of its own.")
    tell_needless(reporter, options, ["patient_column"], "predicting looks at no patient")
    with lock_outputs_once(options, ("--out", options.out), ("--decisions", options.decisions)):
        _infer(options, reporter)


def _infer(options: InferOptions, reporter: Reporter) -> None:
    checkpoint = read_checkpoint(options.checkpoint, reporter)
    csv = None if takes_folder(options, options.films) else films_csv(options.csv, [checkpoint], reporter)
    films = film_list(options, options.films, csv, reporter)
    facts = FilmFacts.of(options, films, options.dicom_columns)
    model = from_checkpoint(checkpoint, options.checkpoint)
    post = Postprocess.of(options, checkpoint)
    if not options.dry_run:
        require_room_for_table("--out", options.out, films.number, len(post.findings))
        keep_films(films.path_stretches(), films.number, [model.preprocessing], options, reporter)
    launch(_predict, options, reporter, model, films, facts, post)


def _predict(
    process: Process, reporter: Reporter, model: Classifier, films: FilmList, facts: FilmFacts, post: Postprocess
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
    if post.calibration is not None and len(views) > 1:
        reporter.note("Calibration and thresholds were fitted on the film as it is, and suit merged views less well.")
    process = choose_for_predicting(options, process, model, films.number * len(views), reporter)
    model = model.to(process.device)
    source = film_sources([model.preprocessing], options, reporter)

    def batches(ids: Texts) -> "DataLoader[Batch]":
        dataset = FilmDataset(source(films.paths(ids)))
        return films_in_order(dataset, options.batch_size, process)

    def predicted(ids: Texts, advance: Advance) -> Outputs:
        (outputs,) = predict([model], batches(ids), process, advance, views, features=post.novelty is not None)
        return outputs

    def tables(ids: Texts, outputs: Outputs) -> list[Predictions]:
        return [facts.added(table, reporter) for table in post.predictions(ids, outputs)]

    sizes = stretches(options.batch_size, process)
    if options.dry_run:
        rehearse([model], batches(next(films.stretches(sizes))), views, films.number, process, reporter)
        return
    paths = [options.out, *([options.decisions] if options.decisions else [])]
    key, number = _key(options, films, process), len(post.findings)
    write_predictions(paths, key, films, sizes, number, predicted, tables, process, reporter)


def _key(options: InferOptions, films: FilmList, process: Process) -> dict[str, object]:
    """All that decides what is written."""
    path = options.checkpoint / "best.safetensors" if options.checkpoint.is_dir() else options.checkpoint
    free = {"csv", "films", "image_dir", "exclude", "out", "workers", "quiet", "debug", "seed", "processes", "nodes",
            "device", "rendezvous", "run_id", "checkpoint", "batch_size", "cache"}  # fmt: skip
    chosen = json.loads(options.model_dump_json(exclude=free))
    return {"model": sha256(path), "films": films.to_json(), "options": chosen, "dtype": str(process.dtype)}
