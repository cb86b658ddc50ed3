import time
from pathlib import Path

import pytest

from cxrlt_cli.documents import MAX_BYTES, parse_json, read_json, read_yaml


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "9" * 10_000, "{", "", b"\xff\xfe{}"])
def test_json_that_is_none_or_has_no_end_is_a_value_error(text: str | bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)
    (tmp_path / "a.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=r"."):
        read_json(tmp_path / "a.json")


def test_plain_yaml_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("\ufeffloss: bce\nimage-size: 128\nfindings: [a, 'b c']\nsettings: {x: 1.5, y: true}\n")
    expected = {"loss": "bce", "image-size": 128, "findings": ["a", "b c"], "settings": {"x": 1.5, "y": True}}
    assert read_yaml(path) == expected
    path.write_text("# nothing\n")
    assert read_yaml(path) is None


@pytest.mark.parametrize(("text", "said"), [
    ("a: &x [1]\nb: *x\n", r"alias .*line 2"), ("a: !!python/object/apply:os.mkdir [x]\n", r"tag .*line 1"),
    ("a: 1\nb: 2\na: 3\n", r"'a' stands here a second time \(line 3\)"), ("a: {x: 1, x: 2}\n", "second time"),
    ("a: " + "[" * 5000, "nested too deeply"), ("a: [1\n", "line 2"), ("a: 2026-13-45\n", "month"),
    ("a: " + "9" * 10_000, "limit"), ('a: "\\UFFFFFFFF"\n', "."), ("a: [x\0]\n", "."), ("? [b]\n: 1\n", "unhashable"),
    ("a: 1\n---\nb: 2\n", "line 2"), ("a: x\n" * MAX_BYTES, "more than"),
])  # fmt: skip
def test_yaml_of_any_other_kind_is_a_value_error(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ValueError, match=said):
        read_yaml(tmp_path / "a.yaml")


def test_a_short_file_that_means_a_long_one_ends_at_once(tmp_path: Path) -> None:
    lines = ["a0: &a0 [ha]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10))]
    (tmp_path / "a.yaml").write_text("\n".join(lines))
    start = time.monotonic()
    with pytest.raises(ValueError, match="alias"):
        read_yaml(tmp_path / "a.yaml")
    with (tmp_path / "a.yaml").open("wb") as file:
        file.truncate(10**12)  # takes no room on the disk
    with pytest.raises(ValueError, match="more than"):
        read_yaml(tmp_path / "a.yaml")
    assert time.monotonic() - start < 5
