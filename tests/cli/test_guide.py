import io
import re
from contextlib import nullcontext
from pathlib import Path
from unittest import mock

import pytest
from rich.console import Console

from cxrlt_cli.cli.guide import show_guide, title_of, topics
from cxrlt_cli.errors import OptionError

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "cxrlt_cli" / "guide"


def shown(topic: str | None, terminal: bool = False) -> str:
    out = Console(file=io.StringIO(), width=100, force_terminal=terminal)
    with mock.patch.object(Console, "pager", return_value=nullcontext()):
        show_guide(topic, out)
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


def test_every_page_is_listed_and_no_other() -> None:
    assert set(topics()) == {path.stem for path in FOLDER.glob("*.md")}
    told = shown(None)
    for name, page in topics().items():
        assert re.search(rf"^{name} +{re.escape(title_of(page)[:40])}", told, re.MULTILINE)


@pytest.mark.parametrize("name", topics())
def test_each_page_is_shown_with_and_without_a_terminal(name: str) -> None:
    page = topics()[name]
    assert page.startswith("# ")
    assert len(title_of(page)) < 80
    plain = re.sub(r"<!--.*?-->\n|</?(details|summary|code)>", "", page)  # which only a browser folds
    assert shown(name).rstrip("\n") == plain.rstrip("\n")
    assert title_of(page) in shown(name, terminal=True)


def test_another_page_is_answered_with_the_nearest() -> None:
    with pytest.raises(OptionError, match="Did you mean train"):
        shown("trian")
    assert shown("Train") == shown("train.md") == shown("train")


@pytest.mark.parametrize("path", [ROOT / "README.md", *sorted(FOLDER.glob("*.md"))], ids=lambda path: path.stem)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if not target.startswith("http"):
            file, _, anchor = target.partition("#")
            page = (path.parent / file) if file else path
            assert page.exists(), target
            if anchor:
                headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
                assert anchor in [re.sub(r"[^\w\- ]", "", one).lower().replace(" ", "-") for one in headings], target


def test_the_readme_can_be_read_at_once() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 300
