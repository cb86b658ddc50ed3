"""``cxrlt data import``: a public label file as it comes, into the CSV that every command reads."""

import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cxrlt_cli.config import DataImportOptions
from cxrlt_cli.datasets.kinds import OPTIONS_OF, READERS, kind_of_files, rules_of, unmentioned_of
from cxrlt_cli.datasets.label_file import LabelFile, parts_in, shared_patients
from cxrlt_cli.datasets.label_rules import settled
from cxrlt_cli.datasets.placing import placed
from cxrlt_cli.datasets.records import FRONTAL, OTHER_VIEW, Records
from cxrlt_cli.datasets.set_files import SetFiles
from cxrlt_cli.datasets.vocabularies import renamed
from cxrlt_cli.engine.partial import told_of_written
from cxrlt_cli.engine.reporter import Reporter, counted, tell_needless
from cxrlt_cli.errors import DataError, OptionError, listed
from cxrlt_cli.files import write_text
from cxrlt_cli.names import meant
from cxrlt_cli.tables.outputs import require_table, write_table
from cxrlt_cli.tables.provenance import read_record, write_record

SPLIT = "{split}"
VIEWS = {"frontal": FRONTAL, "lateral": ("L",)}
KNOWN_VIEWS = (*FRONTAL, "L", OTHER_VIEW)


def import_labels(options: DataImportOptions, reporter: Reporter) -> None:
    """Read, place, settle, name and write: ``cxrlt data import``."""
    target = options.append or options.out
    if options.append is not None and not options.append.is_file():
        raise OptionError(f"--append {options.append} does not exist.", "Make it by an import with --out first.")
    files = SetFiles.of(options.sources, options.image_dir, options.missing != "keep")
    for part in ("train", "val", "test") if SPLIT in str(target) else ("",):
        path = Path(str(target).replace(SPLIT, part))
        require_table(path, "--append" if options.append else "--out", (*files.given, *files.label_files))
    kind = kind_of_files(files) if options.kind == "auto" else options.kind
    needless = [name for name, kinds in OPTIONS_OF.items() if kind not in kinds]
    tell_needless(reporter, options, needless, f"the labels of {kind} have nothing of that kind")
    with reporter.progress("Reading labels", 1, "files") as advance:
        records = READERS[kind](files, options)
        advance(1)
    folder = records.films_below or files.image_dir
    if options.missing != "keep" and records.films_below is None:
        records = placed(records, folder, options.missing, reporter.progress)
    records = _of_views(records, options)
    records, changed = settled(records, options.uncertain, unmentioned_of(kind, options))
    notes = list(records.notes)
    if options.names is not None:
        records, more = renamed(records, options.names)
        notes += more
    records = _of_findings(records, options)
    if not len(records):
        raise DataError(f"No film is left: {_left_out(records)}.")
    _check_parts(records, reporter)
    report = _report(kind, options, folder, records, changed, notes)
    _tell(report, reporter)
    _write(records, kind, folder, options, report, reporter)


def _of_views(records: Records, options: DataImportOptions) -> Records:
    if options.views is None:
        return records
    wanted = [view for name in options.views for view in VIEWS.get(name, (name,))]
    for view in wanted:
        if view not in KNOWN_VIEWS:
            names = (*VIEWS, *KNOWN_VIEWS)
            raise OptionError(f"--views: '{view}' is none of {', '.join(names)}.{meant(view, names)}")
    if records.views is None:
        raise OptionError("--views: the set does not say which view a film is.", "Import all, or sort them by hand.")
    return records.rows(np.isin(records.views.astype(str), wanted), f"another view than {', '.join(options.views)}")


def _of_findings(records: Records, options: DataImportOptions) -> Records:
    for name in options.findings or ():
        if name not in records.findings:
            there = listed(records.findings, 12)
            raise OptionError(f"--findings: no '{name}' among {there}.{meant(name, records.findings)}")
    return records if options.findings is None else records.select(options.findings)


def _check_parts(records: Records, reporter: Reporter) -> None:
    shared = shared_patients(records)
    if shared and records.is_official:
        raise DataError(
            f"{counted(len(shared), 'patient')} of the set's official parts are in more than one: {listed(shared, 3)}.",
            "Are they of one release? Name the files of one as SOURCE.",
        )
    if shared:
        reporter.warn(f"{counted(len(shared), 'patient')} are in more than one part: {listed(shared, 3)}.")


def _report(
    kind: str,
    options: DataImportOptions,
    folder: Path,
    records: Records,
    changed: Mapping[str, int],
    notes: list[str],
) -> dict[str, Any]:
    """All that is told of an import, as JSON holds it."""
    numbers = [
        {
            "name": name,
            "positives": int((states == 1).sum()),
            "negatives": int((states == 0).sum()),
            "empty": int((states < 0).sum()),
        }
        for name, states in zip(records.findings, records.states.T, strict=True)
    ]
    views, view_counts = np.unique([] if records.views is None else records.views.astype(str), return_counts=True)
    parts = {} if records.parts is None else {part: int((records.parts == part).sum()) for part in parts_in(records)}
    return {
        "kind": kind,
        "policy": "; ".join([kind, *(f"{name}: {rule}" for name, rule in rules_of(kind, options).items())]),
        "image_dir": os.path.relpath(folder, (options.append or options.out).parent),
        "rows_read": records.rows_read,
        "films": len(records),
        "left_out": dict(records.left_out),
        "changed": dict(changed),
        "patients": None if records.is_by_film else len(set(records.owners)),
        "studies": None if records.studies is None else len(set(zip(records.owners, records.studies, strict=True))),
        "views": dict(zip(views.tolist(), view_counts.tolist(), strict=True)),
        "parts": parts,
        "findings": numbers,
        "notes": notes,
    }


def _tell(report: Mapping[str, Any], reporter: Reporter) -> None:
    facts = {"rows read": f"{report['rows_read']:,}", "films": f"{report['films']:,}"}
    facts["left out"] = _few(report["left_out"])
    facts["changed"] = _few(report["changed"])
    facts["patients"] = "unknown" if report["patients"] is None else f"{report['patients']:,}"
    if report["studies"] is not None:
        facts["studies"] = f"{report['studies']:,}"
    if report["views"]:
        facts["views"] = _few(report["views"])
    if report["parts"]:
        facts["parts"] = _few(report["parts"])
    facts["policy"] = report["policy"]
    reporter.plan("Import", facts)
    rows = [
        (finding["name"], *(f"{finding[number]:,}" for number in ("positives", "negatives", "empty")))
        for finding in report["findings"]
    ]
    reporter.table("Findings", ("finding", "positive", "negative", "empty"), rows)
    for note in report["notes"]:
        reporter.note(note)
    if report["patients"] is None:
        reporter.warn(
            "Who the patients are is not told: each film is its own in PatientID, and a split at random may share one."
        )


def _few(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {number:,}" for name, number in numbers.items()) or "none"


def _left_out(records: Records) -> str:
    return _few(records.left_out)


def _write(
    records: Records,
    kind: str,
    folder: Path,
    options: DataImportOptions,
    report: dict[str, Any],
    reporter: Reporter,
) -> None:
    """The CSV or those of the parts, each with a record of how it came about; with ``--dry-run`` neither."""
    target = options.append or options.out
    written: dict[Path, LabelFile] = {}
    whole = LabelFile.of(records, target)
    if options.append is not None:
        _require_same_folder(options.append, report)
        written[target] = whole.after(options.append, kind)
        old = read_record(options.append)
        report |= {"policy": f"{old['policy']} | {report['policy']}"} if old and "policy" in old else {}
    elif SPLIT in str(options.out):
        parts = np.full(len(records), "", object) if records.parts is None else records.parts
        if (parts == "").any():
            raise OptionError(f"--out {options.out}: not every film is in an official part.", "Leave out {split}.")
        for part in parts_in(records):
            path = Path(str(options.out).replace(SPLIT, part))
            require_table(path, "--out", options.sources)
            written[path] = whole.rows(parts == part)
    else:
        written[target] = whole
    if options.json_path is not None:
        write_text(options.json_path, json.dumps(report, indent=2, ensure_ascii=False) + "\n")
        reporter.result(f"Wrote {options.json_path}.")
    for path, labels in written.items():
        if options.dry_run:
            reporter.result(f"Would write {path}: {counted(len(labels), 'film')}, {len(labels.findings)} findings.")
            continue
        replaced = path.is_file() and options.append is None
        write_table(labels.text(), path, "ImageID")
        write_record(path, report)
        reporter.result(told_of_written(path, replaced, len(labels), len(labels.findings)))
    if not options.dry_run:
        split = " --split train" if "train" in report["parts"] and SPLIT not in str(target) else ""
        csv, films = shlex.quote(str(next(iter(written)))), shlex.quote(str(folder))
        reporter.result(f"Go on: cxrlt train --csv {csv} --image-dir {films}{split}")


def _require_same_folder(base: Path, report: Mapping[str, Any]) -> None:
    """Raise DataError where the ids of ``base`` are known to be paths below another folder than these."""
    record = read_record(base)
    if record and record.get("image_dir", report["image_dir"]) != report["image_dir"]:
        raise DataError(
            f"The films of {base} are below {base.parent / record['image_dir']}, those of this set below "
            f"{base.parent / report['image_dir']}.",
            "Import both with --image-dir on the folder that holds both sets.",
        )
