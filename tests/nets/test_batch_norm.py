import copy
from contextlib import nullcontext

import pytest
import torch
from timm.layers import BatchNormAct2d  # type: ignore[attr-defined]
from torch import nn

from cxrlt_cli.config import ComputeOptions
from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.engine.launch import launch
from cxrlt_cli.nets.batch_norm import norms_of, recompute, starved, synchronize
from cxrlt_cli.nets.checkpoints import Architecture
from cxrlt_cli.nets.classifier import Classifier
from tests.helpers import Recorder
from tests.nets.shares import films, network, shared, step

CPU = torch.device("cpu")


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
    net, plain = synchronize(network(), CPU).eval(), network().eval()
    torch.testing.assert_close(net(films()), plain(films()))
    assert net.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.parametrize("kind", [nn.LayerNorm, nn.GroupNorm])
def test_other_norms_stay(kind: type[nn.Module]) -> None:
    module = nn.LayerNorm(4) if kind is nn.LayerNorm else nn.GroupNorm(2, 4)
    assert type(synchronize(nn.Sequential(module), CPU)[0]) is kind  # type: ignore[index]


def classifier(backbone: str, head: str, image_size: int) -> Classifier:
    return Classifier(Architecture(backbone, head), ("a", "b"), Preprocessing(image_size))


@pytest.mark.parametrize(
    ("backbone", "head", "image_size", "first"),
    [
        ("test_resnet", "linear", 32, "backbone.layer4"),  # whose map is 1 x 1 there
        ("test_resnet", "linear", 64, None),
        ("test_efficientnet", "linear", 32, "backbone."),
        ("test_convnext", "csra-winner", 32, "bn"),
        ("test_convnext", "csra-winner", 64, None),
        ("test_convnext", "mlp", 64, "head.classifier.0"),
        ("test_convnext", "csra", 32, None),
    ],
)
def test_a_batch_norm_that_sees_one_value_is_named(
    backbone: str, head: str, image_size: int, first: str | None
) -> None:
    """Where torch would fail, and nowhere else; the model and the random numbers stay as they were."""
    model = classifier(backbone, head, image_size)
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    film = torch.zeros(1, 3, image_size, image_size)
    name = starved(model, lambda copied: copied.train()(film))
    assert (name is None) == (first is None)
    assert name is None or (first is not None and name.startswith(first))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert starved(model, lambda copied: copied.eval()(film)) is None
    with nullcontext() if first is None else pytest.raises(ValueError, match="more than 1 value per channel"):
        model.train()(film)


def test_statistics_are_recomputed_as_a_loop_over_the_batches_has_them() -> None:
    """In a net of two batch norms: the second sees what the first, which has the batch's own statistics, gives it."""
    torch.manual_seed(0)
    first, convolution = nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)
    net = nn.Sequential(first, convolution, nn.Dropout(0.9), BatchNormAct2d(4), nn.Flatten())
    batches = [torch.randn(number, 3, 8, 8) for number in (6, 6, 4)]
    seen: list[list[torch.Tensor]] = [[], []]
    for batch in batches:
        mean, var = batch.mean(dim=(0, 2, 3), keepdim=True), batch.var(dim=(0, 2, 3), correction=0, keepdim=True)
        seen[0].append(batch)
        with torch.no_grad():
            seen[1].append(convolution((batch - mean) / (var + first.eps).sqrt()))
    recompute(net, batches, net, lambda values: values)
    for norm, given in zip(norms_of(net), seen, strict=True):
        means = torch.stack([one.mean(dim=(0, 2, 3)) for one in given]).mean(dim=0)
        variances = torch.stack([one.var(dim=(0, 2, 3)) for one in given]).mean(dim=0)
        torch.testing.assert_close(norm.running_mean, means, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(norm.running_var, variances, rtol=1e-4, atol=1e-5)
        assert norm.momentum == 0.1
    assert not any(module.training for module in net.modules())


def test_other_errors_are_not_taken_for_it() -> None:
    with pytest.raises(ValueError, match="another"):
        starved(network(), lambda _: _raise(ValueError("another")))


def _raise(error: Exception) -> None:
    raise error


def test_on_gpus_the_libraries_own_are_taken() -> None:
    module = nn.Sequential(nn.BatchNorm1d(4), BatchNormAct2d(4))
    made = synchronize(module, torch.device("cuda"))
    assert all(isinstance(each, nn.SyncBatchNorm) for each in made.children())
