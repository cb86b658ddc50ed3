"""A table as files: CSV, Markdown, LaTeX, and HTML that can be pasted into a word processor."""

import csv
import io
from collections.abc import Sequence

from cxrlt_cli.report.plain_table import Table
from cxrlt_cli.report.texts import escape

_TEX = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
        "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--", "−": "$-$", "<": r"\textless{}",
        ">": r"\textgreater{}", "|": r"\textbar{}"}  # fmt: skip
_STYLE = "border-bottom: 1px solid #999; padding: 3px 8px; text-align: "


def as_csv(table: Table) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([table.columns, *table.rows])
    return text.getvalue()


def as_markdown(table: Table) -> str:
    heads = [table.columns, ["---"] + ["---:"] * (len(table.columns) - 1)]
    lines = ["| " + " | ".join(_plain(cell) for cell in row) + " |" for row in (*heads, *table.rows)]
    return "\n".join([f"**{_plain(table.title)}**", "", *lines, "", *([_plain(table.note), ""] if table.note else [])])


def as_latex(table: Table) -> str:
    """A ``table`` of a ``tabular``, without a package."""
    rows = [" & ".join(map(_latex, row)) + r" \\" for row in table.rows]
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{_latex(table.title)}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}",
            r"\hline",
            " & ".join(map(_latex, table.columns)) + r" \\",
            r"\hline",
            *rows,
            r"\hline",
            r"\end{tabular}",
            *([rf"\par\footnotesize {_latex(table.note)}"] if table.note else []),
            r"\end{table}",
            "",
        ]
    )


def as_html(table: Table) -> str:
    """A page of the table alone, with its style in each cell, which a word processor keeps."""
    lines = [_row("th", table.columns), *(_row("td", row) for row in table.rows)]
    note = f"<p>{escape(table.note)}</p>" if table.note else ""
    return "\n".join(
        [
            f'<!doctype html><meta charset="utf-8"><title>{escape(table.title)}</title>',
            f'<table style="border-collapse: collapse"><caption>{escape(table.title)}</caption>',
            *lines,
            f"</table>{note}",
            "",
        ]
    )


def _row(kind: str, cells: Sequence[str]) -> str:
    parts = [
        f'<{kind} style="{_STYLE}{"right" if number else "left"}">{escape(cell)}</{kind}>'
        for number, cell in enumerate(cells)
    ]
    return f"<tr>{''.join(parts)}</tr>"


def _plain(text: str) -> str:
    for mark in "\\|*<":
        text = text.replace(mark, f"\\{mark}")
    return text


def _latex(text: str) -> str:
    return "".join(_TEX.get(letter, letter) for letter in text)


FORMATS = {"csv": as_csv, "md": as_markdown, "tex": as_latex, "html": as_html}
