import pytest
import torch
from torch import nn

from cxrlt_cli.config import ComputeOptions
from cxrlt_cli.engine.launch import launch
from cxrlt_cli.nets.batch_norm import synchronize
from tests.engine.workers import films, network, shared, step
from tests.helpers import Recorder


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
