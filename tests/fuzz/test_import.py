"""Whatever happens to a label file, an import ends well or with an error of ours, and leaves nothing half-written."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cxrlt_cli.errors import CxrltError
from tests.datasets.sets import SAMPLES, labels_only

FILES = {
    "nih": "nih/Data_Entry_2017_v2020.csv",
    "chexpert": "chexpert/CheXpert-v1.0-small/train.csv",
    "cxr-lt": "cxr-lt-2024/train_labeled.csv",
    "padchest": "padchest/PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv",
    "vindr": "vindr-cxr/annotations/image_labels_train.csv",
    "rsna": "rsna-pneumonia/stage_2_train_labels.csv",
    "siim": "siim-acr/train-rle.csv",
    "candid": "candid-ptx/Pneumothorax_reports.csv",
}


def spoilt(data: bytes, number: int) -> Iterator[bytes]:
    """Bytes changed, cut out, doubled; the file cut short; lines in another order."""
    rng = np.random.default_rng(0)
    for _ in range(number):
        start, end = sorted(rng.integers(0, len(data), 2).tolist())
        changed = bytearray(data)
        changed[start] = int(rng.integers(0, 256))
        yield bytes(changed)
        yield data[:start] + data[min(end, start + 20) :]
        yield data[:end] + data[start:end][:40] + data[end:]
        yield data[:start]
        header, *lines = data.splitlines(keepends=True)
        yield header + b"".join(lines[place] for place in rng.permutation(len(lines)).tolist())
        yield data.replace(b",", [b";", b"\t", b",,", b'"'][int(rng.integers(0, 4))], int(rng.integers(1, 30)))


@pytest.mark.parametrize("kind", FILES)
def test_spoilt_files_are_errors_of_ours(kind: str, tmp_path: Path) -> None:
    source = SAMPLES / FILES[kind]
    path, out = tmp_path / source.name, tmp_path / "out" / "labels.csv"
    ended = {True: 0, False: 0}
    for data in spoilt(source.read_bytes(), 25):
        path.write_bytes(data)
        try:
            rows, _ = labels_only(kind, path, out=out)
        except CxrltError:
            rows = []
        assert bool(rows) == out.exists()
        for left in out.parent.iterdir() if rows else ():
            left.unlink()
        ended[bool(rows)] += 1
    assert min(ended.values()) > 10, ended
