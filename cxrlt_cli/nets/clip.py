"""An image and text encoder of open_clip, from a folder. Never one with random weights.

Letters: N films, P sentences, D features, S side of a film.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from cxrlt_cli.data.image import Film
from cxrlt_cli.errors import CheckpointError

CONFIG = "open_clip_config.json"
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")


class ClipEncoder:
    """``encode_images`` and ``encode_prompts`` to features of length 1, float32. Made by ``load``."""

    def __init__(self, model: Any, transform: Any, tokenizer: Any, folder: Path) -> None:
        *shaping, to_tensor, normalization = transform.transforms
        assert type(to_tensor).__name__.endswith("ToTensor"), transform
        assert type(normalization).__name__ == "Normalize", transform
        self._model = model.eval().requires_grad_(False)
        self._shaping = shaping
        self._tokenizer = tokenizer
        self.folder = folder
        self.mean = tuple(float(value) for value in normalization.mean)
        self.std = tuple(float(value) for value in normalization.std)
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

    def to(self, device: torch.device) -> "ClipEncoder":
        self._model.to(device)
        self._mean, self._std = self._mean.to(device), self._std.to(device)
        return self

    def prepare(self, film: Film) -> Film:
        """A windowed film, uint8 ``[H, W]``, resized and cropped as the model's own preprocessing does: ``[S, S]``."""
        image = Image.fromarray(film)
        for step in self._shaping:
            image = step(image)
        return np.array(image.convert("L"))

    def encode_images(self, levels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Prepared films ``[N, 1, S, S]`` of 0 to 255 to ``[N, D]``; the encoder may run in bf16, lengths never do."""
        images = (levels / 255 - self._mean) / self._std
        with torch.inference_mode(), torch.autocast(images.device.type, dtype, enabled=dtype != torch.float32):
            features = self._model.encode_image(images)
        return normalize(features.float(), dim=1)

    def encode_prompts(self, sentences: Sequence[str]) -> Tensor:
        """``[P, D]`` on the CPU."""
        tokens = self._tokenizer(list(sentences)).to(self._mean.device)
        with torch.inference_mode():
            return normalize(self._model.encode_text(tokens).float(), dim=1).cpu()


def load(folder: Path) -> ClipEncoder:
    """The encoder of an open_clip folder: ``open_clip_config.json`` and weights.

    Raises CheckpointError where one of them is missing, or they do not fit.
    """
    if not folder.is_dir():
        raise CheckpointError(f"--model {folder} is no folder.", f"It wants one with {CONFIG} and weights.")
    weights = [folder / name for name in WEIGHTS if (folder / name).is_file()]
    if not (folder / CONFIG).is_file() or not weights:
        what = CONFIG if not (folder / CONFIG).is_file() else f"weights ({' or '.join(WEIGHTS)})"
        raise CheckpointError(f"--model {folder} has no {what}.", "It wants a folder as open_clip saves it.")
    try:
        model, transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
        tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    except (RuntimeError, ValueError, KeyError, TypeError, json.JSONDecodeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(f"--model {folder} cannot be loaded: {reason}") from error
    return ClipEncoder(model, transform, tokenizer, folder)
