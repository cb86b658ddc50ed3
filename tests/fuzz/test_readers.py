"""Whatever the bytes: a reader gives a value that is valid, or raises our own error. Nothing else comes out of it.

``Bench`` holds a reader for each kind of file; a warning is an error here, as in all tests.
"""

import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxrlt_cli import prompts
from cxrlt_cli.data.image import read_film
from cxrlt_cli.errors import CheckpointError, DataError, FilmError
from cxrlt_cli.names import fault_of_id, fault_of_name
from cxrlt_cli.nets.checkpoints import Checkpoint
from cxrlt_cli.nets.tensors import read_tensors
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.tables.label_table import read_ids, read_labels
from tests.fuzz import inputs
from tests.fuzz.inputs import KINDS, TELLING, Edit, spoilt

MAX_PIXELS = 10**6
SECONDS, KILOBYTES = 10, 600_000  # of one file, on a busy machine; beyond what the process took before


class Bench:
    """Valid files by kind, and for each kind a check of one file; it gives whether a value came out."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seeds = {
            "csv": inputs.csvs(),
            "parquet": inputs.parquets(),
            "png": inputs.pngs(),
            "jpg": inputs.jpegs(),
            "dcm": inputs.dicoms(folder),
            "safetensors": inputs.checkpoints(folder),
            "pth": inputs.pickles(),
            "yaml": inputs.prompts(),
        }
        self.checks: dict[str, Callable[[Path], bool]] = {
            "csv": check_csv,
            "parquet": check_csv,
            "png": check_film,
            "jpg": check_film,
            "dcm": check_film,
            "safetensors": check_checkpoint,
            "pth": check_tensors,
            "yaml": check_prompts,
        }

    def spoil(self, kind: str, seed: int, edits: list[Edit], mended: int) -> bytes:
        """A seed with edits; mended, two times of three, so that what checks a file as a whole lets it pass."""
        valid = self.seeds[kind][seed % len(self.seeds[kind])]
        if kind == "safetensors" and mended == 2:
            return inputs.with_own_header(valid, edits)
        data = spoilt(valid, edits)
        if mended and kind == "png":
            return inputs.with_checksums(data)
        return inputs.with_length(data) if mended and kind == "safetensors" else data

    def try_out(self, kind: str, data: bytes) -> bool:
        path = self.folder / f"it.{kind}"
        path.write_bytes(data)
        before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
        came_out = self.checks[kind](path)
        assert time.monotonic() - start < SECONDS
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < KILOBYTES
        return came_out


def refused(error: DataError | CheckpointError, path: Path) -> bool:
    assert path.name in str(error)
    return False


def check_csv(path: Path) -> bool:
    try:
        table = read_labels(path, needs_patients=False)
        assert len(table) == len(set(table.ids)) > 0
        assert np.isin(table.targets, [0, 1]).sum() + np.isnan(table.targets).sum() == table.targets.size
        assert table.ids.tolist() == read_ids(path).tolist()
        assert [fault_of_id(film) for film in table.ids] == [None] * len(table)
        came_out = True
    except DataError as error:
        came_out = refused(error, path)
    try:
        predictions = Predictions.read(path)
    except DataError as error:
        return refused(error, path) or came_out
    predictions.write(path.with_suffix(".out"))
    again = Predictions.read(path.with_suffix(".out"))
    assert (again.ids.tolist(), again.findings) == (predictions.ids.tolist(), predictions.findings)
    np.testing.assert_array_equal(again.probabilities, predictions.probabilities)
    return True


def check_film(path: Path) -> bool:
    try:
        film = read_film(path, max_pixels=MAX_PIXELS)
    except FilmError as error:
        return refused(error, path)
    assert film.dtype == np.uint8
    assert film.ndim == 2
    assert 0 < film.size <= MAX_PIXELS
    return True


def check_tensors(path: Path) -> bool:
    try:
        tensors, header = read_tensors(path)
    except CheckpointError as error:
        return refused(error, path)
    assert header is None
    assert all(tensor.dtype not in (torch.float16, torch.float64) for tensor in tensors.values())
    return True


def check_checkpoint(path: Path) -> bool:
    try:
        checkpoint = Checkpoint.read(path)
    except CheckpointError as error:
        return refused(error, path)
    assert [fault_of_name(name) for name in checkpoint.findings] == [None] * len(checkpoint.findings)
    assert all(0 < side <= 8192 for side in checkpoint.preprocessing.shape)
    assert np.isfinite([checkpoint.mean, checkpoint.std]).all()
    return True


def check_prompts(path: Path) -> bool:
    try:
        read = prompts.read(path)
    except DataError as error:
        return refused(error, path)
    sentences = [sentence for each in read.findings.values() for sentence in each]
    assert len(sentences) == len(set(sentences)) > 0
    assert all(sentence.encode() for sentence in [*sentences, *read.findings])
    return True


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("fuzz"))


EDIT = st.builds(
    Edit,
    kind=st.sampled_from(KINDS),
    place=st.floats(0, 1),
    data=st.sampled_from(TELLING) | st.binary(min_size=1, max_size=12),
    length=st.integers(1, 300),
)
NUMBERS = {"csv": 300, "parquet": 300, "png": 300, "jpg": 300, "dcm": 400, "safetensors": 400, "pth": 150, "yaml": 300}


@pytest.mark.parametrize("kind", NUMBERS)
def test_every_valid_file_is_read(bench: Bench, kind: str) -> None:
    """Or spoiling them would prove nothing."""
    came_out = [bench.try_out(kind, data) for data in bench.seeds[kind]]
    odd = {"safetensors": 1, "pth": 1}.get(kind, 0)  # the last: the winner's layout for few findings; no tensors
    assert came_out == [True] * (len(came_out) - odd) + [False] * odd


@pytest.mark.parametrize("kind", NUMBERS)
def test_nothing_but_our_errors_comes_out_of_a_spoilt_file(bench: Bench, kind: str) -> None:
    came_out = []

    @settings(
        max_examples=NUMBERS[kind],
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 9), st.lists(EDIT, min_size=1, max_size=5), st.integers(0, 2))
    def one(seed: int, edits: list[Edit], mended: int) -> None:
        came_out.append(bench.try_out(kind, bench.spoil(kind, seed, edits, mended)))

    one()
    assert len(came_out) >= NUMBERS[kind]
    assert not all(came_out), "no edit spoilt anything"


@settings(max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(list(NUMBERS)), st.binary(max_size=400))
def test_bytes_without_any_sense(bench: Bench, kind: str, data: bytes) -> None:
    bench.try_out(kind, data)
