"""A step of a network with batch norms, by one process on all films or by two on their shares."""

from typing import Any

import torch
from timm.layers import BatchNormAct2d  # type: ignore[attr-defined]
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporter import Reporter
from cxrlt_cli.nets.batch_norm import SynchronizedBatchNorm, synchronize


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
