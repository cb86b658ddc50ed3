"""How films came to be learned from and judged by: boxes from the rows of the labels to the parts of the split."""

from collections.abc import Sequence

import numpy as np

from cxrlt_cli.report.ledger import Ledger
from cxrlt_cli.report.paper_study import FACTS, FILMS, PREDICTIONS, TRAIN, Study, told_part
from cxrlt_cli.report.texts import escape

WIDTH, BOX, LINE, GAP = 720, 270, 17, 40  # pixels
NARROW, MOST = 3, 5  # parts of a split: that have a line for films and patients, and that have a box each
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
    parts = [(told_part(name), *_numbers(study, name, films, ledger)) for name, films in study.parts.items()]
    if len(parts) > MOST:
        sizes = [int(films.sum()) for films in study.parts.values()]
        fewest, most = (
            ledger.count(f"flow/{name}", number, FILMS, metric=f"{name} films of a part")
            for name, number in (("fewest", min(sizes)), ("most", max(sizes)))
        )
        number = ledger("flow/parts", str(len(parts)), FILMS, metric="parts of the split")
        parts = [(f"{number} folds", f"of {fewest} to {most} films")]
    if len(parts) > NARROW:
        parts = [(name, *line.split(" of ")) for name, line in parts]
    judged = ledger.count("judged/films", len(study.predictions.ids), PREDICTIONS)
    number = ledger.count("judged/findings", len(study.predictions.findings), FACTS, key="findings")
    how = ["each by the model not trained on its patient"] if study.in_folds else []
    return _drawn(
        steps, parts if len(study.parts) > 1 else [], ("Evaluated", f"{judged} films, {number} findings", *how)
    )


def _left_out(study: Study, ledger: Ledger) -> Box:
    record = study.record
    assert record is not None, "asked for where there is one"
    chosen = record["num_rows"] - record["num_taken"] - record["num_excluded"]
    lines = []
    if chosen or study.options.get("split") or study.options.get("where"):
        told = [f"--{name}" for name in ("split", "where") if study.options.get(name)]
        number = ledger("flow/not_chosen", f"{chosen:,}", FACTS,
                        key="record.num_rows - record.num_taken - record.num_excluded")  # fmt: skip
        lines.append(f"{number} not selected by {' and '.join(told) or 'the command'}")
    if record["num_excluded"] or record["exclude"]:
        number = ledger.count("flow/excluded", record["num_excluded"], FACTS, key="record.num_excluded")
        lines.append(f"{number} by --exclude ({', '.join(file['name'] for file in record['exclude'])})")
    return ("Excluded", *(lines or ["none"]))


def _numbers(study: Study, name: str, films: "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]", ledger: Ledger) -> Box:
    number = ledger.count(f"flow/{name}/films", int(films.sum()), FILMS, part=name)
    whose = study.num_patients(films)
    if whose is None:
        return (f"{number} films",)
    return (f"{number} films of {ledger.count(f'flow/{name}/patients', whose, FILMS, part=name)} patients",)


def _drawn(steps: Sequence[tuple[Box, Box]], parts: Sequence[Box], last: Box) -> str:
    asides = any(aside for _, aside in steps)
    middle = WIDTH // 2 - (BOX // 2 + 20 if asides else 0)
    tall = max(len(one) for one in (last, *parts, *(box for step in steps for box in step))) * LINE + 14
    top, marks = 8, []
    for box, aside in steps:
        marks.append(_box(middle, top, BOX, tall, box))
        if aside:
            marks.append(_line(middle + BOX // 2, top + tall // 2, middle + BOX // 2 + 40, top + tall // 2))
            marks.append(_box(middle + BOX + 40, top, BOX, tall, aside))
        top += tall + GAP
        ends = box is steps[-1][0] and bool(parts)
        marks.append(_line(middle, top - GAP, middle, top - GAP // 2 * ends, head=not ends))
    if parts:
        width = min(BOX, (WIDTH - 4) // len(parts) - 16)
        centres = [round(WIDTH * (place + 0.5) / len(parts)) for place in range(len(parts))]
        judged = centres if told_part(TRAIN) != parts[0][0] else centres[1:]
        marks += _bus((middle, *centres), top - GAP // 2)
        for centre, box in zip(centres, parts, strict=True):
            marks.append(_line(centre, top - GAP // 2, centre, top))
            marks.append(_box(centre, top, width, tall, box))
        top += tall + GAP
        middle = round(sum(judged) / len(judged))
        marks += _bus(judged, top - GAP // 2)
        marks += [_line(centre, top - GAP, centre, top - GAP // 2, head=False) for centre in judged]
        marks.append(_line(middle, top - GAP // 2, middle, top))
    marks.append(_box(middle, top, BOX + 40, tall, last))
    return (
        f'<svg class="wide" viewBox="0 0 {WIDTH} {top + tall + 8}" role="img" aria-label="Flow of films">'
        f"{''.join(marks)}</svg>"
    )


def _box(centre: int, top: int, width: int, tall: int, lines: Box) -> str:
    """Lines of text in a frame, the first of them bold."""
    first = top + (tall - LINE * len(lines)) // 2 + 13
    text = "".join(
        f'<text class="label middle{" bold" if number == 0 else ""}" x="{centre}" y="{first + LINE * number}">'
        f"{escape(line)}</text>"
        for number, line in enumerate(lines)
    )
    frame = f'<rect class="frame" x="{centre - width // 2}" y="{top}" width="{width}" height="{tall}" rx="4"/>'
    return frame + text


def _bus(places: Sequence[int], y: int) -> list[str]:
    return [_line(min(places), y, max(places), y, head=False)] if len(set(places)) > 1 else []


def _line(x0: int, y0: int, x1: int, y1: int, head: bool = True) -> str:
    line = f'<line class="arrow" x1="{x0}" y1="{y0}" x2="{x1}" y2="{y1}"/>'
    if not head:
        return line
    down = f"{x1 - 4},{y1 - 7} {x1 + 4},{y1 - 7} {x1},{y1}"
    aside = f"{x1 - 7},{y1 - 4} {x1 - 7},{y1 + 4} {x1},{y1}"
    return f'{line}<polygon class="arrowhead" points="{down if x0 == x1 else aside}"/>'
