from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from cxrlt_cli.config import ComputeOptions
from cxrlt_cli.engine.launch import launch
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporting import Reporter
from cxrlt_cli.nets.batch_norm import SynchronizedBatchNorm, synchronize
from tests.helpers import Recorder


def network() -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 4), nn.BatchNorm1d(4))
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
    net = synchronize(network())
    assert sum(isinstance(module, SynchronizedBatchNorm) for module in net.modules()) == 2
    rows = slice(0, 3) if process.rank == 0 else slice(3, 8)
    wrapped = DistributedDataParallel(net)
    images = films()[rows]
    weights = torch.linspace(0, 1, 4)
    wrapped(images)
    loss = (wrapped(images).square() * weights).sum() / len(films()) * process.num_processes
    loss.backward()
    gradients = {f"{name}.grad": parameter.grad for name, parameter in net.named_parameters()}
    return {**gradients, **net.state_dict()}


def test_shares_of_a_batch_are_normalised_as_the_whole() -> None:
    """Of unequal size: outputs, gradients and running statistics are those of torch's own on the whole batch."""
    plain = network()
    expected = step(plain, plain, films())
    found = launch(shared, ComputeOptions(processes=2, device="cpu", workers=0), Recorder())
    assert found is not None
    assert set(found) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_in_use_it_is_torchs_own() -> None:
    net, plain = synchronize(network()).eval(), network().eval()
    torch.testing.assert_close(net(films()), plain(films()))
    assert net.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.parametrize("kind", [nn.LayerNorm, nn.GroupNorm])
def test_other_norms_stay(kind: type[nn.Module]) -> None:
    module = nn.LayerNorm(4) if kind is nn.LayerNorm else nn.GroupNorm(2, 4)
    assert type(synchronize(nn.Sequential(module))[0]) is kind  # type: ignore[index]
