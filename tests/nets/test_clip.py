import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from cxrlt_cli.errors import CheckpointError
from cxrlt_cli.nets.clip import ClipEncoder, load


@pytest.fixture
def encoder(clip_folder: Path) -> ClipEncoder:
    return load(clip_folder)


def test_films_are_prepared_as_open_clip_does(encoder: ClipEncoder, clip_folder: Path) -> None:
    """Bicubic on the shortest side, centre crop, mean and deviation of the folder."""
    model, transform = open_clip.create_model_from_pretrained(f"local-dir:{clip_folder}")
    film = np.random.default_rng(0).integers(0, 256, (90, 70), np.uint8)
    theirs = transform(Image.fromarray(film).convert("RGB"))[None]
    levels = torch.from_numpy(encoder.prepare(film))[None, None].float()
    ours = (levels / 255 - torch.tensor(encoder.mean).view(1, 3, 1, 1)) / torch.tensor(encoder.std).view(1, 3, 1, 1)
    torch.testing.assert_close(ours, theirs)
    with torch.inference_mode():
        expected = model.eval().encode_image(theirs, normalize=True)
    torch.testing.assert_close(encoder.encode_images(levels), expected)
    assert encoder.temperature == pytest.approx(1 / 0.07, rel=1e-4)
    assert encoder.context_length == 32


def test_lengths_are_taken_in_float32(encoder: ClipEncoder) -> None:
    levels = 255 * torch.rand(3, 1, 32, 32)
    features = encoder.encode_images(levels, torch.bfloat16)
    assert features.dtype == torch.float32
    torch.testing.assert_close(features.norm(dim=1), torch.ones(3), atol=1e-6, rtol=0)


@pytest.mark.parametrize("missing", ["open_clip_config.json", "open_clip_model.safetensors"])
def test_a_folder_that_lacks_a_part_is_told_and_nothing_is_made_up(clip_folder: Path, missing: str) -> None:
    """open_clip alone goes on with random weights."""
    (clip_folder / missing).unlink()
    with pytest.raises(CheckpointError, match="has no") as caught:
        load(clip_folder)
    assert missing in caught.value.message


def test_weights_that_do_not_fit_are_told(clip_folder: Path) -> None:
    config = json.loads((clip_folder / "open_clip_config.json").read_text())
    config["model_cfg"]["vision_cfg"]["layers"] = 3
    (clip_folder / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load(clip_folder)
