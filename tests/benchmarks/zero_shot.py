"""ViT-L/14 on the CPU: ``cxrlt ood``'s encoder against a plain open_clip script, in turn, in one run.

``python -m tests.benchmarks.zero_shot [FILMS] [ROUNDS]`` draws phantoms at 512 px, makes a ViT-L/14 with random
weights (the speed is that of WhyXrayCLIP, which has this architecture), and prints films/s of each round, the medians,
their ratio, and how far the features are apart. The script reads with PIL, prepares with open_clip's transform and
encodes in float32, in batches of 16, as open_clip's own examples do.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file

from cxrlt_cli.config import OodOptions
from cxrlt_cli.data.phantom.dataset import Recipe, write
from cxrlt_cli.engine import ood
from cxrlt_cli.engine.process import Process, encoder_dtype
from cxrlt_cli.nets.clip import load

BATCH = 16


def main(num_films: int = 32, rounds: int = 3) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write(folder / "films", Recipe(num_films, 512), 2, lambda _: None)
        paths = sorted((folder / "films" / "images").iterdir())
        for path in paths:  # 8 bit, as the script needs them
            Image.open(path).point(lambda level: level / 16).convert("L").save(path)
        make_vit_l(folder / "model")
        contenders = {"open_clip, float32": plain_script(folder / "model"), "cxrlt ood": ours(folder / "model")}
        features = {name: encode(paths[:BATCH]) for name, encode in contenders.items()}
        speeds: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(rounds):
            for name, encode in contenders.items():
                start = time.perf_counter()
                encode(paths)
                speeds[name].append(len(paths) / (time.perf_counter() - start))
    for name, speed in speeds.items():
        print(f"{name}: {', '.join(f'{s:.2f}' for s in speed)} films/s, median {statistics.median(speed):.2f}")
    first, second = (statistics.median(speed) for speed in speeds.values())
    cosines = (features["cxrlt ood"] * features["open_clip, float32"]).sum(axis=1)
    print(f"{second / first:.2f} times as fast; cosine between the features of a film at least {cosines.min():.5f}")


def make_vit_l(folder: Path) -> None:
    """An open_clip folder of a ViT-L/14 with the weights that open_clip starts from."""
    folder.mkdir()
    config = open_clip.get_model_config("ViT-L-14")
    torch.manual_seed(0)
    save_file(open_clip.model.CLIP(**config).state_dict(), folder / "open_clip_model.safetensors")
    preprocess = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))


def plain_script(folder: Path) -> Callable[[list[Path]], NDArray[np.float32]]:
    model, transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    model.eval()

    def encode(paths: list[Path]) -> NDArray[np.float32]:
        features = []
        for start in range(0, len(paths), BATCH):
            images = torch.stack([transform(Image.open(path).convert("RGB")) for path in paths[start : start + BATCH]])
            with torch.no_grad():
                encoded = model.encode_image(images)
                features.append(encoded / encoded.norm(dim=-1, keepdim=True))
        return torch.cat(features).numpy()

    return encode


def ours(folder: Path) -> Callable[[list[Path]], NDArray[np.float32]]:
    options = OodOptions.model_validate({"device": "cpu", "batch_size": BATCH})
    process = Process.of(options)
    looking = ood._Looking(load(folder).lower(encoder_dtype("auto", process)), options, process)

    def encode(paths: list[Path]) -> NDArray[np.float32]:
        return np.concatenate([features for _, features in looking.encoded(np.arange(len(paths)), paths)])

    return encode


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
