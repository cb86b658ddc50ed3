"""``cxrlt report --verify``: every number of a report, computed again from the data in it."""

from collections.abc import Callable
from pathlib import Path

from cxrlt_cli import __version__
from cxrlt_cli.documents import read_json
from cxrlt_cli.engine.reporter import Reporter, counted
from cxrlt_cli.errors import DataError, OptionError, listed
from cxrlt_cli.names import meant_path
from cxrlt_cli.nets.manifest import sha256
from cxrlt_cli.report.cards import AUTHORS
from cxrlt_cli.report.number_check import Deviation, deviations
from cxrlt_cli.report.paper_files import NUMBERS, ORDER, made_again, num_resamples, order_of
from cxrlt_cli.report.paper_study import DATA
from cxrlt_cli.report.png_record import png_deviations

SHOWN = 200


def verify(folder: Path, reporter: Reporter) -> None:
    """List what differs, with file, line and both values; raises DataError where anything does."""
    _require_report(folder)
    order = order_of(folder)
    if order.get("cxrlt") != __version__:
        raise OptionError(
            f"{folder} was made by cxrlt {order.get('cxrlt')}, and this is {__version__}, whose texts may differ.",
            "Verify it with the version that made it.",
        )
    _require_unchanged(folder)
    with reporter.progress("Resampling patients", num_resamples(folder), "resamples") as advance:
        made = _made(folder, advance)
    faults: list[Deviation] = []
    for name, text in made.items():
        path = folder / name
        if not path.is_file():
            faults.append(Deviation(name, 0, "", "the file is missing"))
            continue
        authors = AUTHORS if name.startswith("cards/") else None
        faults += deviations(name, text, path.read_bytes().decode("utf-8", "replace"), authors)
    pictures, looked_at = png_deviations(folder, made)
    faults += pictures
    _tell_sources(folder, order["runs"], reporter)
    others = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    looked_at |= set(made)
    if others := [name for name in others if name not in looked_at and not name.startswith(f"{DATA}/")]:
        reporter.note(f"Not made by cxrlt report, and not looked at: {', '.join(others[:20])}.")
    if faults:
        rows = [(one.file, str(one.line or "–"), one.printed, one.computed) for one in faults[:SHOWN]]
        reporter.table(f"What no longer holds in {folder}", ("file", "line", "stands there", "computed"), rows)
        raise DataError(
            f"{counted(len(faults), 'place')} of {folder} {'does' if len(faults) == 1 else 'do'} not hold.",
            "Correct the text, or make the report again.",
        )
    numbers = len(read_json(folder / NUMBERS)["numbers"])
    reporter.result(f"{folder} holds: {counted(len(made), 'file')} are what its data give, {numbers:,} numbers.")


def _require_report(folder: Path) -> None:
    if not folder.exists():
        raise OptionError(f"--verify {folder} does not exist.{meant_path(folder)}", "Name the folder of a report.")
    if not (folder / DATA).is_dir():
        near = sorted(path.parents[1] for pattern in (f"*/{DATA}/{ORDER}", f"../{DATA}/{ORDER}")
                      for path in folder.glob(pattern))  # fmt: skip
        way_out = f"Reports near it: {listed(near)}." if near else "Name the folder of a report."
        raise OptionError(f"--verify {folder} holds no {DATA}, from which its numbers were made.", way_out)


def _made(folder: Path, advance: Callable[[int], None]) -> dict[str, str]:
    try:
        return made_again(folder, advance)
    except (LookupError, TypeError, ValueError, AttributeError, AssertionError) as error:
        raise DataError(f"{folder / DATA} is damaged ({error!r}).", "Make the report again.") from error


def _require_unchanged(folder: Path) -> None:
    """Raise DataError where files of data are others than the numbers were made of, by ``numbers.json``.

    Every number that differs would follow from that, and none would say whether the text is right.
    """
    try:
        known = dict(read_json(folder / NUMBERS)["data"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(
            f"{folder / NUMBERS} is gone or damaged, which says of what data the numbers were made.",
            "Put it back, or make the report again.",
        ) from error
    changed = []
    for name, digest in known.items():
        path = folder / str(name)
        if not path.is_file() or not path.resolve().is_relative_to(folder.resolve()) or sha256(path) != digest:
            changed.append(str(name))
    if changed:
        what = "is not what the numbers were" if len(changed) == 1 else "are not what the numbers were"
        raise DataError(
            f"{listed(changed)} {what} made of: the numbers of {folder} cannot be judged.",
            "Put it back as it was, or make the report again from the run.",
        )


def _tell_sources(folder: Path, runs: list[str], reporter: Reporter) -> None:
    """Warn where the files that the data were taken from are still there, and have changed."""
    for run in runs:
        facts = read_json(folder / DATA / run / "facts.json")
        for file in (*facts["labels"], facts["predictions"]):
            path = Path(file["path"])
            if path.is_file() and sha256(path) != file["sha256"]:
                reporter.warn(f"{path} was changed after the report was made; the report shows the earlier content.")
