"""An image and text encoder of open_clip, from a folder. Never one with random weights.

``phantom-clip``, the demonstration model that comes with cxrlt, is such a folder; ``tests/phantom_clip`` trains it.

Letters: N films, P sentences, D features, S side of a film.
"""

import hashlib
import json
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.functional import normalize

from cxrlt_cli import prompts
from cxrlt_cli.data.levels import PERCENTILES, Film
from cxrlt_cli.documents import read_json
from cxrlt_cli.errors import CheckpointError, listed
from cxrlt_cli.names import shown
from cxrlt_cli.nets.checkpoints import IMAGENET_MEAN, IMAGENET_STD
from cxrlt_cli.nets.manifest import check

PHANTOM_CLIP = Path(__file__).with_name("phantom_clip")
DEMONSTRATION = "phantom-clip, a DEMONSTRATION that has seen drawings alone: its scores say nothing of real films"
CONFIG = "open_clip_config.json"
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")
LEAST_AUROC = 0.6  # of the canary; with random weights it is 0.50 to 0.56 in any size of model

Normalization = Literal["auto", "clip", "imagenet", "half"]
NORMALIZATIONS = {
    "clip": (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD),
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    "half": ((0.5,) * 3, (0.5,) * 3),
}


@dataclass(frozen=True)
class ClipPreparation:
    """A windowed film, uint8 ``[H, W]``, resized and cropped as the model's own preprocessing does: ``[S, S]``."""

    steps: tuple[Any, ...]
    image_size: int

    def __call__(self, film: Film) -> Film:
        image = Image.fromarray(film)
        for step in self.steps:
            image = step(image)
        return np.array(image.convert("L"))

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.image_size, self.image_size

    @property
    def told(self) -> str:
        return f"{self.image_size} px"

    def to_json(self) -> dict[str, Any]:
        """All that decides the pixels."""
        steps = [repr(step) for step in self.steps]
        return {"image_size": self.image_size, "steps": steps, "percentiles": list(PERCENTILES), "version": 1}


class ClipEncoder:
    """``encode_images`` and ``encode_prompts`` to features of length 1, float32. Made by ``load``."""

    def __init__(
        self, model: Any, transform: Any, tokenizer: Any, folder: Path, normalization: Normalization = "auto"
    ) -> None:
        *shaping, to_tensor, own = transform.transforms
        assert type(to_tensor).__name__.endswith("ToTensor"), transform
        assert type(own).__name__ == "Normalize", transform
        self._model = model.eval().requires_grad_(False)
        side = model.visual.image_size
        self.prepare = ClipPreparation(tuple(shaping), side[0] if isinstance(side, tuple) else side)
        self._dtype = torch.float32
        self._tokenizer = tokenizer
        self.folder = folder
        mean, std = NORMALIZATIONS.get(normalization, (own.mean, own.std))
        self.mean, self.std = tuple(map(float, mean)), tuple(map(float, std))
        self._mean = torch.tensor(self.mean).view(1, 3, 1, 1)
        self._std = torch.tensor(self.std).view(1, 3, 1, 1)

    @property
    def temperature(self) -> float:
        """What cosines are multiplied by before a softmax, as the model learned it."""
        return float(self._model.logit_scale.exp())

    @property
    def context_length(self) -> int:
        """Tokens of a sentence that are read, its ends included."""
        return int(self._tokenizer.context_length)

    @property
    def fingerprint(self) -> str:
        """Of all that decides an image's features: weights, architecture, preprocessing."""
        digest = hashlib.sha256()
        for path in (self.folder / CONFIG, _weights(self.folder)[0]):
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        shaping = [repr(step) for step in self.prepare.steps]
        digest.update(json.dumps([self.mean, self.std, shaping, PERCENTILES]).encode())
        return digest.hexdigest()

    def require_trained(self) -> None:
        """Raise CheckpointError where its text encoder does not know what it reads: a canary against random weights.

        Two of our sentences on one finding must be closer than two on different ones, more often than chance has it.
        """
        features = [self.encode_prompts(sentences).numpy() for sentences in prompts.load().values()]
        auroc = paraphrase_auroc(features)
        if auroc < LEAST_AUROC:
            raise CheckpointError(
                f"--model {self.folder} does not tell paraphrases from other findings (AUROC {auroc:.2f}, chance is "
                "0.50): its weights look random.",
                "Was the whole model copied? cxrlt models verify checks a fetched one.",
            )

    def lower(self, dtype: torch.dtype) -> "ClipEncoder":
        """Images are encoded in ``dtype`` from now on: matrices are kept in it, norms in float32.

        autocast alone would turn the same matrices into it again for every batch.
        """
        self._dtype = dtype
        for module in self._model.visual.modules():
            if isinstance(module, nn.Linear | nn.Conv2d | nn.MultiheadAttention):
                module.to(dtype)
        return self

    def to(self, device: torch.device) -> "ClipEncoder":
        self._model.to(device)
        self._mean, self._std = self._mean.to(device), self._std.to(device)
        return self

    @property
    def width(self) -> int:
        """D of the features."""
        return self.encode_prompts(["x"]).shape[1]

    def fills(self, sentence: str) -> bool:
        """Whether a sentence takes all tokens that are read, so that its end may be cut off."""
        return bool((self._tokenizer([sentence]) != 0).all())

    def encode_images(self, levels: Tensor) -> Tensor:
        """Prepared films ``[N, 1, S, S]`` of 0 to 255 to ``[N, D]``, of length 1 in float32 whatever ``lower`` did."""
        images = (levels / 255 - self._mean) / self._std
        with (
            torch.inference_mode(),
            torch.autocast(images.device.type, self._dtype, enabled=self._dtype != torch.float32),
        ):
            features = self._model.encode_image(images)
        return normalize(features.float(), dim=1)

    def encode_prompts(self, sentences: Sequence[str]) -> Tensor:
        """``[P, D]`` on the CPU."""
        tokens = self._tokenizer(list(sentences)).to(self._mean.device)
        with torch.inference_mode():
            return normalize(self._model.encode_text(tokens).float(), dim=1).cpu()


def paraphrase_auroc(features: Sequence[NDArray[np.float32]]) -> float:
    """How often two sentences of one group, ``[P, D]`` each, are closer than two of different groups; ties half."""
    owners = np.repeat(np.arange(len(features)), [len(group) for group in features])
    everything = np.concatenate(features)
    first, second = np.triu_indices(len(owners), 1)
    cosines, same = (everything @ everything.T)[first, second], owners[first] == owners[second]
    within, between = cosines[same][:, None], cosines[~same]
    return float(((within > between) + 0.5 * (within == between)).mean())


def load(folder: Path, normalization: Normalization = "auto") -> ClipEncoder:
    """The encoder of an open_clip folder: ``open_clip_config.json`` and weights.

    ``normalization``: the mean and deviation of CLIP, of ImageNet, of 0.5 each; ``auto``, those of the folder.

    Raises CheckpointError where one of them is missing, or they do not fit.
    """
    if not folder.is_dir():
        raise CheckpointError(f"--model {folder} is no folder.", f"It wants one with {CONFIG} and weights.")
    check(folder)
    if not (folder / CONFIG).is_file() or not _weights(folder):
        what = CONFIG if not (folder / CONFIG).is_file() else f"weights ({' or '.join(WEIGHTS)})"
        raise CheckpointError(f"--model {folder} has no {what}.", "It wants a folder as open_clip saves it.")
    _require_own_parts(folder)
    try:
        model, transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
        tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"--model {folder} is not read: its weights hold more than tensors, which could run code on this machine.",
            "Ask its author for a safetensors file.",
        ) from error
    except (SafetensorError, RuntimeError, ValueError, KeyError, TypeError, ImportError, OSError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(f"--model {folder} cannot be loaded: {reason}") from error
    return ClipEncoder(model, transform, tokenizer, folder, normalization)


# What an open_clip configuration names that is fetched from a hub, whatever lies in the folder.
FOREIGN = ("hf_tokenizer_name", "hf_model_name", "hf_model_pretrained", "timm_model_pretrained")
ELSEWHERE = ("hf-hub:", "hf_hub:", "local-dir:", "http:", "https:")


def _require_own_parts(folder: Path) -> None:
    """Raise CheckpointError where a configuration cannot be read, or asks for parts that the folder does not hold."""
    try:
        config = read_json(folder / CONFIG)
        if not isinstance(config, dict) or not isinstance(config.get("model_cfg"), dict):
            raise ValueError("it has no model_cfg")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"--model {folder}: {CONFIG} cannot be read: {error}.") from error
    if foreign := _foreign(config):
        raise CheckpointError(
            f"--model {folder} is not read: {CONFIG} asks for parts that lie elsewhere ({listed(foreign)}).",
            "A model is read whole from its folder: take one whose text encoder and tokenizer are open_clip's own.",
        )


def _foreign(config: object) -> list[str]:
    """What a configuration names that lies elsewhere, however deep."""
    found, left = set(), [("", config)]
    while left:
        name, value = left.pop()
        if isinstance(value, dict):
            left += value.items()
        elif isinstance(value, list):
            left += ((name, item) for item in value)
        elif value and (name in FOREIGN or (isinstance(value, str) and value.startswith(ELSEWHERE))):
            found.add(f"{name} {shown(str(value))}")
    return sorted(found)


def _weights(folder: Path) -> list[Path]:
    return [folder / name for name in WEIGHTS if (folder / name).is_file()]
