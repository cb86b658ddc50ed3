"""Train ``phantom-clip``, the demonstration model of ``cxrlt ood``: from nothing but phantoms and ``captions.yaml``.

``python -m tests.phantom_clip.train OUT`` draws the films, trains on the CPU and writes an open_clip folder in fp16; it
ends with the AP of each unseen finding on phantoms of other patients. A film has one to three of the phantom's 35
findings, or none, each as often as any other. In a batch every film meets every caption, and a pair is positive where
the film has the caption's finding: the sigmoid loss of SigLIP (Zhai et al., ICCV 2023, arXiv:2303.15343) with all
positives known.
"""

import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from sklearn.metrics import average_precision_score
from torch import Tensor
from torch.nn.functional import logsigmoid, normalize

from cxrlt_cli import prompts
from cxrlt_cli.labels import UNSEEN
from cxrlt_cli.nets import clip
from cxrlt_cli.nets.manifest import Manifest, sha256
from cxrlt_cli.phantom import draw
from cxrlt_cli.phantom.signs import SIGNS
from cxrlt_cli.scores import zeroshot

CAPTIONS = Path(__file__).with_name("captions.yaml")
DRAWN, SIDE = 128, 96
MODEL = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": SIDE, "layers": [1, 1, 1, 1], "width": 16},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
MEAN, STD = 0.5, 0.25
PREPROCESS = {"mean": [MEAN] * 3, "std": [STD] * 3, "interpolation": "bicubic", "resize_mode": "shortest"}
NUM_TRAINING, NUM_TEST = 24_000, 1_200
BATCH, EPOCHS, RATE, WORDS_DROPPED = 64, 10, 2e-3, 0.2
SEED = 2026


def main(out: Path, epochs: int = EPOCHS) -> None:
    torch.manual_seed(SEED)
    films, findings = drawn(out.with_suffix(".npz"), NUM_TRAINING + NUM_TEST)
    model = fit(films[:NUM_TRAINING], findings[:NUM_TRAINING], epochs)
    write(model, out)
    report(out, films[NUM_TRAINING:], findings[NUM_TRAINING:])


def drawn(cache: Path, number: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Films ``[N, S, S]`` and what each has ``[N, 35]``; drawn on all cores, kept beside the model."""
    if not cache.exists():
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
            pairs = list(pool.map(_paint, range(number), chunksize=64))
        films, findings = (np.stack(part) for part in zip(*pairs, strict=True))
        cache.parent.mkdir(parents=True, exist_ok=True)
        np.savez(cache, films=films, findings=findings)
    content = np.load(cache)
    return content["films"], content["findings"]


def _paint(index: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """None to three findings; every patient has one film."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng([SEED, index])
    names = rng.choice(list(SIGNS), rng.choice([0, 1, 2, 3], p=[0.15, 0.35, 0.3, 0.2]), replace=False)
    seed = 10**12 + index  # apart from the patients of every folder of phantoms
    film, _ = draw(names, patient_seed=seed, film_seed=seed, size=DRAWN, from_front=bool(rng.random() < 0.15))
    low, high = np.percentile(film, (0.5, 99.5))
    levels = np.clip((film - low) * (255 / (high - low)), 0, 255).round().astype(np.uint8)
    return levels, np.isin(list(SIGNS), names)


def fit(films: NDArray[np.uint8], findings: NDArray[np.bool_], epochs: int) -> Any:
    captions = prompts.read(CAPTIONS)
    sentences = [captions.findings[name] for name in SIGNS] + [captions.anchors]
    has = torch.from_numpy(np.column_stack([findings, ~findings.any(axis=1)]))
    tokenizer = open_clip.get_tokenizer("ViT-B-32", context_length=MODEL["text_cfg"]["context_length"])  # type: ignore[index]
    model = open_clip.model.CLIP(**MODEL, init_logit_scale=np.log(10), init_logit_bias=-3.0)
    model.visual.to(memory_format=torch.channels_last)
    unread = _blank_unread_words(model, tokenizer, sentences)
    decays = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decays, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.98))
    steps = len(films) // BATCH * epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps, pct_start=0.05)
    films = np.stack(
        [np.asarray(Image.fromarray(film).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for film in films]
    )
    rng, start = np.random.default_rng(SEED), time.perf_counter()
    for epoch in range(epochs):
        total, order = 0.0, rng.permutation(len(films))[: len(films) // BATCH * BATCH]
        for chosen in order.reshape(-1, BATCH):
            levels = torch.from_numpy(np.stack([_varied(films[i], rng) for i in chosen]))[:, None].float() / 255
            texts = [_shortened(str(rng.choice(options)), rng) for options in sentences for _ in range(2)]
            owners = torch.arange(len(sentences)).repeat_interleave(2)
            pixels = ((levels - MEAN) / STD).expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
            images = normalize(model.encode_image(pixels), dim=1)
            words = normalize(model.encode_text(tokenizer(texts)), dim=1)
            logits = model.logit_scale.exp() * images @ words.T + model.logit_bias
            loss = -logsigmoid(torch.where(has[chosen][:, owners], logits, -logits)).sum(dim=1).mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            model.token_embedding.weight.grad[unread] = 0
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item() * BATCH / len(order)
        print(f"epoch {epoch + 1}/{epochs}: loss {total:.3f}, {time.perf_counter() - start:.0f} s", flush=True)
    return model.eval()


def _blank_unread_words(model: Any, tokenizer: Any, sentences: list[tuple[str, ...]]) -> Tensor:
    """Make the vocabulary that no caption uses zero: it says nothing, and is compressed away. Gives its rows."""
    tokens = tokenizer([sentence for options in sentences for sentence in options])
    unread = torch.ones(model.token_embedding.num_embeddings, dtype=torch.bool)
    unread[tokens.unique()] = False
    model.token_embedding.weight.data[unread] = 0
    return unread


def _varied(film: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Shifted, scaled and exposed a little otherwise. Not mirrored: the heart has a side."""
    scale, (dx, dy) = rng.uniform(0.94, 1.06), rng.uniform(-4, 4, 2)
    matrix = np.array([[scale, 0, dx + (1 - scale) * SIDE / 2], [0, scale, dy + (1 - scale) * SIDE / 2]])
    moved = cv2.warpAffine(film, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.convertScaleAbs(moved, alpha=rng.uniform(0.9, 1.1), beta=rng.uniform(-10, 10)))


def _shortened(sentence: str, rng: np.random.Generator) -> str:
    """Without some of its words, so that each of them has to say something."""
    words = [word for word in sentence.split() if rng.random() >= WORDS_DROPPED]
    return " ".join(words) or sentence


def write(model: Any, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    tensors = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    save_file(tensors, out / clip.WEIGHTS[0], metadata={"format": "pt"})
    config = {"model_cfg": {**MODEL, "init_logit_bias": -3.0}, "preprocess_cfg": PREPROCESS}
    (out / clip.CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    files = {name: sha256(out / name) for name in (clip.CONFIG, clip.WEIGHTS[0])}
    today = date.today().isoformat()
    Manifest("phantom-clip", "cxrlt/phantom-clip", "v1", "Apache-2.0", files, today).write(out)


def report(folder: Path, films: NDArray[np.uint8], findings: NDArray[np.bool_]) -> None:
    """AP of the six with ``prompts.yaml`` on films of other patients, as ``cxrlt ood`` scores them."""
    encoder = clip.load(folder)
    levels = torch.from_numpy(np.stack([encoder.prepare(film) for film in films]))[:, None].float()
    images = torch.cat([encoder.encode_images(part) for part in torch.split(levels, 200)]).numpy()
    sentences = prompts.read()
    texts = {name: encoder.encode_prompts(sentences.findings[name]).numpy() for name in UNSEEN}
    anchor = encoder.encode_prompts(sentences.anchors).numpy()
    plain, anchored = zeroshot.score(images, texts), zeroshot.score(images, texts, "mean", anchor, encoder.temperature)
    for column, name in enumerate(UNSEEN):
        truth = findings[:, list(SIGNS).index(name)]
        aps = [average_precision_score(truth, scores[:, column]) for scores in (plain, anchored)]
        print(f"{name}: AP {aps[0]:.3f}, with anchor {aps[1]:.3f}, prevalence {truth.mean():.3f}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
