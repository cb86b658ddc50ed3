"""What processes of their own do in tests. Imported by each of them, so this imports little."""

import os
import signal
import time
from typing import Any

import torch
from timm.layers import BatchNormAct2d  # type: ignore[attr-defined]
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporter import Reporter
from cxrlt_cli.errors import DataError
from cxrlt_cli.nets.batch_norm import SynchronizedBatchNorm, synchronize


def deal(process: Process, _: Reporter, num_films: int) -> tuple[Any, ...]:
    mine = torch.tensor(list(range(process.rank, num_films, process.num_processes)), dtype=torch.int64)
    gathered = process.gathered(torch.stack([mine, -mine])[:, :, None], num_films, dim=1)
    return gathered[0, :, 0].tolist(), int(process.summed(mine.sum())), process.collected(process.rank)


def fail(process: Process, _: Reporter, how: str) -> None:
    if process.rank == 1:
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise DataError("film 7 is gone.", "Put it back.") if how == "error" else ZeroDivisionError("by zero")
    time.sleep(600)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 3, 1),
        nn.BatchNorm2d(3),
        BatchNormAct2d(3),
        nn.BatchNorm2d(3, affine=False, track_running_stats=False),
        nn.Flatten(),
        nn.Linear(12, 4),
        nn.BatchNorm1d(4),
    )
    net[1].weight.data = torch.tensor([0.5, 2.0, -1.0])
    return net


def films() -> torch.Tensor:
    return 3 + torch.randn(8, 2, 2, 2, generator=torch.Generator().manual_seed(1))


def step(net: nn.Module, own: nn.Module, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """Two passes; gradients of the mean loss, and the state after them."""
    weights = torch.linspace(0, 1, 4)
    net(images)
    (net(images).square() * weights).sum(dim=1).mean().backward()
    gradients = {f"{name}.grad": parameter.grad for name, parameter in own.named_parameters()}
    return {**gradients, **own.state_dict()}


def shared(process: Process, _: Reporter) -> dict[str, Any]:
    net = synchronize(network(), torch.device("cpu"))
    assert sum(isinstance(module, SynchronizedBatchNorm) for module in net.modules()) == 4
    rows = slice(0, 3) if process.rank == 0 else slice(3, 8)
    wrapped = DistributedDataParallel(net)
    images = films()[rows]
    weights = torch.linspace(0, 1, 4)
    wrapped(images)
    loss = (wrapped(images).square() * weights).sum() / len(films()) * process.num_processes
    loss.backward()
    gradients = {f"{name}.grad": parameter.grad for name, parameter in net.named_parameters()}
    return {**gradients, **net.state_dict()}
