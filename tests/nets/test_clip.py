import json
import os
import pickle
import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from cxrlt_cli.errors import CheckpointError
from cxrlt_cli.nets.clip import PHANTOM_CLIP, ClipEncoder, load, paraphrase_auroc
from tests.helpers import flipped


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
    exact = encoder.encode_images(levels)
    features = encoder.lower(torch.bfloat16).encode_images(levels)
    assert (features != exact).any()
    torch.testing.assert_close(features, exact, atol=0.02, rtol=0)
    assert features.dtype == torch.float32
    torch.testing.assert_close(features.norm(dim=1), torch.ones(3), atol=1e-6, rtol=0)


@pytest.mark.parametrize("missing", ["open_clip_config.json", "open_clip_model.safetensors"])
def test_a_folder_that_lacks_a_part_is_told_and_nothing_is_made_up(clip_folder: Path, missing: str) -> None:
    """open_clip alone goes on with random weights."""
    (clip_folder / missing).unlink()
    with pytest.raises(CheckpointError, match="has no") as caught:
        load(clip_folder)
    assert missing in caught.value.message


def test_weights_cut_short_or_with_code_in_them_are_told(clip_folder: Path, tmp_path: Path) -> None:
    weights = clip_folder / "open_clip_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load(clip_folder)
    weights.unlink()
    (clip_folder / "open_clip_pytorch_model.bin").write_bytes(pickle.dumps({"a": Evil(tmp_path)}, protocol=2))
    with pytest.raises(CheckpointError, match="could run code"):
        load(clip_folder)
    assert not (tmp_path / "ran").exists()


class Evil:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.folder / 'ran'}",)


def test_weights_that_do_not_fit_are_told(clip_folder: Path) -> None:
    config = json.loads((clip_folder / "open_clip_config.json").read_text())
    config["model_cfg"]["vision_cfg"]["layers"] = 3
    (clip_folder / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load(clip_folder)


def test_a_normalization_can_be_asked_for(clip_folder: Path) -> None:
    assert load(clip_folder, "half").mean == (0.5, 0.5, 0.5)
    assert load(clip_folder, "clip").std == open_clip.OPENAI_DATASET_STD
    assert load(clip_folder, "imagenet").mean == (0.485, 0.456, 0.406)
    prints = {load(clip_folder, name).fingerprint for name in ("auto", "half", "clip")}
    assert len(prints) == 3
    assert load(clip_folder).fingerprint in prints


def test_the_canary_tells_random_weights_from_trained_ones(encoder: ClipEncoder) -> None:
    with pytest.raises(CheckpointError, match="its weights look random"):
        encoder.require_trained()
    load(PHANTOM_CLIP).require_trained()


def test_paraphrases_are_counted_as_a_loop_counts_them() -> None:
    rng = np.random.default_rng(0)
    groups = [rng.integers(-2, 3, (size, 4)).astype(np.float32) for size in (3, 4, 2)]
    flat = [(number, row) for number, group in enumerate(groups) for row in group]
    pairs = [(a == b, float(x @ y)) for i, (a, x) in enumerate(flat) for b, y in flat[i + 1 :]]
    wins = [(p > q) + 0.5 * (p == q) for same, p in pairs if same for other, q in pairs if not other]
    assert paraphrase_auroc(groups) == pytest.approx(np.mean(wins))


@pytest.mark.soak
def test_a_folder_like_whyxrayclips_loads(tmp_path: Path) -> None:
    """ViT-L/14 as its configuration has it, with random weights: 224 px, 768 features, CLIP's tokenizer."""
    config = open_clip.get_model_config("ViT-L-14")
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in open_clip.model.CLIP(**config).state_dict().items()}
    noise = 0.02 * torch.randn(10**6, generator=torch.Generator().manual_seed(0)).half()
    tensors = {
        name: noise.repeat(1 + shape.numel() // len(noise))[: shape.numel()].view(shape)
        for name, shape in shapes.items()
    }
    tensors["logit_scale"] = torch.tensor(4.6)
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, tmp_path / "open_clip_model.safetensors")
    preprocess = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
    encoder = load(tmp_path)
    (tmp_path / "open_clip_model.safetensors").unlink()
    film = encoder.prepare(np.random.default_rng(0).integers(0, 256, (300, 250), np.uint8))
    assert film.shape == (224, 224)
    assert encoder.context_length == 77
    assert encoder.mean == pytest.approx(open_clip.OPENAI_DATASET_MEAN)
    features = encoder.encode_images(torch.from_numpy(film)[None, None].float())
    assert features.shape == (1, 768)
    assert encoder.encode_prompts(["goiter"]).shape == (1, 768)
    assert encoder.temperature == pytest.approx(np.exp(4.6), rel=1e-3)


@pytest.mark.parametrize(("part", "name", "value"), [
    ("text_cfg", "hf_tokenizer_name", "someone/tokenizer"), ("text_cfg", "hf_model_name", "someone/bert"),
    ("text_cfg", "hf_model_pretrained", True), ("vision_cfg", "timm_model_pretrained", True),
    ("vision_cfg", "timm_model_name", "hf-hub:someone/vit"), ("text_cfg", "tokenizer_kwargs", {"a": ["hf-hub:x/y"]}),
])  # fmt: skip
def test_parts_that_a_hub_has_are_refused_before_anybody_asks_for_them(
    clip_folder: Path, monkeypatch: pytest.MonkeyPatch, part: str, name: str, value: object
) -> None:
    """Also where transformers is installed, which would fetch them, and run what comes with them."""

    class Fetching(ModuleType):
        def __getattr__(self, what: str) -> object:
            raise AssertionError(f"transformers.{what} is asked for")

    monkeypatch.setitem(sys.modules, "transformers", Fetching("transformers"))
    path = clip_folder / "open_clip_config.json"
    config = json.loads(path.read_text())
    config["model_cfg"][part][name] = value
    path.write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"asks for parts that lie elsewhere \(\w+") as caught:
        load(clip_folder)
    assert str(clip_folder) in caught.value.message


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "[]", "{}", '{"model_cfg": 3}', "\xff"])
def test_a_configuration_that_is_none_is_told(clip_folder: Path, text: str) -> None:
    (clip_folder / "open_clip_config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError, match=r"open_clip_config\.json cannot be read"):
        load(clip_folder)


def test_every_flipped_bit_of_the_model_that_comes_with_cxrlt_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(PHANTOM_CLIP, folder)
    for name in ("open_clip_config.json", "open_clip_model.safetensors"):
        data = (folder / name).read_bytes()
        for spoilt in flipped(data, 20):
            (folder / name).write_bytes(spoilt)
            with pytest.raises(CheckpointError, match=f"is not what was fetched: {name} differs"):
                load(folder)
        (folder / name).write_bytes(data)
    assert load(folder).folder == folder
