"""``cxrlt guide``: the pages of the guide that comes with the program, in the terminal, without a network."""

import os
import re
from importlib.resources import files

from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table

from cxrlt_cli.errors import OptionError
from cxrlt_cli.names import meant

_FOLDED = re.compile(r"<!--.*?-->\n*|</?(?:details|summary|code)>", re.DOTALL)  # by browsers; terminals show all


def topics() -> dict[str, str]:
    """The name of each page, and its text; in the order of the list in ``contents.txt``."""
    folder = files("cxrlt_cli") / "guide"
    names = (folder / "contents.txt").read_text(encoding="utf-8").split()
    return {name: (folder / f"{name}.md").read_text(encoding="utf-8") for name in names}


def title_of(page: str) -> str:
    return page.partition("\n")[0].removeprefix("# ")


def show_guide(topic: str | None, out: Console) -> None:
    """A page, by a pager where the terminal is one; without a topic, what there is."""
    pages = topics()
    if topic is None:
        table = Table("topic", "what", box=None, pad_edge=False)
        for name, page in pages.items():
            table.add_row(name, title_of(page))
        out.print(table)
        out.print("\nA page: cxrlt guide train")
        return
    topic = topic.casefold().removesuffix(".md")
    if topic not in pages:
        raise OptionError(f"The guide has no page {topic}.{meant(topic, pages)}", f"It has {', '.join(pages)}.")
    page = _FOLDED.sub("", pages[topic])
    if not out.is_terminal:
        out.print(page, markup=False, highlight=False, soft_wrap=True)
        return
    os.environ.setdefault("LESS", "-FRX")  # without -R, less shows colours as escape sequences
    with out.pager(styles=True):
        out.print(Markdown(page))
