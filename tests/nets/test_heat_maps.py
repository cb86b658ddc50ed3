import pytest
import torch

from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.nets import heads
from cxrlt_cli.nets.checkpoints import Architecture
from cxrlt_cli.nets.classifier import Classifier
from cxrlt_cli.nets.heat_maps import grad_cam, heat_maps, kind_of
from tests.helpers import head_of

FINDINGS = ("a", "b", "c")


def classifier(backbone: str, head: str, size: int = 64) -> Classifier:
    torch.manual_seed(0)
    return Classifier(Architecture(backbone, head), FINDINGS, Preprocessing(size)).eval()


def test_grad_cam_of_a_linear_head_is_the_class_activation_map() -> None:
    """The logit is ``mean_k <w, x_k> + b``, so each gradient is ``w / K``, and the map ``relu(<w, x_k>) / K``."""
    torch.manual_seed(0)
    head, features = heads.create("linear", 7, 3), torch.randn(2, 7, 3, 4)
    expected = torch.einsum("cd,ndhw->nchw", head_of_linear(head), features).relu() / 12
    torch.testing.assert_close(grad_cam(head, features, [0, 1, 2]), expected)
    torch.testing.assert_close(grad_cam(head, features, [2, 0]), expected[:, [2, 0]])


def test_grad_cam_weighs_each_feature_by_its_mean_gradient() -> None:
    """Of a head that is not linear, against the formula: ``logit = sum_k x_k0^2 + x_k0 x_k1``."""
    torch.manual_seed(0)
    features = torch.randn(2, 2, 3, 3)
    first, second = features[:, 0], features[:, 1]
    weights = [(2 * first + second).mean(dim=(1, 2)), first.mean(dim=(1, 2))]
    expected = (weights[0][:, None, None] * first + weights[1][:, None, None] * second).relu()

    def head(x: torch.Tensor) -> torch.Tensor:
        return (x[:, 0] ** 2 + x[:, 0] * x[:, 1]).sum(dim=(1, 2))[:, None]

    torch.testing.assert_close(grad_cam(head, features, [0])[:, 0], expected)


@pytest.mark.parametrize("backbone", ["test_convnext", "test_vit"])
@pytest.mark.parametrize("head", sorted(heads.HEADS))
def test_every_head_and_backbone_has_a_map(backbone: str, head: str) -> None:
    model = classifier(backbone, head)
    model.requires_grad_(False)
    with torch.inference_mode():
        features = model.feature_map(torch.randn(2, 3, 64, 64))
        maps = heat_maps(model, features)
        assert torch.equal(heat_maps(model, features, ["c", "a"]), maps[:, [2, 0]])
        alone = heat_maps(model, features[1:])
    assert maps.shape == (2, 3, *features.shape[2:])
    assert maps.dtype == torch.float32
    assert (maps >= 0).all()
    sums = maps.sum(dim=(2, 3))
    torch.testing.assert_close(sums, (sums > 0).float())
    torch.testing.assert_close(alone[0], maps[1], rtol=1e-4, atol=1e-6)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("head", ["linear", "mlp"])
@pytest.mark.parametrize("backbone", ["test_convnext", "test_vit"])
def test_the_map_is_highest_where_the_finding_was_put(backbone: str, head: str) -> None:
    """A feature map of one bright place, in the direction that raises the logit."""
    model = classifier(backbone, head)
    features = torch.zeros(1, model.num_features, 4, 4, requires_grad=True)
    (raises,) = torch.autograd.grad(model.head(features)[0, 1], features)
    features = torch.zeros(1, model.num_features, 4, 4)
    features[0, :, 2, 3] = raises[0, :, 0, 0]
    assert heat_maps(model, features, ["b"]).flatten().argmax() == 2 * 4 + 3
    assert heat_maps(model, -features, ["b"]).abs().max() == 0, "nothing speaks for it"


def test_attention_is_taken_where_it_points_well() -> None:
    for name in heads.HEADS:
        model = classifier("test_convnext", name)
        features = torch.randn(2, model.num_features, 3, 3)
        if kind_of(model) == "attention":
            with torch.no_grad():
                expected = head_of(model).attend(model.bn(features))[1]
            torch.testing.assert_close(heat_maps(model, features), expected)
    kinds = {name: kind_of(classifier("test_convnext", name)) for name in heads.HEADS}
    assert [name for name, kind in kinds.items() if kind == "Grad-CAM"] == ["linear", "mlp", "csra-winner"]


def test_half_precision_of_the_backbone_gives_maps_in_float32() -> None:
    model = classifier("test_convnext", "linear")
    features = torch.randn(2, model.num_features, 3, 3).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        maps = heat_maps(model, features)
    assert maps.dtype == torch.float32
    assert torch.equal(maps, heat_maps(model, features.float()))


def head_of_linear(head: heads.Head) -> torch.Tensor:
    assert isinstance(head, heads.Linear)
    return head.classifier.weight.detach()
