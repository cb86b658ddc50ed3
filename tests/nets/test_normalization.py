import json
from pathlib import Path
from typing import Any

import pytest

from cxrlt_cli.errors import CheckpointError
from cxrlt_cli.nets.normalization import beside

THREE, OTHER = [0.5, 0.4, 0.3], [0.2, 0.2, 0.2]
FILES = {
    "config.json": {"architecture": "x", "pretrained_cfg": {"mean": THREE, "std": OTHER}},
    "preprocessor_config.json": {"image_mean": THREE, "image_std": OTHER, "rescale_factor": 0.00392156862745098},
    "open_clip_config.json": {"model_cfg": {}, "preprocess_cfg": {"mean": THREE, "std": OTHER}},
}


def put(folder: Path, files: dict[str, Any]) -> Path:
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("name", FILES)
def test_each_program_says_it_in_its_own_way(tmp_path: Path, name: str) -> None:
    found = beside(put(tmp_path, {name: FILES[name]}))
    assert found == (((0.5, 0.4, 0.3), (0.2, 0.2, 0.2)), name)


def test_those_that_agree_are_one(tmp_path: Path) -> None:
    found = beside(put(tmp_path, FILES))
    assert found is not None
    assert found[1] == "config.json"


def test_a_folder_may_say_nothing(tmp_path: Path) -> None:
    assert beside(tmp_path) is None
    assert beside(put(tmp_path, {"config.json": {"model_type": "clip"}})) is None
    assert beside(put(tmp_path, {"config.json": [1]})) is None


def test_those_that_differ_are_no_guess(tmp_path: Path) -> None:
    other = {"image_mean": OTHER, "image_std": OTHER}
    put(tmp_path, {**FILES, "preprocessor_config.json": other})
    with pytest.raises(CheckpointError, match=r"config\.json and preprocessor_config\.json name different") as caught:
        beside(tmp_path)
    assert "--mean and --std" in caught.value.hint


@pytest.mark.parametrize(
    "content",
    [
        {"image_mean": THREE},
        {"image_mean": THREE, "image_std": [0.1, 0.1, 0]},
        {"image_mean": [0.5], "image_std": OTHER},
        {"image_mean": "half", "image_std": OTHER},
        {"image_mean": THREE, "image_std": OTHER, "rescale_factor": 1},
        {"image_mean": THREE, "image_std": OTHER, "do_normalize": False},
        {"image_mean": THREE, "image_std": OTHER, "rescale_factor": "x"},
    ],
)
def test_what_cannot_be_used_is_told(tmp_path: Path, content: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match=r"preprocessor_config\.json names no mean and deviation"):
        beside(put(tmp_path, {"preprocessor_config.json": content}))


def test_what_is_no_json_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json names no mean"):
        beside(tmp_path)
