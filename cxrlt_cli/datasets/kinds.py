"""Which reader reads which kind of set, and which kind the files are."""

from collections.abc import Callable, Mapping
from pathlib import Path

from cxrlt_cli.config import DataImportOptions
from cxrlt_cli.datasets import (
    any_table,
    boxes,
    candid,
    chexpert,
    class_folders,
    cxr_lt,
    huggingface,
    kaggle,
    medmnist,
    mimic,
    nih,
    openi,
    padchest,
    vindr,
)
from cxrlt_cli.datasets.raw_table import raw_header
from cxrlt_cli.datasets.records import Records
from cxrlt_cli.datasets.set_files import SetFiles
from cxrlt_cli.errors import DataError, listed
from cxrlt_cli.tables.known_headers import kind_of

READERS: dict[str, Callable[[SetFiles, DataImportOptions], Records]] = {
    "nih": nih.read,
    "chexpert": chexpert.read,
    "mimic": mimic.read,
    "cxr-lt": cxr_lt.read,
    "padchest": padchest.read,
    "vindr": vindr.read,
    "rsna": kaggle.read_rsna,
    "siim": kaggle.read_siim,
    "candid": candid.read,
    "boxes": boxes.read,
    "folders": class_folders.read,
    "huggingface": huggingface.read,
    "medmnist": medmnist.read,
    "openi": openi.read,
    "table": any_table.read,
}
OF_REPORTS = ("chexpert", "mimic")  # whose labels a program read from reports: blank where it found no word
OPTIONS_OF = {  # rules that change something in these kinds alone
    "uncertain": (*OF_REPORTS, "table", "huggingface"),
    "unmentioned": (*OF_REPORTS, "table", "huggingface"),
    "readers": ("vindr",),
    "tree": ("padchest",),
    "labels": (*OF_REPORTS, "cxr-lt"),
}
RULES = ("uncertain", "unmentioned", "readers", "tree")


def rules_of(kind: str, records: Records, changed: Mapping[str, int], options: DataImportOptions) -> dict[str, str]:
    """The rules by which labels of this kind are made, by their options, for whoever trains on them."""
    rules = {name: str(getattr(options, name)) for name in RULES if kind in OPTIONS_OF[name]}
    if kind in OPTIONS_OF["unmentioned"] and options.unmentioned is None:
        rules["unmentioned"] = unmentioned_of(kind, options)
    if kind in OPTIONS_OF["tree"]:
        rules["tree"] = "yes" if options.tree else "no"
    if any(rule.startswith("-1") for rule in changed):  # in a set that is said to have none
        rules["uncertain"] = options.uncertain
    rules |= records.rules
    return rules | ({"names": options.names} if options.names else {})


def unmentioned_of(kind: str, options: DataImportOptions) -> str:
    """What becomes of a blank."""
    return options.unmentioned or ("0" if kind in OF_REPORTS else "empty")


def kind_of_files(files: SetFiles) -> str:
    """The kind that the label files are, by their headers.

    Raises DataError where none is known, or several kinds are.
    """
    kinds: dict[str, list[Path]] = {}
    for path in files.given or files.label_files:
        kind = _kind_of_file(path)
        if kind is not None:
            kinds.setdefault(kind, []).append(path)
    if len(kinds) == 1:
        return next(iter(kinds))
    if kinds:
        told = [f"{kind} ({paths[0]})" for kind, paths in kinds.items()]
        raise DataError(f"The files are of more than one kind: {listed(told)}.", "Name one as KIND.")
    where = listed(list(files.sources))
    raise DataError(f"{where}: no label file whose header is known.", "Name the KIND: table for a table of your own.")


def _kind_of_file(path: Path) -> str | None:
    try:
        return kind_of(raw_header(path))
    except DataError:  # a list of names, a report, a picture: no table at all
        return None
