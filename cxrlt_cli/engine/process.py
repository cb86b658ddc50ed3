"""This process: its device, its precision, its helpers, and the others that compute with it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, distributed

from cxrlt_cli.config import ComputeOptions
from cxrlt_cli.engine.reporter import counted
from cxrlt_cli.errors import OptionError
from cxrlt_cli.machine import num_cores
from cxrlt_cli.private_apis import cpu_computes_bf16

T = TypeVar("T")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Process:
    """Where this process computes, in which precision, with how many workers that read films."""

    device: torch.device
    dtype: torch.dtype
    num_workers: int
    rank: int = 0
    num_processes: int = 1

    @classmethod
    def of(cls, options: ComputeOptions, local_rank: int = 0, cores: int | None = None) -> "Process":
        """With so many ``cores`` for itself; by default, all that it may use.

        Raises OptionError where the device is missing or cannot compute in the precision asked for.
        """
        device = _device(options.device, local_rank)
        if device.type == "cuda":
            _take_free_speed(exact=options.precision == "fp32")
        workers = default_workers(device, cores) if options.workers == "auto" else options.workers
        return cls(device, _dtype(options.precision, device), workers)

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes and reports."""
        return self.rank == 0

    def summed(self, values: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.num_processes > 1:
            values = values.clone()
            distributed.all_reduce(values)
        return values

    def collected(self, mine: T) -> list[T]:
        """What each process has, on every one of them."""
        if self.num_processes == 1:
            return [mine]
        found: list[Any] = [None] * self.num_processes
        distributed.all_gather_object(found, mine)
        return found

    def collecting_late(self) -> Callable[[T], list[T]]:
        """``collected``, for processes that end days apart; to be asked for while all are there."""
        group: Any = distributed.new_group(backend="gloo", timeout=timedelta(days=365))

        def collected(mine: T) -> list[T]:
            found: list[Any] = [None] * self.num_processes
            distributed.all_gather_object(found, mine, group)
            return found

        return collected

    def gathered(self, mine: Tensor, num_films: int, dim: int) -> Tensor:
        """Of films that were dealt out one by one (``rank``, ``rank + num_processes``, ...), all, in their order.

        ``mine``: on the CPU, its films along ``dim``.
        """
        if self.num_processes == 1:
            return mine
        most = -(-num_films // self.num_processes)
        rows = mine.movedim(dim, 0)
        padded = torch.cat([rows, rows.new_zeros(most - len(rows), *rows.shape[1:])]).contiguous()
        parts = [torch.empty_like(padded) for _ in range(self.num_processes)]
        distributed.all_gather(parts, padded)
        return torch.stack(parts, dim=1).flatten(0, 1)[:num_films].movedim(0, dim)

    def peak_memory(self) -> tuple[int, int] | None:
        """Bytes of the GPU that were held at most since the process began, and that it has; None on a CPU."""
        if self.device.type != "cuda":
            return None
        return torch.cuda.max_memory_reserved(self.device), torch.cuda.get_device_properties(self.device).total_memory

    def wait(self) -> None:
        """Until the device has done all that it was given, for whoever takes the time."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    @property
    def pins(self) -> bool:
        return self.device.type == "cuda"

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def __str__(self) -> str:
        on_gpu = self.device.type == "cuda"
        name = torch.cuda.get_device_name(self.device) if on_gpu else counted(torch.get_num_threads(), "thread")
        precision = next(name for name, dtype in DTYPES.items() if dtype == self.dtype)
        workers = f"{self.num_workers} to read films" if self.num_workers else "films read by this process"
        several = f"{self.num_processes} processes, each on " if self.num_processes > 1 else ""
        return f"{several}{self.device.type} ({name}), {precision}, {workers}"


def default_workers(device: torch.device, cores: int | None = None) -> int:
    """With a GPU, a worker a core up to 12; on the CPU half of the cores, since the network needs them too.

    ``cores``: of this process; by default, all that it may use.
    """
    cores = num_cores() if cores is None else cores
    return min(12, cores) if device.type == "cuda" else min(4, max(1, cores // 2))


def encoder_dtype(precision: str, process: Process) -> torch.dtype:
    """The precision of a transformer that only predicts: bf16 where a CPU multiplies matrices in it, AMX or not.

    ConvNeXt's depthwise convolutions gain nothing there, so ``auto`` means less to a classifier.
    """
    multiplies = process.device.type == "cpu" and cpu_computes_bf16()
    return torch.bfloat16 if precision == "auto" and multiplies else process.dtype


def _device(name: Literal["auto", "cpu", "cuda"], local_rank: int) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise OptionError("--device cuda: PyTorch finds no GPU on this machine.", "Pass --device cpu.")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", local_rank % torch.cuda.device_count())  # a scheduler may show each process one alone


def _dtype(precision: Literal["auto", "fp32", "bf16", "fp16"], device: torch.device) -> torch.dtype:
    if precision == "fp16" and device.type == "cpu":
        raise OptionError("--precision fp16 needs a GPU.", "Pass --precision fp32 or bf16.")
    if precision != "auto":
        return DTYPES[precision]
    if device.type == "cpu":
        return torch.float32  # until it was tried
    capability = torch.cuda.get_device_capability(device)
    if capability >= (8, 0):
        return torch.bfloat16
    return torch.float16 if capability >= (7, 0) else torch.float32  # tensor cores of V100 and T4 know fp16 alone


def _take_free_speed(exact: bool) -> None:
    """Convolutions by the algorithm that is fastest here; what stays float32 by TF32, unless float32 was asked for."""
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = not exact
    torch.set_float32_matmul_precision("highest" if exact else "high")
