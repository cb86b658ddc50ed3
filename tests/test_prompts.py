from pathlib import Path

import pytest
import yaml

from cxrlt_cli import prompts
from cxrlt_cli.errors import DataError
from cxrlt_cli.labels import UNSEEN


def test_ours_are_thirteen_for_each_of_the_six_in_four_groups() -> None:
    ours = prompts.load()
    assert tuple(ours) == UNSEEN
    assert {len(sentences) for sentences in ours.values()} == {13}
    groups = {"clinical": 3, "signs": 4, "anatomy": 3, "terms": 3}
    content = yaml.safe_load(prompts.OWN.read_text())["findings"]
    for finding in content.values():
        assert {group: len(sentences) for group, sentences in finding.items()} == groups
    assert len(prompts.read().anchors) >= 3


def test_a_short_sentence_fits_the_context() -> None:
    assert max(len(sentence.split()) for sentences in prompts.load().values() for sentence in sentences) < 25


def test_any_findings_can_be_described(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("findings:\n  Größe, <b>:\n    - one  thing\n    - 'two: things'\n  x: [a]\n")
    assert prompts.load(path) == {"Größe, <b>": ("one thing", "two: things"), "x": ("a",)}
    assert prompts.read(path).anchors == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must have 'findings:'"),
        ("findings:\n", "line 1: there is no finding"),
        ("findings:\n  a: [x]\nextra: 1\n", "line 3: 'extra' is no key"),
        ("findings:\n  a: [x]\n  b: [y]\n  a: [z]\n", "line 4: finding 'a' stands here a second time"),
        ("findings:\n  a:\n    - x\n  b:\n    - X\n", "line 5: 'X' stands in line 3 already"),
        ("findings:\n  a:\n    - x\n    -\n", "line 4: a sentence is wanted"),
        ("findings:\n  a: x\n", "line 2: a list of sentences is wanted"),
        ("findings:\n  a: []\n", "line 2: there is no sentence"),
        ("findings:\n  a:\n    - [x]\n", "line 3: a sentence is wanted"),
        ("findings: {a: [x]}\nanchors: [x]\n", "line 2: 'x' stands in line 1 already"),
        ("findings: {a: [x, X]}", "line 1: 'X' stands in line 1 already"),
        ("findings: [", "is no valid YAML"),
    ],
)
def test_faults_are_told_by_their_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        prompts.read(path)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.yaml cannot be read"):
        prompts.load(tmp_path / "nothing.yaml")
