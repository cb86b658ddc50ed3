"""The files of a report, made from its data alone: the same data give the same bytes."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrlt_cli import __version__
from cxrlt_cli.documents import read_json
from cxrlt_cli.errors import DataError
from cxrlt_cli.report import page, section, wide, worst
from cxrlt_cli.report.cards import card_files
from cxrlt_cli.report.figure_files import CAPTIONS, figures, standalone
from cxrlt_cli.report.flow_figure import flow
from cxrlt_cli.report.formats import FORMATS
from cxrlt_cli.report.ledger import Ledger
from cxrlt_cli.report.methods_text import methods
from cxrlt_cli.report.paper_groups import groups_table
from cxrlt_cli.report.paper_study import DATA, FACTS, FILMS, PREDICTIONS, RUN, TRAIN, Study
from cxrlt_cli.report.paper_tables import (
    characteristics_table,
    disjointness_table,
    findings_table,
    provenance_table,
    runs_table,
)
from cxrlt_cli.report.plain_table import Table
from cxrlt_cli.report.study_groups import GROUPED
from cxrlt_cli.report.texts import escape
from cxrlt_cli.tables.label_table import read_header

NUMBERS, PAGE, ORDER = "numbers.json", "index.html", "report.json"
PARTS = (FACTS, FILMS, PREDICTIONS)
FLOW_STYLE = (
    "<style>.frame { fill: var(--panel); stroke: var(--soft); } .arrow { stroke: var(--soft); } "
    ".arrowhead { fill: var(--soft); } .bold { font-weight: 600; }</style>"
)
_BLOCK = re.compile(r"(?=<(?:tr|li|section|svg|circle|polyline|rect|figure)\b)")
_LONG = re.compile(r"(?<=data-value=')\d+\.\d{7,}(?=')")


@dataclass(frozen=True)
class _Chapter:
    """What is told of one run."""

    study: Study
    tables: Mapping[str, Table]
    flow: str
    methods: Sequence[str]


def order_of(folder: Path) -> dict[str, Any]:
    """What ``data/report.json`` says: which runs and cards, and by which command; raises DataError."""
    path = folder / DATA / ORDER
    try:
        order = read_json(path)
        runs = order["runs"]
        if not runs or any(not isinstance(name, str) or Path(name).name != name for name in runs):
            raise ValueError("it names no runs")
        return {**order, "bootstrap": int(order["bootstrap"]), "cards": list(order["cards"])}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(f"{path} is gone or damaged.", "Make the report again.") from error


def num_resamples(folder: Path) -> int:
    """How many resamples all scores of a report in ``folder`` take: of each run, and of each column of groups."""
    order = order_of(folder)
    columns = [read_header(folder / DATA / name / FILMS) for name in order["runs"]]
    return int(order["bootstrap"]) * sum(1 + len(GROUPED.keys() & set(names)) for names in columns)


def made_again(folder: Path, advance: Callable[[int], None] = lambda _: None) -> dict[str, str]:
    """The files of the report in ``folder``, by their paths, from its ``data`` alone; raises DataError."""
    order = order_of(folder)
    studies = [Study.read(folder / DATA / name, order["bootstrap"], advance) for name in order["runs"]]
    names = [f"{DATA}/{ORDER}", *(f"{DATA}/{run}/{name}" for run in order["runs"] for name in PARTS)]
    names += [name for run in order["runs"] if (folder / (name := f"{DATA}/{run}/{RUN}")).is_file()]
    data = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    return paper(studies, order["cards"], str(order["command"]), data)


def paper(studies: Sequence[Study], cards: Sequence[str], command: str, data: Mapping[str, str]) -> dict[str, str]:
    """Every file of the report by its path, but those of ``data``, whose paths and SHA-256 are given.

    ``command``: what made it. The first study has the page, the figures of several have the name of theirs in front.
    """
    ledger = Ledger()
    chapters = [_chapter(study, ledger.of(study.name)) for study in studies]
    files: dict[str, str] = {}
    for chapter in chapters:
        study = chapter.study
        front = f"{study.name}-" if len(studies) > 1 else ""
        for name, table in chapter.tables.items():
            files |= _table_files(front + name, table)
        drawn = {"flow": standalone(chapter.flow), **figures(study)}
        files |= {f"figures/{front}{name}.svg": svg for name, svg in drawn.items()}
        captions = [f"**{front}{name}.** {CAPTIONS[name]}\n" for name in drawn]
        files[f"figures/{front}captions.md"] = "\n".join(captions)
        files[f"{front}methods.md"] = "\n\n".join(chapter.methods) + "\n"
        filled = card_files(study, cards, ledger.of(study.name), front)
        files |= {f"cards/{front}{name}": text for name, text in filled.items()}
    together = runs_table(studies, ledger) if len(studies) > 1 else None
    if together is not None:
        files |= _table_files("runs", together)
    files[PAGE] = _page(chapters, together, command)
    content = {
        "cxrlt": __version__,
        "command": command,
        "data": dict(data),
        "files": {name: hashlib.sha256(text.encode()).hexdigest() for name, text in sorted(files.items())},
        "numbers": ledger.entries,
    }
    files[NUMBERS] = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return files


def _chapter(study: Study, ledger: Ledger) -> _Chapter:
    tables = {"findings": findings_table(study, ledger), "table1": characteristics_table(study, ledger)}
    if (groups := groups_table(study, ledger)) is not None:
        tables["groups"] = groups
    if len(study.parts) > 1:
        tables["disjointness"] = disjointness_table(study, ledger)
    tables["provenance"] = provenance_table(study, ledger)
    return _Chapter(study, tables, flow(study, ledger), methods(study, ledger))


def _table_files(name: str, table: Table) -> dict[str, str]:
    return {f"tables/{name}.{ending}": write(table) for ending, write in FORMATS.items()}


def _page(chapters: Sequence[_Chapter], together: Table | None, command: str) -> str:
    first = chapters[0].study
    means, scores = first.scores.macro(), first.scores
    facts = [("films evaluated", f"{scores.num_films:,}")]
    facts += [("patients", f"{scores.num_patients:,}")] if scores.num_patients else []
    for name, label, bounds in (
        ("ap", "macro AP, 95 %", scores.ap_ci),
        ("auroc", "macro AUROC, 95 %", scores.auroc_ci),
    ):
        value = means[name]
        if value is not None:
            span = f" ({bounds[0]:.3f} to {bounds[1]:.3f})" if bounds else ""
            facts.append((label if bounds else label[:-6], f"{value:.3f}{span}"))
    more = [] if together is None else [_shown(together)]
    for chapter in chapters:
        name = escape(chapter.study.name)
        text = "".join(f"<p>{escape(paragraph)}</p>" for paragraph in chapter.methods)
        more += [section(f"Flow of films of {name}", FLOW_STYLE + wide(chapter.flow), "")]
        more += [section(f"Methods of {name}", text, "")]
        more += [_shown(table) for name, table in chapter.tables.items() if name != "findings" or len(chapters) > 1]
    html = page(
        f"{first.name}: report",
        facts,
        first.scores,
        first.predictions,
        first.truth.targets,
        frequencies_of="training films" if TRAIN in first.parts else "films that are scored",
        notes=[f"Made by {command}; cxrlt report --verify computes every number again."],
        mistakes=worst(first.predictions, first.truth.targets),
        more=more,
    )
    short = _LONG.sub(lambda found: f"{float(found[0]):.6f}", html)  # another machine's last digits may be others
    return _BLOCK.sub("\n", short)


def _shown(table: Table) -> str:
    return section(escape(table.title), table.html(), escape(table.note))
