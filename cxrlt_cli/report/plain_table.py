"""A table of text that a terminal and a page show alike."""

from collections.abc import Sequence
from dataclasses import dataclass

from cxrlt_cli.report.texts import escape


@dataclass(frozen=True)
class Table:
    """Cells of text under names, and a note on what they are; a cell that is empty goes on with the one above."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def html(self) -> str:
        heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in self.columns)
        rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in self.rows)
        return f"<div class='scroll'><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
