"""ViT-L/14 on the CPU: ``cxrlt ood``'s encoder against a plain open_clip script.

The weights are random (the speed is that of WhyXrayCLIP, which has this architecture). The script reads with PIL,
prepares with open_clip's transform and encodes in float32, in batches of 16, as open_clip's own examples do.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image
from safetensors.torch import save_file

from cxrlt_cli.config import OodOptions
from cxrlt_cli.engine.encode import ImageEncoder
from cxrlt_cli.engine.process import Process, encoder_dtype
from cxrlt_cli.engine.reporter import Silent
from cxrlt_cli.machine import keep_freed_memory
from cxrlt_cli.nets.clip import load
from cxrlt_cli.phantom.folder import PhantomRecipe, write

BATCH, NUM_FILMS = 16, 48


def prepare(folder: Path) -> None:
    """Phantoms of 8 bits, as the script needs them, and a model."""
    write(folder / "phantoms", PhantomRecipe(NUM_FILMS, 512), 2, lambda _: None)
    for path in _paths(folder):
        Image.open(path).point(lambda level: level / 16).convert("L").save(path)
    make_vit_l(folder / "model")


def _paths(folder: Path) -> list[Path]:
    return sorted((folder / "phantoms" / "images").iterdir())


def make_vit_l(folder: Path) -> None:
    """An open_clip folder of a ViT-L/14 with the weights that open_clip starts from."""
    folder.mkdir()
    config = open_clip.get_model_config("ViT-L-14")
    torch.manual_seed(0)
    save_file(open_clip.model.CLIP(**config).state_dict(), folder / "open_clip_model.safetensors")
    preprocess = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))


def plain_script(folder: Path) -> Callable[[], int]:
    model, transform = open_clip.create_model_from_pretrained(f"local-dir:{folder / 'model'}")
    model.eval()

    def once() -> int:
        paths = _paths(folder)
        for start in range(0, len(paths), BATCH):
            images = torch.stack([transform(Image.open(path).convert("RGB")) for path in paths[start : start + BATCH]])
            with torch.no_grad():
                encoded = model.encode_image(images)
                encoded / encoded.norm(dim=-1, keepdim=True)
        return len(paths)

    return once


def ours(folder: Path) -> Callable[[], int]:
    keep_freed_memory()
    options = OodOptions.model_validate({"device": "cpu", "batch_size": BATCH})
    process = Process.of(options)
    model = load(folder / "model").lower(encoder_dtype("auto", process))
    images = ImageEncoder(model, options, process, Silent())
    paths = _paths(folder)
    return lambda: sum(len(rows) for rows, _ in images.encoded(np.arange(len(paths)), paths))
