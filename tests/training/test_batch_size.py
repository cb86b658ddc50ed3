"""The largest batch is tried on a pretended GPU, whose memory holds so many films; runs on the CPU take what it was."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
import yaml
from pydantic import ValidationError
from torch import Tensor

from cxrlt_cli.config import FitOptions, InferOptions, TrainOptions
from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.engine.films import LabelledFilms
from cxrlt_cli.engine.process import Process
from cxrlt_cli.errors import WorkerError
from cxrlt_cli.labels import LabelSpace
from cxrlt_cli.nets.checkpoints import Architecture
from cxrlt_cli.nets.classifier import Classifier
from cxrlt_cli.tables.label_table import LabelTable
from cxrlt_cli.training import carry_out
from cxrlt_cli.training.batch_size import choose_batch, halved
from cxrlt_cli.training.method import Method
from cxrlt_cli.training.resume import ResumeFile
from cxrlt_cli.verbs.train import train
from tests.conftest import run_options
from tests.helpers import Recorder
from tests.pretended_gpu import GPU, pretended_gpu
from tests.training.test_resume import Stop, hashes

FINDINGS = ("a", "b")
BYTES = 1000  # that a film takes of the pretended GPU


def table() -> LabelTable:
    ids = np.array(["w", "x", "y"])
    return LabelTable(ids, ids, np.array([[0, 1], [1, 0], [0, np.nan]], np.float32), LabelSpace.of(FINDINGS))


def auto(**changes: Any) -> TrainOptions:
    return TrainOptions.model_validate(
        {"csv": Path("x.csv"), "batch_size": "auto", "average_last": 2, **changes}
    ).resolved()


@contextmanager
def memory(num_films: int, seen: list[int]) -> Iterator[None]:
    """A GPU whose memory has room for so many films, of which ``seen`` were at once in each pass."""
    forward = Classifier.forward

    def limited(model: Classifier, images: Tensor) -> Tensor:
        seen.append(len(images))
        if len(images) > num_films:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(model, images)

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(Classifier, "forward", limited))
        for name, value in {
            "empty_cache": lambda: None,
            "reset_peak_memory_stats": lambda _: seen.clear(),
            "max_memory_reserved": lambda _: BYTES * max(seen),
            "get_device_properties": lambda _: SimpleNamespace(total_memory=BYTES * num_films),
        }.items():
            stack.enter_context(mock.patch(f"torch.cuda.{name}", value))
        yield


def chosen(options: FitOptions, num_films: int, process: Process | None = None) -> tuple[FitOptions, Recorder]:
    """What is chosen where the memory has room for so many films."""
    recorder = Recorder()
    training = LabelledFilms(table(), [Path(name) for name in "wxy"])
    real = Classifier(Architecture("test_convnext", "csra"), FINDINGS, Preprocessing(32))
    with pretended_gpu(real) as (model,), memory(num_films, []):
        method = Method.of(training.table, options, 1.0)
        found = choose_batch(options, process or Process(GPU, torch.bfloat16, 0), model, method, training, recorder)
    return found, recorder


@pytest.mark.parametrize(
    ("number", "sizes"), [(64, [64, 32, 16, 8, 4, 2]), (192, [192, 96, 48, 24, 12, 6, 3]), (2, [2]), (3, [3])]
)
def test_sizes_are_halves_that_a_batch_norm_can_take(number: int, sizes: list[int]) -> None:
    assert halved(number) == sizes


@pytest.mark.parametrize(
    ("num_films", "accumulate", "expected"),
    [(1000, 1, (64, 1)), (64, 1, (32, 2)), (40, 1, (32, 2)), (20, 1, (16, 4)), (100, 3, (48, 4)), (1000, 3, (192, 1))],
)
def test_the_largest_that_leaves_room_is_taken_and_a_step_sees_as_many_films(
    num_films: int, accumulate: int, expected: tuple[int, int]
) -> None:
    """64 films in a memory of 64 leave no room: a tenth is for others."""
    found, recorder = chosen(auto(accumulate=accumulate), num_films)
    assert (found.batch, found.accumulate) == expected
    (note,) = recorder.notes
    assert note == (
        f"--batch-size auto: {expected[0]} films fit; {expected[1]} such batches make a step of {64 * accumulate}."
    )


def test_all_processes_take_what_fits_on_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Process, "collected", lambda _, mine: [mine, 4])
    found, _ = chosen(auto(), 40, Process(GPU, torch.float16, 0, rank=1, num_processes=2))
    assert (found.batch, found.accumulate) == (4, 16)


def test_a_gpu_too_small_for_any_batch_is_told() -> None:
    with pytest.raises(WorkerError, match="too little memory to train on 2 films"):
        chosen(auto(), 1)


def test_on_a_cpu_it_is_the_default(labels: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    train(run_options(labels, tmp_path / "run", batch_size="auto", accumulate=2, max_steps=1), recorder)
    assert "--batch-size auto: nothing is tried on a CPU; it is 64." in recorder.notes
    written = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())
    assert (written["batch_size"], written["accumulate"]) == (64, 2)


def test_a_run_goes_on_with_the_batch_that_it_found(
    labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folds too: all have the first one's, and the same bytes as with numbers that were typed."""
    recipe: dict[str, Any] = {"folds": 2, "epochs": 1, "checkpoint_minutes": 0}
    train(run_options(labels, tmp_path / "typed", **recipe, batch_size=4, accumulate=16), Recorder())

    def found(options: FitOptions, *_: object) -> FitOptions:
        return options.model_copy(update={"batch": 4, "accumulate": 16})

    write = ResumeFile.write

    def stopping(resume: ResumeFile, *arguments: Any) -> None:
        write(resume, *arguments)
        if "fold-2" in str(resume.path):
            raise Stop

    out, recorder = tmp_path / "auto", Recorder()
    with pytest.raises(Stop), monkeypatch.context() as patch:
        patch.setattr(carry_out, "choose_batch", found)
        patch.setattr(ResumeFile, "write", stopping)
        train(run_options(labels, out, **recipe, batch_size="auto"), recorder)
    assert "of 4 films, 16 of them per step," in recorder.plans[0]["schedule"]
    monkeypatch.setattr(carry_out, "choose_batch", None)  # it is known by now
    train(run_options(labels, out, **recipe, batch_size="auto", resume=True), Recorder())
    for name in ("fold-1", "fold-2"):
        assert hashes(out / name) == hashes(tmp_path / "typed" / name)
    for path in (out, out / "fold-1", out / "fold-2"):
        written = yaml.safe_load((path / "run.yaml").read_text())
        assert (written["batch_size"], written["accumulate"]) == (4, 16)


def test_it_is_refused_where_it_means_nothing() -> None:
    with pytest.raises(ValidationError, match="a valid integer"):
        InferOptions.model_validate({"checkpoint": Path("x"), "batch_size": "auto"})
    with pytest.raises(ValidationError, match="leave it out with --frozen"):
        auto(frozen=True)
    with pytest.raises(ValidationError, match="--batch-size must be auto, 1 or more"):
        TrainOptions.model_validate({"batch_size": 0})
