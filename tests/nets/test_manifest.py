"""Manifests: what stands beside fetched files, and what is said where these are others."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from cxrlt_cli.errors import CheckpointError
from cxrlt_cli.nets.manifest import MANIFEST, Manifest, check, check_file, sha256, verified

WEIGHTS = "w.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / WEIGHTS).write_bytes(b"weights")
    (tmp_path / "config.json").write_bytes(b"{}")
    files = {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in (WEIGHTS, "config.json")}
    Manifest("a model", "owner/name", "0" * 40, "mit", files, "2026-01-01").write(tmp_path)
    return tmp_path


def test_it_reads_back_and_its_folder_is_whole(folder: Path) -> None:
    manifest = verified(folder)
    assert manifest == Manifest.read(folder)
    assert manifest.files[WEIGHTS] == sha256(folder / WEIGHTS)
    assert check(folder)
    assert check_file(folder / WEIGHTS)


def test_files_that_differ_or_are_missing_are_named(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"others")
    (folder / "config.json").unlink()
    assert Manifest.read(folder).faults(folder) == [f"{WEIGHTS} differs", "config.json is missing"]
    with pytest.raises(CheckpointError, match=r"w\.safetensors differs, config\.json is missing") as told:
        check(folder)
    assert "cxrlt models pull 'a model'" in str(told.value.hint)
    with pytest.raises(CheckpointError, match="is not what was fetched"):
        check_file(folder / WEIGHTS)


def test_what_has_no_manifest_is_not_held_against_one(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / WEIGHTS).touch()
    assert not check(other)
    assert not check_file(other / WEIGHTS)
    (folder / "mine.bin").touch()
    assert not check_file(folder / "mine.bin")
    with pytest.raises(CheckpointError, match=r"has no manifest\.json"):
        verified(other)


@pytest.mark.parametrize(("changes", "said"), [
    ({"files": {"../w.safetensors": "0"}}, "leaves the image folder"), ({"files": {WEIGHTS: 1}}, "has no sha256"),
    ({"files": {"config.json": "0"}}, "names no file of weights"), ({"files": [WEIGHTS]}, "of another kind"),
    ({"name": 1}, "of another kind"), ({"colour": "red"}, "cannot be read"),
])  # fmt: skip
def test_a_manifest_that_says_something_else_is_refused(folder: Path, changes: dict[str, Any], said: str) -> None:
    content = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**content, **changes}))
    with pytest.raises(CheckpointError, match=said):
        Manifest.read(folder)


@pytest.mark.parametrize("text", ["", "[]", "{", "{}"])
def test_a_damaged_manifest_is_an_error_and_no_missing_one(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_text(text)
    with pytest.raises(CheckpointError, match="cannot be read"):
        check(folder)
