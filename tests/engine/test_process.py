import pytest
import torch

from cxrlt_cli.config import TrainOptions
from cxrlt_cli.engine.process import Process, default_workers
from cxrlt_cli.errors import OptionError


def test_precision_and_workers_are_what_was_asked_for() -> None:
    process = Process.of(TrainOptions(device="cpu", precision="bf16", workers=3))
    assert (process.device.type, process.dtype, process.num_workers) == ("cpu", torch.bfloat16, 3)
    with process.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16


def test_a_cpu_starts_from_float32_until_bf16_was_tried() -> None:
    assert Process.of(TrainOptions(device="cpu")).dtype == torch.float32


def test_what_the_machine_lacks_is_told() -> None:
    with pytest.raises(OptionError, match="fp16 needs a GPU"):
        Process.of(TrainOptions(device="cpu", precision="fp16"))
    if not torch.cuda.is_available():
        with pytest.raises(OptionError, match="no GPU"):
            Process.of(TrainOptions(device="cuda"))


def test_some_worker_reads_films() -> None:
    assert default_workers(torch.device("cpu")) >= 1
    assert default_workers(torch.device("cuda")) >= default_workers(torch.device("cpu"))
