"""``cxrlt data import``: a public label file as it comes, into the CSV that every command reads."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cxrlt_cli.config import DataImportOptions
from cxrlt_cli.datasets.kinds import OPTIONS_OF, READERS, kind_of_files, rules_of, unmentioned_of
from cxrlt_cli.datasets.label_file import LabelFile, parts_in, shared_patients
from cxrlt_cli.datasets.label_rules import fates_of, settled
from cxrlt_cli.datasets.placing import placed
from cxrlt_cli.datasets.records import FRONTAL, OTHER_VIEW, Records
from cxrlt_cli.datasets.set_files import SetFiles
from cxrlt_cli.datasets.vocabularies import feeding, renamed
from cxrlt_cli.engine.next_step import tell_next
from cxrlt_cli.engine.reporter import Reporter, counted, tell_needless, told_of_written
from cxrlt_cli.errors import DataError, OptionError, listed
from cxrlt_cli.files import require_file, write_text
from cxrlt_cli.names import meant, shown
from cxrlt_cli.tables.outputs import require_table, write_table
from cxrlt_cli.tables.provenance import read_policy, read_record, record_path, write_record

SPLIT = "{split}"
VIEWS = {"frontal": FRONTAL, "lateral": ("L",)}
KNOWN_VIEWS = (*FRONTAL, "L", OTHER_VIEW)


def import_labels(options: DataImportOptions, reporter: Reporter) -> None:
    """Read, place, settle, name and write: ``cxrlt data import``."""
    target = options.append or options.out
    if options.append is not None and not options.append.is_file():
        raise OptionError(f"--append {options.append} does not exist.", "Import a first set with --out.")
    files = SetFiles.of(options.sources, options.image_dir, options.missing != "keep")
    for part in ("train", "val", "test") if SPLIT in str(target) else ("",):
        path = Path(str(target).replace(SPLIT, part))
        require_table(path, "--append" if options.append else "--out", (*files.given, *files.label_files))
    if options.json_path is not None:
        require_file(options.json_path, "--json", (*files.given, *files.label_files, target, record_path(target)))
    kind = kind_of_files(files) if options.kind == "auto" else options.kind
    needless = [name for name, kinds in OPTIONS_OF.items() if kind not in kinds]
    tell_needless(reporter, options, needless, f"the labels of {kind} have nothing of that kind")
    with reporter.progress("Reading labels", 1, "files") as advance:
        records = READERS[kind](files, options.model_copy(update={"dry_run": True}))
        advance(1)
    folder = records.films_below or files.image_dir
    if options.missing != "keep" and records.films_below is None:
        records = placed(records, folder, options.missing, reporter.progress)
    fates = fates_of(options.uncertain, records.findings)
    records = _before_rules(_of_views(records, options), options)
    records, changed = settled(records, fates, unmentioned_of(kind, options))
    notes = list(records.notes)
    if files.passed_over:
        names = listed([path.name for path in files.passed_over], 8)
        notes.append(f"Other files there, not read: {names}. To read one instead, name it as SOURCE.")
    if options.names is not None:
        records, more = renamed(records, options.names)
        notes += more
    records = _of_findings(records, options)
    if not len(records):
        raise DataError(f"No film is left: {_few(records.left_out)}.")
    _check_parts(records, reporter)
    report = _report(kind, options, folder, records, changed, notes)
    _tell(report, reporter)
    written = _files(records, kind, options, report, reporter)
    if options.json_path is not None:
        write_text(options.json_path, json.dumps(report, indent=2, ensure_ascii=False) + "\n")
        reporter.result(f"Wrote {options.json_path}.")
    if records.films_below is not None and not options.dry_run:
        READERS[kind](files, options)  # writes its films, now that nothing else can stop the import
    _write(written, folder, options, report, reporter)


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


def _before_rules(records: Records, options: DataImportOptions) -> Records:
    """Without the findings that are not kept, so that no rule acts on them."""
    if options.findings is None:
        return records
    if options.names is None:
        return _of_findings(records, options)
    return records.select(feeding(records.findings, options.names, options.findings) or records.findings)


def _of_findings(records: Records, options: DataImportOptions) -> Records:
    for name in options.findings or ():
        if name not in records.findings:
            there = listed(records.findings, 12)
            raise OptionError(f"--findings: no '{name}' among {there}.{meant(name, records.findings)}")
    return records if options.findings is None else records.select(options.findings)


def _check_parts(records: Records, reporter: Reporter) -> None:
    shared = shared_patients(records.owners, records.parts)
    if shared and records.is_official:
        raise DataError(
            f"{counted(len(shared), 'patient')} are in more than one of the set's official splits: "
            f"{listed(shared, 3)}.",
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
    parts = (
        {} if records.parts is None else {part: int((records.parts == part).sum()) for part in parts_in(records.parts)}
    )
    rules = [f"{name}: {rule}" for name, rule in rules_of(kind, records, changed, options).items()]
    return {
        "kind": kind,
        "policy": "; ".join([kind, *rules]),
        "namespace": records.namespace or _namespace(kind, options.sources),
        "image_dir": os.path.relpath(folder, (options.append or options.out).parent),
        "rows_read": records.rows_read,
        "films": len(records),
        "left_out": dict(records.left_out),
        "changed": dict(changed),
        "patients": None if records.is_by_film else len(set(records.owners)),
        "studies": None if records.studies is None else len(set(zip(records.owners, records.studies, strict=True))),
        "views": dict(zip(views.tolist(), view_counts.tolist(), strict=True)),
        "parts": parts,
        "patients_in_two_parts": len(shared_patients(records.owners, records.parts)),
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
        shared = report["patients_in_two_parts"]
        facts["parts"] = f"{_few(report['parts'])}; patients in more than one: {shared:,}"
    facts["policy"] = report["policy"]
    reporter.plan("Import", facts)
    rows = [
        (finding["name"], *(f"{finding[number]:,}" for number in ("positives", "negatives", "empty")))
        for finding in report["findings"]
    ]
    reporter.table("Findings", ("finding", "positive", "negative", "empty"), rows)
    if never := [finding["name"] for finding in report["findings"] if not finding["positives"]]:
        reporter.note(f"Without a positive film: {listed(never, 40)}.")
    for note in report["notes"]:
        reporter.note(note)
    if report["patients"] is None:
        reporter.warn(
            "The patients are not known: each film gets its own PatientID, and a random split may share patients."
        )


def _few(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {number:,}" for name, number in numbers.items()) or "none"


def _files(
    records: Records, kind: str, options: DataImportOptions, report: dict[str, Any], reporter: Reporter
) -> dict[Path, LabelFile]:
    """What is to be written where: one file, one for each part, or one with another set before."""
    target = options.append or options.out
    whole = LabelFile.of(records)
    if options.append is not None:
        return {target: _after(options.append, whole, records, kind, options, report, reporter)}
    if SPLIT not in str(target):
        return {target: whole}
    parts = np.full(len(records), "", object) if records.parts is None else records.parts
    if (parts == "").any():
        raise OptionError(f"--out {target}: not every film is in an official split.", "Leave out {split}.")
    files = {}
    for part in parts_in(parts):
        if not re.fullmatch(r"\w[\w -]*", part):
            raise OptionError(f"--out {target}: the part {shown(part)} makes no name of a file.", "Leave out {split}.")
        path = Path(str(target).replace(SPLIT, part))
        require_table(path, "--out", options.sources)
        files[path] = whole.rows(parts == part)
    return files


def _after(
    base: Path,
    added: LabelFile,
    records: Records,
    kind: str,
    options: DataImportOptions,
    report: dict[str, Any],
    reporter: Reporter,
) -> LabelFile:
    """A set behind those of ``base``; ``report`` becomes that of both."""
    record = read_record(base) or {}
    if record.get("image_dir", report["image_dir"]) != report["image_dir"]:
        raise DataError(
            f"The films of {base} are below {base.parent / record['image_dir']}, those of this set below "
            f"{base.parent / report['image_dir']}.",
            "Import both with --image-dir on the folder that holds both sets.",
        )
    base_prefix = str(record.get("namespace", "")) if "imports" not in record else ""
    both = added.after(base, base_prefix, report["namespace"])
    policy = read_policy(base) or "labels of unknown origin"
    imports = [*record.get("imports", [record] if record else []), {**report}]
    report |= {"policy": f"{policy} | {report['policy']}", "imports": imports}
    parts = both.about.get("Split")
    if shared := shared_patients(both.about["PatientID"], parts):
        reporter.warn(f"{counted(len(shared), 'patient')} of both sets are in more than one part: {listed(shared, 3)}.")
    if parts is not None and (number := int((parts == "").sum())):
        reporter.warn(f"{counted(number, 'film')} of {base} are in no split: --split leaves them out.")
    return both


def _namespace(kind: str, sources: Sequence[Path]) -> str:
    """What the patients of a set are told apart by: the kind, or the name of a source that is anybody's."""
    return sources[0].name.partition(".")[0] if kind in ("table", "huggingface", "folders") else kind


def _write(
    written: Mapping[Path, LabelFile],
    folder: Path,
    options: DataImportOptions,
    report: Mapping[str, Any],
    reporter: Reporter,
) -> None:
    """The CSV or those of the parts, each with a record of how it came about; with ``--dry-run`` neither."""
    for path, labels in written.items():
        if options.dry_run:
            number = counted(len(labels.findings), "finding")
            reporter.result(f"Would write {path}: {counted(len(labels), 'film')}, {number}.")
            continue
        replaced = path.is_file() and options.append is None
        write_table(labels.text(), path, "ImageID")
        write_record(path, report)
        reporter.result(told_of_written(path, replaced, len(labels), counted(len(labels.findings), "finding")))
    if not options.dry_run:
        path, labels = next(iter(written.items()))
        parts = labels.about.get("Split")
        has_parts = len(written) == 1 and parts is not None and "train" in parts and "" not in parts
        split = ["--split", "train"] if has_parts else []
        tell_next(reporter, "data", "check", "--csv", path, "--image-dir", folder, *split)
