"""Options of ``data import``."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, model_validator

from cxrlt_cli.config.choices import KINDS, Kind, choices_help
from cxrlt_cli.config.fields import Names, Options, option

FATES = ("empty", "0", "1", "leave-out")  # of an uncertain label


def _uncertain(text: str) -> str:
    """``empty``, or ``Atelectasis=1,others=0``: each part a fate, named or for all."""
    for part in text.split(","):
        fate = part.rpartition("=")[2].strip()
        if fate not in FATES:
            raise ValueError(
                f"'{fate}' is none of {', '.join(FATES)}: losses, samplers and scores are for labels of 0 and 1"
            )
    if "," in text and not all("=" in part for part in text.split(",")):
        raise ValueError("of several findings, each is written NAME=VALUE, and the rest others=VALUE")
    return text


Uncertain = Annotated[str, BeforeValidator(str), AfterValidator(_uncertain)]


class DataImportOptions(Options):
    kind: Kind = option(..., choices_help("Which set it is.", KINDS), argument=True)
    sources: tuple[Path, ...] = option(
        ..., "Folder of the set, in which its label files are found; or those files.", argument=True
    )
    image_dir: Path | None = option(
        None, "Folder of the films; ids are paths in it (default: the set's folder).", panel="Films"
    )
    missing: Literal["error", "leave-out", "keep"] = option(
        "error",
        "Films that are missing.\n\n"
        "error: nothing is written.\n\n"
        "leave-out: their rows are left out, and counted.\n\n"
        "keep: rows are written; films are not looked for.",
        panel="Films",
    )
    views: Names | None = option(
        None, "Views to keep: frontal, lateral, or PA, AP, L, other (default: all).", panel="Films"
    )
    uncertain: Uncertain = option(
        "empty",
        "What -1 (uncertain) becomes: empty (not labelled), 0, 1, or leave-out (of the film); by finding: "
        "NAME=VALUE,...,others=VALUE.",
        panel="Labels",
    )
    unmentioned: Literal["0", "empty"] | None = option(
        None,
        "What a blank cell becomes (default: 0 if labels were extracted from reports, as in CheXpert and MIMIC; empty "
        "in a table of your own).",
        panel="Labels",
    )
    readers: Literal["majority", "any", "all"] = option(
        "majority", "How many of several readers must agree on a positive.", panel="Labels", rare=True
    )
    labels: str | None = option(
        None,
        "Which of several label files: chexpert, negbio or a file (mimic); report, impression, findings (CheXpert "
        "Plus); task1, task2, task3 (cxr-lt).",
        panel="Labels",
    )
    findings: Names | None = option(None, "Findings to keep, by the names in the CSV that is written.", panel="Labels")
    names: str | None = option(
        None,
        "Names to write: cxr-lt-2026, common, or a YAML file of new names, each with a list of old ones (default: the "
        "set's own).",
        panel="Labels",
    )
    tree: bool = option(True, "PadChest: a subtype also counts as its parent finding.", panel="Labels")
    id_column: str | None = option(None, "table: column that names the film.", panel="Table")
    patient_column: str | None = option(None, "table, huggingface: column that names the patient.", panel="Table")
    list_column: str | None = option(
        None, "table, huggingface: column that lists the findings of a film.", panel="Table", rare=True
    )
    separator: str | None = option(None, "table: separator of the names in --list-column.", panel="Table", rare=True)
    out: Path = option(Path("labels.csv"), "CSV to write; with '{split}' in its name, one CSV per official part.")
    append: Path | None = option(
        None, "CSV to add this set to, instead of --out; findings that a set does not label are left empty."
    )
    dry_run: bool = option(False, "Show what would be written; write no labels and no films.", rare=True)
    json_path: Path | None = option(None, "File for the counts as JSON.", alias="json")

    @model_validator(mode="after")
    def _check_import(self) -> Self:
        columns = {"patient_column", "list_column"}
        table = {"id_column", "separator", *columns} & self.model_fields_set
        table -= columns if self.kind == "huggingface" else set()
        if table and self.kind != "table":
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(table))
            raise ValueError(f"{flags}: for KIND table alone, not for {self.kind}")
        if self.separator is not None and self.list_column is None:
            raise ValueError("--separator stands between the names in --list-column: pass that too")
        if self.append is not None and "out" in self.model_fields_set:
            raise ValueError("--append CSV is where the films are added; --out makes a new file: pass one of them")
        return self
