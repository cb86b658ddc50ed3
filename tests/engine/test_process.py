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


@pytest.mark.parametrize(
    ("capability", "precision", "dtype", "tf32"),
    [
        ((9, 0), "auto", torch.bfloat16, True),
        ((7, 5), "auto", torch.float16, True),  # T4
        ((6, 1), "auto", torch.float32, True),
        ((9, 0), "fp32", torch.float32, False),
    ],
)
def test_a_gpu_computes_as_it_is_fastest_unless_float32_was_asked_for(
    capability: tuple[int, int], precision: str, dtype: torch.dtype, tf32: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    before = torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    try:
        process = Process.of(TrainOptions.model_validate({"device": "cuda", "precision": precision}))
        assert (process.device, process.dtype) == (torch.device("cuda", 0), dtype)
        assert torch.backends.cudnn.benchmark
        assert (torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision() == "high") == (tf32, tf32)
    finally:
        torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = before[:2]
        torch.set_float32_matmul_precision(before[2])


def test_what_the_machine_lacks_is_told() -> None:
    with pytest.raises(OptionError, match="fp16 needs a GPU"):
        Process.of(TrainOptions(device="cpu", precision="fp16"))
    if not torch.cuda.is_available():
        with pytest.raises(OptionError, match="no GPU"):
            Process.of(TrainOptions(device="cuda"))


def test_some_worker_reads_films() -> None:
    assert default_workers(torch.device("cpu")) >= 1
    assert default_workers(torch.device("cuda")) >= default_workers(torch.device("cpu"))


def test_what_it_runs_on_is_told_in_good_english(monkeypatch: pytest.MonkeyPatch) -> None:
    process = Process(torch.device("cpu"), torch.float32, 0)
    for number, told in ((1, "cpu (1 thread), fp32"), (4, "cpu (4 threads), fp32")):
        monkeypatch.setattr(torch, "get_num_threads", lambda number=number: number)
        assert str(process).startswith(told)
