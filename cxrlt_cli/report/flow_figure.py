"""How films came to be learned from and judged by: boxes from the rows of the labels to the parts of the split."""

from collections.abc import Sequence

import numpy as np

from cxrlt_cli.report.ledger import Ledger
from cxrlt_cli.report.paper_study import FACTS, FILMS, PREDICTIONS, TRAIN, Study
from cxrlt_cli.report.texts import escape

WIDTH, BOX, LINE, GAP = 720, 250, 17, 34  # pixels
Box = Sequence[str]


def flow(study: Study, ledger: Ledger) -> str:
    """The figure as SVG: what was read, what was left out and why, the parts, and what is judged."""
    record = study.record
    steps: list[tuple[Box, Box]] = []
    if record is not None:
        read = ledger.count("flow/rows", record["num_rows"], FACTS, key="record.num_rows")
        names = ", ".join(file["name"] for file in record["labels"])
        steps.append(((f"Rows of {names}", f"{read} films"), _left_out(study, ledger)))
    elif study.is_run:
        steps.append((("Rows of the labels", "not recorded by this run"), ()))
    every = np.ones(len(study.table), bool)
    steps.append((("Films used", *_numbers(study, "all", every, ledger)), ()))
    parts = [
        (name if name != TRAIN else "train: learned from", *_numbers(study, name, films, ledger))
        for name, films in study.parts.items()
    ]
    judged = ledger.count("judged/films", len(study.predictions.ids), PREDICTIONS)
    number = ledger.count("judged/findings", len(study.predictions.findings), FACTS, key="findings")
    how = "each by the model that did not see its patient" if study.in_folds else ""
    last = ("Judged", f"{judged} films, {number} findings", *([how] if how else []))
    return _drawn(steps, parts if len(parts) > 1 else [], last)


def _left_out(study: Study, ledger: Ledger) -> Box:
    record = study.record
    assert record is not None, "asked for where there is one"
    chosen = record["num_rows"] - record["num_taken"] - record["num_excluded"]
    lines = []
    if chosen or study.options.get("split") or study.options.get("where"):
        told = [f"--{name}" for name in ("split", "where") if study.options.get(name)]
        number = ledger("flow/not_chosen", f"{chosen:,}", FACTS,
                        key="record.num_rows - record.num_taken - record.num_excluded")  # fmt: skip
        lines.append(f"{number} not taken by {' and '.join(told) or 'the command'}")
    if record["num_excluded"] or record["exclude"]:
        number = ledger.count("flow/excluded", record["num_excluded"], FACTS, key="record.num_excluded")
        lines.append(f"{number} by --exclude ({', '.join(file['name'] for file in record['exclude'])})")
    return ("Left out", *lines) if lines else ("Left out", "none")


def _numbers(study: Study, name: str, films: "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]", ledger: Ledger) -> Box:
    number = ledger.count(f"flow/{name}/films", int(films.sum()), FILMS, part=name)
    whose = study.num_patients(films)
    if whose is None:
        return (f"{number} films",)
    return (f"{number} films of {ledger.count(f'flow/{name}/patients', whose, FILMS, part=name)} patients",)


def _drawn(steps: Sequence[tuple[Box, Box]], parts: Sequence[Box], last: Box) -> str:
    middle, top, marks = WIDTH // 2, 8, []
    height = max(len(one) for one in (last, *(box for step in steps for box in step)))
    tall = height * LINE + 14
    for number, (box, aside) in enumerate(steps):
        left = middle - BOX // 2 - (BOX // 2 + 20 if any(side for _, side in steps) else 0)
        marks.append(_box(left, top, BOX, tall, box))
        if aside:
            marks.append(_arrow(left + BOX, top + tall // 2, left + BOX + 40, top + tall // 2))
            marks.append(_box(left + BOX + 40, top, BOX + 40, tall, aside))
        if number + 1 < len(steps) or parts:
            marks.append(_arrow(left + BOX // 2, top + tall, left + BOX // 2, top + tall + GAP))
        top += tall + GAP
    start = middle if not any(side for _, side in steps) else middle - BOX // 2 - 20
    if parts:
        each = 6 if len(parts) > 6 else len(parts)
        width = (WIDTH - 20 * (each - 1) - 4) // each
        for number, box in enumerate(parts):
            row, column = divmod(number, each)
            marks.append(_box(2 + column * (width + 20), top + row * (tall + 12), width, tall, box, narrow=each > 3))
        top += -(-len(parts) // each) * (tall + 12) - 12
        marks.append(_arrow(start, top, start, top + GAP))
        top += GAP
    marks.append(_box(start - BOX // 2, top, BOX + 60, tall, last))
    return (
        f'<svg class="wide" viewBox="0 0 {WIDTH} {top + tall + 8}" role="img" aria-label="Flow of films">'
        f"{''.join(marks)}</svg>"
    )


def _box(left: int, top: int, width: int, tall: int, lines: Box, narrow: bool = False) -> str:
    """Lines of text in a frame, the first of them bold; in a ``narrow`` one, words are broken."""
    shown = [part for line in lines for part in (line.split(" of ") if narrow else [line])]
    shown = [part if not (narrow and number > 1) else f"of {part}" for number, part in enumerate(shown)]
    first = top + (tall - LINE * len(shown)) // 2 + 13
    text = "".join(
        f'<text class="label middle{" bold" if number == 0 else ""}" x="{left + width / 2:g}" '
        f'y="{first + LINE * number}">{escape(line)}</text>'
        for number, line in enumerate(shown)
    )
    return f'<rect class="frame" x="{left}" y="{top}" width="{width}" height="{tall}" rx="4"/>{text}'


def _arrow(x0: int, y0: int, x1: int, y1: int) -> str:
    if x0 == x1:
        head = f"{x1 - 4},{y1 - 7} {x1 + 4},{y1 - 7} {x1},{y1}"
    else:
        head = f"{x1 - 7},{y1 - 4} {x1 - 7},{y1 + 4} {x1},{y1}"
    return f'<line class="arrow" x1="{x0}" y1="{y0}" x2="{x1}" y2="{y1}"/><polygon class="arrowhead" points="{head}"/>'
