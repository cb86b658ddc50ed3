"""``cxrlt report``: a folder for a paper from runs and predictions, or the check that one still holds."""

import json
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from cxrlt_cli import __version__
from cxrlt_cli.config import ReportOptions, changed, flag
from cxrlt_cli.engine.next_step import tell_next
from cxrlt_cli.engine.reporter import Reporter, counted, tell_needless
from cxrlt_cli.engine.svg_png import as_png, drawn_by
from cxrlt_cli.errors import InstallError, OptionError
from cxrlt_cli.files import real, working_path, write_text
from cxrlt_cli.report.paper_files import ORDER, PAGE, made_again, num_resamples
from cxrlt_cli.report.paper_study import DATA
from cxrlt_cli.report.png_record import RECORD, figures_of, png_record
from cxrlt_cli.verbs.paper_inputs import write_inputs
from cxrlt_cli.verbs.paper_verify import verify


def report(options: ReportOptions, reporter: Reporter) -> None:
    """Write the folder, whole or not at all; with ``--verify``, raise DataError where a number no longer holds."""
    if options.verify is not None:
        verify(options.verify, reporter)
        return
    out = real(options.out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OptionError(f"--out {options.out} is there already.", "Pass another folder, or remove that one first.")
    _require_different(options.runs)
    folder = working_path(out)
    try:
        names = _names(options.runs)
        read: set[Path] = set()
        for name, run in zip(names, options.runs, strict=True):
            read.update(write_inputs(run, folder / DATA / name, options, reporter))
        if options.csv not in read:
            tell_needless(reporter, options, ("csv", "id_column", "patient_column"), "a run knows its own labels")
        if all(run.is_dir() for run in options.runs):
            tell_needless(reporter, options, ("seed",), "a run has its own")
        order = {
            "cxrlt": __version__,
            "command": _command(options),
            "runs": names,
            "cards": list(options.card or ()),
            "bootstrap": options.bootstrap,
        }
        write_text(folder / DATA / ORDER, json.dumps(order, indent=1, ensure_ascii=False) + "\n")
        with reporter.progress("Resampling patients", num_resamples(folder), "resamples") as advance:
            files = made_again(folder, advance)
        for name, text in files.items():
            write_text(folder / name, text)
        without_png = _write_png(folder, figures_of(files))
        folder.replace(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    reporter.result(
        f"Wrote {options.out}: {PAGE}, {counted(len(files) - 1, 'file')} of tables, figures, texts and numbers, and "
        f"{DATA}, which names films and patients."
    )
    if without_png is not None:
        reporter.note(f"{without_png.message} {without_png.hint}")
    tell_next(reporter, "report", "--verify", options.out)


def _require_different(runs: Sequence[Path]) -> None:
    """Raise OptionError where a run is named twice: its differences from itself would count as comparisons."""
    seen: set[Path] = set()
    for run in runs:
        if run.resolve() in seen:
            raise OptionError(f"RUNS names {run} twice.", "Name each run or prediction CSV once.")
        seen.add(run.resolve())


def _write_png(folder: Path, svgs: Mapping[str, str]) -> InstallError | None:
    """Write each figure as PNG beside its SVG, and a record of them; why not, where they cannot be drawn."""
    try:
        pngs, drawn_with = as_png(svgs), drawn_by()
    except InstallError as error:
        return error
    for name, content in pngs.items():
        (folder / name).write_bytes(content)
    write_text(folder / RECORD, png_record(svgs, pngs, drawn_with))
    return None


def _names(runs: Sequence[Path]) -> list[str]:
    """What each is called: as its folder or file, with a number where two are called the same."""
    names: list[str] = []
    for run in runs:
        plain = run.resolve().name if run.is_dir() else run.stem
        name, number = plain, 1
        while name in names:
            number += 1
            name = f"{plain}-{number}"
        names.append(name)
    return names


def _command(options: ReportOptions) -> str:
    """What makes the same again, typed in the same folder; paths as ``_typed_path`` gives them."""
    words = ["cxrlt", "report", *(_typed_path(run) for run in options.runs)]
    given = changed(options) - {"runs", "out", "quiet", "debug"}
    for name in type(options).model_fields:
        if name in given:
            words += [flag(type(options), name), *_words(getattr(options, name))]
    return shlex.join(words)


def _typed_path(path: Path) -> str:
    """As it was typed, where that stays below the folder; else the name alone: folders name machines and people."""
    return path.name if path.is_absolute() or ".." in path.parts else path.as_posix()


def _words(value: object) -> list[str]:
    if isinstance(value, bool):
        return []
    if isinstance(value, tuple):
        return [",".join(value)]
    return [_typed_path(value) if isinstance(value, Path) else str(value)]
