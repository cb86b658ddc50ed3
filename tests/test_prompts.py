import time
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
        ("findings: !!python/object/apply:os.mkdir [proof]", "a tag .*python/object.* stands here(.|\n)*line 1"),
        ("findings:\n  a: [!!python/name:os.system x]", "a tag .*python/name.* stands here(.|\n)*line 2"),
        ("findings:\n  a: &x [s]\n  b: *x\n", "an alias .* stands here(.|\n)*line 3"),
        ("findings:\n  a: &a [*a]\n", "an alias"),
        ("findings: " + "[" * 5000, "is no valid YAML: this is nested too deeply"),
        ("findings: " + "{a: " * 5000, "is no valid YAML: this is nested too deeply"),
        ("findings:\n" + "".join(f"{' ' * n}a:\n" for n in range(1, 900)), "nested too deeply"),
        ("? [findings]\n: {a: [x]}\n", "line 1: a name is wanted"),
        ("findings:\n  ? [a]\n  : [x]\n", "line 2: a name is wanted"),
        ("findings:\n  '': [x]\n", "line 2: here is the name '', which is empty"),
        ("findings:\n  '=A1': [x]\n", "line 2: here is the name '=A1', which a spreadsheet would run"),
        ('findings:\n  "a\\eb": [x]\n', "line 2: here is the name .* control character"),
        ('findings:\n  a:\n  - "x\\ud800"\n', "line 3: this sentence is too long, or holds what is no text"),
        ('findings:\n  a: ["\\UFFFFFFFF"]\n', "is no valid YAML"),
        ("findings:\n  a: [" + "x" * 10_001 + "]\n", "line 2: this sentence is too long"),
        ("findings:\n  a: [x\0]\n", "is no valid YAML"),
        ("findings: {a: [x]}\n---\nfindings: {a: [x]}\n", "is no valid YAML"),
    ],
)
def test_faults_are_told_by_their_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        prompts.read(path)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.yaml does not exist"):
        prompts.load(tmp_path / "nothing.yaml")


def test_a_billion_laughs_end_at_the_first(tmp_path: Path) -> None:
    """Each line says the line above it ten times; and many findings that share one long list."""
    lines = ["findings:", "  a0: &a0 [ha]"]
    lines += [f"  a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    shared = ["findings:", f"  a: &a [{', '.join(map(str, range(20_000)))}]", *(f"  a{n}: *a" for n in range(20_000))]
    for text in ("\n".join(lines), "\n".join(shared)):
        (tmp_path / "p.yaml").write_text(text)
        start = time.monotonic()
        with pytest.raises(DataError, match="an alias"):
            prompts.read(tmp_path / "p.yaml")
        assert time.monotonic() - start < 20


def test_a_file_that_nobody_wrote_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "p.yaml").open("wb") as file:
        file.truncate(10**10)  # takes no room on the disk
    with pytest.raises(DataError, match=r"p\.yaml .* more than 1,000,000 bytes"):
        prompts.read(tmp_path / "p.yaml")
    (tmp_path / "p.yaml").write_bytes("findings: {Größe: [x]}".encode("latin-1"))
    with pytest.raises(DataError, match=r"p\.yaml cannot be read"):
        prompts.read(tmp_path / "p.yaml")


@pytest.mark.parametrize("sentence", ["1", "true", "null", "2026-01-01", "1.5"])
def test_what_is_no_text_to_yaml_wants_quotes(tmp_path: Path, sentence: str) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(f"findings:\n  goiter:\n    - a mass\n    - {sentence}\n")
    with pytest.raises(DataError, match="line 4: a sentence is wanted here") as caught:
        prompts.read(file)
    assert "quotes" in caught.value.hint
    file.write_text(f'findings:\n  goiter:\n    - a mass\n    - "{sentence}"\n')
    assert prompts.read(file).findings["goiter"] == ("a mass", sentence)
