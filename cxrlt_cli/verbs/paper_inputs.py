"""What ``report`` keeps of a run: its predictions, the labels of its films, and the facts that it recorded."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cxrlt_cli.config import ReportOptions
from cxrlt_cli.documents import read_json, read_yaml
from cxrlt_cli.engine.reporter import Reporter, counted
from cxrlt_cli.engine.split_copies import copies
from cxrlt_cli.errors import DataError, OptionError, listed
from cxrlt_cli.files import require_no_labels, write_text
from cxrlt_cli.names import fault_of_name, meant_path, shown
from cxrlt_cli.nets.checkpoints import Checkpoint
from cxrlt_cli.nets.manifest import sha256
from cxrlt_cli.report.paper_study import FACTS, FILMS, ID, JUDGED, PART, PATIENT, PREDICTIONS, RUN
from cxrlt_cli.report.study_groups import AGE, SEX, VIEW
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.tables.chosen import Chosen
from cxrlt_cli.tables.corrections import Corrected, Corrections, read_corrections
from cxrlt_cli.tables.label_table import LabelTable, read_csv, read_header, read_ids, read_labels
from cxrlt_cli.tables.provenance import read_policy
from cxrlt_cli.tables.study_columns import read_cells
from cxrlt_cli.training.record import RECORD, SPLIT
from cxrlt_cli.verbs.paper_inputs_agreement import require_agreement

KEYS = {"command", "process", "versions", "labels", "exclude", "num_rows", "num_excluded", "num_taken", "split_sha256"}


@dataclass(frozen=True)
class _Source:
    """Where a run, or a prediction CSV, has what is kept of it."""

    predictions: Path
    csvs: tuple[Path, ...]
    options: Mapping[str, Any]  # of run.yaml
    record: Mapping[str, Any] | None
    split: Mapping[str, tuple[str, str]]  # of a film: its patient and its part
    folder: Path | None
    corrected_by: tuple[Path, ...] = ()
    corrections: Corrections = field(default_factory=Corrections)

    def option(self, name: str, default: str) -> str:
        return str(self.options.get(name) or default)


def write_inputs(run: Path, folder: Path, options: ReportOptions, reporter: Reporter) -> tuple[Path, ...]:
    """Fill ``folder`` with ``facts.json``, ``films.csv`` and ``predictions.csv``; the CSVs whose labels were read.

    Raises OptionError where ``run`` is neither, DataError where labels or predictions are gone or do not fit.
    """
    if not run.exists():
        raise OptionError(f"{run} does not exist.{meant_path(run)}", "Name a folder of train, or a prediction CSV.")
    require_no_labels([run], options.csv)
    source = _run(run, options) if run.is_dir() else _predictions(run, options)
    id_column = source.option("id_column", options.id_column)
    predictions = Predictions.read(source.predictions, id_column)
    tables = [_labels(path, source, predictions, id_column, options, reporter) for path in source.csvs]
    findings = [name for name in predictions.findings if all(name in table.space.findings for table in tables)]
    films = [str(film) for table in tables for film in table.ids]
    if len(set(films)) < len(films):
        raise DataError(f"{listed(source.csvs)} share films.", "Make each CSV one of films of its own.")
    unlabelled = set(predictions.ids) - set(films)
    if unlabelled:
        some = listed(sorted(unlabelled))
        if source.folder is not None or len(unlabelled) == len(predictions.ids):
            raise DataError(f"{listed(source.csvs)} no longer holds films of {source.predictions}: {some}.",
                            "Give the labels that it was made with.")  # fmt: skip
        reporter.warn(f"{counted(len(unlabelled), 'film')} of {source.predictions} without labels: {some}.")
    kept = predictions.rows([film for film in predictions.ids if film not in unlabelled]).select(findings)
    facts = _facts(source, kept, tables, options, reporter)
    if source.folder is not None:
        changed = [file["name"] for file in (*facts["labels"], *facts["corrections"]) if file["changed"]]
        require_agreement(source.folder, kept, tables, changed, reporter)
    facts["copies"] = None
    if options.copies:
        parts = {film: part for film, (_, part) in source.split.items()}
        facts["copies"] = copies(source.csvs, tables, parts, source.options, reporter)
    kept.write(folder / PREDICTIONS, ID)
    if source.folder is not None:
        write_text(folder / RUN, (source.folder / RUN).read_text(encoding="utf-8"))
    write_text(folder / FILMS, _films_csv(source, tables, findings, id_column))
    write_text(folder / FACTS, json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return source.csvs


def _run(run: Path, options: ReportOptions) -> _Source:
    try:
        known = read_yaml(run / RUN)
        csvs = [Path(known["csv"]), *([Path(known["val_csv"])] if known.get("val_csv") else [])]
        corrected_by = [Path(path) for path in known.get("corrections") or ()]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise OptionError(f"{run} holds no run.yaml that names its labels.", "Name a folder of train.") from error
    names = ("oof_predictions.csv", "val_predictions.csv")
    predictions = next((run / name for name in names if (run / name).is_file()), None)
    if predictions is None:
        raise OptionError(f"{run} holds neither {' nor '.join(names)}.", "Let the run end: train --resume.")
    if options.csv is not None and len(csvs) == 1 and not csvs[0].is_file():
        csvs = [options.csv]
    if gone := [path for path in corrected_by if not path.is_file()]:
        raise DataError(f"{listed(gone)} is gone, which corrected labels of {run}.", "Put it back.")
    columns = [str(known.get(name) or name_of) for name, name_of in (("id_column", ID), ("patient_column", PATIENT))]
    corrections = read_corrections(corrected_by, columns[0], columns[1], csvs)
    record, split = None, {}
    if (run / RECORD).is_file():
        record = _record(run / RECORD)
        if not (run / SPLIT).is_file() or record["split_sha256"] != sha256(run / SPLIT):
            raise DataError(
                f"{run / SPLIT} is not what it was at the end of the run.", f"Put it back, or remove {run / RECORD}."
            )
        rows = read_csv(run / SPLIT).itertuples(index=False)
        split = {film: (patient, part) for film, patient, part in rows}
    elif len(csvs) == 2:
        csvs = csvs[1:]
    return _Source(predictions, tuple(csvs), known, record, split, run, tuple(corrected_by), corrections)


def _record(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
        if lost := KEYS - set(content):
            raise ValueError(f"it lacks {listed(sorted(lost))}")
    except (OSError, ValueError, TypeError) as error:
        way_out = "Remove it: what it says is then told as not recorded."
        raise DataError(f"{path} is damaged: {error}.", way_out) from error
    return dict(content)


def _predictions(path: Path, options: ReportOptions) -> _Source:
    if options.csv is None:
        raise OptionError(f"--csv is missing, which labels the films of {path}.", "Or name the folder of a run.")
    return _Source(path, (options.csv,), {}, None, {}, None)


def _labels(
    path: Path, source: _Source, predictions: Predictions, id_column: str, options: ReportOptions, reporter: Reporter
) -> LabelTable:
    """The films of a CSV that the run used; of one without a record, and of predictions, those that are predicted."""
    every = read_ids(path, id_column)
    wanted = set(source.split) if source.split else set(predictions.ids)
    if source.folder is None and (lost := [film for film in every if film not in wanted]):
        raise DataError(
            f"{source.predictions} has no prediction for {len(lost):,} of the {len(every):,} films of {path}: "
            f"{listed(lost)}.",
            "Predict them, or give a CSV of the others.",
        )
    columns = read_header(path)
    findings = [name for name in predictions.findings if name in columns]
    if not findings:
        raise DataError(f"{path} has none of the findings that were predicted ({listed(predictions.findings)}).")
    if odd := [name for name in predictions.findings if name not in columns]:
        reporter.warn(f"Not scored, since {path} has no such column: {listed(odd, 40)}.")
    return read_labels(
        path,
        id_column=id_column,
        patient_column=source.option("patient_column", options.patient_column),
        view_column=source.option("view_column", VIEW),
        findings=findings,
        needs_patients=False,
        chosen=Chosen(without=frozenset(set(every) - wanted), id_column=id_column),
        corrections=source.corrections,
    )


def _facts(
    source: _Source, kept: Predictions, tables: Sequence[LabelTable], options: ReportOptions, reporter: Reporter
) -> dict[str, Any]:
    weights = sorted(source.folder.rglob("best.safetensors")) if source.folder else []
    patients = {str(film): patient for table in tables for film, patient in zip(table.ids, table.patients, strict=True)}
    patients |= {film: patient for film, (patient, _) in source.split.items()}
    kind = "predictions" if source.folder is None else "out of fold" if source.options.get("folds") else "validation"
    return {
        "kind": kind,
        "predictions": {
            "name": source.predictions.name,
            "path": str(source.predictions),
            "sha256": sha256(source.predictions),
        },
        "labels": _files("labels", source.csvs, source, reporter),
        "corrections": _files("corrections", source.corrected_by, source, reporter),
        "corrected": asdict(sum((table.corrected for table in tables), Corrected())),
        "weights": [
            {"name": path.relative_to(source.folder).as_posix(), "sha256": sha256(path)}
            for path in weights
            if source.folder is not None
        ],
        "model": _model(weights[0]) if weights else None,
        "best": _best(source),
        "ema_decays": _ema_decays(source.folder),
        "policy": read_policy(source.csvs[0]),
        "findings": list(kept.findings),
        "has_patients": any(film != patient for film, patient in patients.items()),
        "bootstrap": options.bootstrap,
        "seed": int(source.options.get("seed", options.seed)),
        "options": dict(source.options),
        "record": source.record,
    }


def _files(what: str, paths: Sequence[Path], source: _Source, reporter: Reporter) -> list[dict[str, Any]]:
    """Name, path and hash of each, and whether it is another than ``record.json`` says, where that names any."""
    recorded = [file["sha256"] for file in (source.record or {}).get(what, ())] or [None] * len(paths)
    if len(recorded) != len(paths):
        raise DataError(
            f"{source.folder}: run.yaml names {counted(len(paths), 'file')} of {what}, {RECORD} {len(recorded)}.",
            "Put the one back that was changed.",
        )
    told = []
    for path, known in zip(paths, recorded, strict=True):
        digest = sha256(path)
        changed = known not in (None, digest)
        if changed:
            reporter.warn(f"{path} was changed since {source.folder} was trained with it.")
        told.append({"name": path.name, "path": str(path), "sha256": digest, "changed": changed})
    return told


def _model(weights: Path) -> dict[str, Any]:
    checkpoint = Checkpoint.read(weights)
    number = sum(tensor.numel() for tensor in checkpoint.tensors.values())
    return {
        **checkpoint.architecture.to_json(),
        "films": checkpoint.preprocessing.told,
        "mean": list(checkpoint.mean),
        "std": list(checkpoint.std),
        "num_weights": number,
    }


def _best(source: _Source) -> dict[str, Any] | None:
    """Which of its epochs a single run kept; None where it is several, or that is not known."""
    if source.folder is None or source.options.get("folds") or source.options.get("seeds"):
        return None
    try:
        lines = (source.folder / "history.jsonl").read_text(encoding="utf-8").splitlines()
        epochs = [json.loads(line) for line in lines]
        chosen = [place for place, epoch in enumerate(epochs, 1) if epoch["best"]]
        kept = {"epoch": chosen[-1], "num_epochs": len(epochs), "weights": str(epochs[chosen[-1] - 1]["weights"])}
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return kept


def _ema_decays(folder: Path | None) -> list[float]:
    """The decay of the averaged weights at the last step of each member; empty where that is not recorded."""
    decays = []
    for path in sorted(folder.rglob("history.jsonl")) if folder else []:
        try:
            decays.append(float(json.loads(path.read_text(encoding="utf-8").splitlines()[-1])["ema_decay"]))
        except (OSError, ValueError, LookupError, TypeError):
            return []
    return decays


def _films_csv(source: _Source, tables: Sequence[LabelTable], findings: Sequence[str], id_column: str) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns: dict[str, dict[str, str]] = {}
    for name, column in ((VIEW, source.option("view_column", VIEW)), (SEX, SEX), (AGE, AGE)):
        cells = _cells(source.csvs, tables, id_column, column)
        if cells is not None:
            columns[name] = cells
    writer.writerow((ID, PATIENT, PART, *columns, *findings))
    told = {1.0: "1", 0.0: "0"}
    for table in tables:
        targets = table.select(findings).targets
        for film, patient, labels in zip(table.ids, table.patients, targets, strict=True):
            whose, part = source.split.get(film, (patient, JUDGED))
            facts = [column[film] for column in columns.values()]
            writer.writerow((film, whose, part, *facts, *(told.get(float(label), "") for label in labels)))
    return text.getvalue()


def _cells(csvs: Sequence[Path], tables: Sequence[LabelTable], id_column: str, column: str) -> dict[str, str] | None:
    """A column of all CSVs; None where one lacks it. Raises DataError where a cell is none for a table."""
    if not all(column in read_header(path) for path in csvs):
        return None
    cells: dict[str, str] = {}
    for path, table in zip(csvs, tables, strict=True):
        cells |= read_cells(path, list(table.ids), id_column, column)
    for cell in set(cells.values()) - {""}:
        if fault := fault_of_name(cell):
            raise DataError(f"Column '{column}' of {listed(csvs)} holds {shown(cell)}, which {fault}.", "Mend it.")
    return cells
