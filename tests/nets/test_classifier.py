import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.errors import CheckpointError, OptionError
from cxrlt_cli.labels import CXR_LT_2026
from cxrlt_cli.nets import heads
from cxrlt_cli.nets.checkpoints import Architecture
from cxrlt_cli.nets.classifier import Classifier, check_backbone, load, parameter_groups
from tests.helpers import head_of

FINDINGS = ("Normal", "Mass", "Hernia")


def classifier(backbone: str = "test_convnext", head: str = "csra", size: int = 64, **settings: Any) -> Classifier:
    return Classifier(Architecture(backbone, head, **settings), FINDINGS, Preprocessing(size)).eval()


BACKBONES = ["test_convnext", "test_vit", "test_resnet", "test_efficientnet", "test_nfnet", "mobilenetv4_conv_small",
             "mixer_s32_224", "hgnetv2_b0"]  # fmt: skip


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("head", ["linear", "csra"])
def test_any_backbone_goes_with_a_head(backbone: str, head: str) -> None:
    model = classifier(backbone, head, size=96)
    films = torch.randint(0, 255, (2, 1, 96, 96), dtype=torch.uint8)
    features = model.feature_map(model.normalize(films))
    assert features.ndim == 4
    assert len(features) == 2
    assert model(model.normalize(films)).shape == (2, 3)


def test_a_backbone_without_a_map_is_refused() -> None:
    with pytest.raises(OptionError, match=r"volo_d1_224 gives no feature map"):
        classifier("volo_d1_224", size=224)


@pytest.mark.parametrize("head", ["linear", "mlp", "csra", "csra-winner"])
def test_the_head_is_in_float32_under_autocast(head: str) -> None:
    """In bf16 it would have a hundred different logits for hundreds of films: ties, which cost AP."""
    model = classifier(head=head)
    images = torch.randn(64, 3, 64, 64)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        logits = model(images)
    assert logits.dtype == torch.float32
    assert len(logits[:, 0].unique()) == 64


def test_a_map_with_channels_last_is_turned() -> None:
    model = classifier("swin_tiny_patch4_window7_224", size=96)
    assert model.feature_map(torch.zeros(1, 3, 96, 96)).shape == (1, 768, 3, 3)


def test_tokens_become_a_map_without_the_class_token() -> None:
    model = classifier("test_vit", size=96)
    images = torch.randn(1, 3, 96, 96)
    tokens = model.backbone(images)
    features = model.feature_map(images)
    assert tokens.shape[1] == 1 + 36
    torch.testing.assert_close(features[0, :, 1, 2], tokens[0, 1 + 6 + 2])


def test_normalize_is_the_backbones() -> None:
    model = classifier("convnextv2_atto")
    films = torch.tensor([[[[0, 255], [128, 7]]]], dtype=torch.uint8)
    assert model.mean == (0.485, 0.456, 0.406)
    for channel in range(3):
        expected = (films[0, 0] / 255 - model.mean[channel]) / model.std[channel]
        torch.testing.assert_close(model.normalize(films)[0, channel], expected)


def test_a_checkpoint_gives_the_same_logits(tmp_path: Path) -> None:
    model = classifier(csra_heads=2)
    model.checkpoint(val_ap=0.5).write(tmp_path / "best.safetensors")
    again = load(tmp_path / "best.safetensors")
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(model(images), again(images))
    assert again.findings == FINDINGS
    assert (again.image_shape, again.mean, again.std) == ((64, 64), model.mean, model.std)
    assert not again.training


class Winner(nn.Module):
    """The winner's network, from its description."""

    def __init__(self, num_findings: int) -> None:
        super().__init__()
        self.backbone = timm.create_model("convnextv2_atto", num_classes=0, global_pool="")
        self.bn = nn.BatchNorm2d(320)
        self.head = nn.Module()
        self.head.classifier = nn.Linear(320, num_findings)
        self.head.conv_att = nn.Conv2d(320, num_findings, 1, bias=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.bn(self.backbone(images)).flatten(2)
        attention = self.head.conv_att.weight.flatten(1) @ maps  # type: ignore[union-attr, operator]
        pooled = (attention.softmax(2)[:, :, None] * maps[:, None]).sum(3)
        weight, bias = self.head.classifier.weight, self.head.classifier.bias  # type: ignore[union-attr]
        attended = (pooled * weight).sum(2) + bias
        logits: torch.Tensor = self.head.classifier(maps.mean(2)) + 0.1 * attended  # type: ignore[operator]
        return logits


@pytest.mark.parametrize("kind", ["safetensors", "pth", "bare.pth"])
def test_the_winners_layout_loads(tmp_path: Path, kind: str) -> None:
    torch.manual_seed(0)
    winner = Winner(30).eval()
    winner.bn.running_mean.uniform_()  # type: ignore[union-attr]
    winner.head.conv_att.weight.data.mul_(20)  # type: ignore[union-attr, operator]
    path = tmp_path / f"winner.{kind}"
    if kind == "safetensors":
        save_file(winner.state_dict(), path)
    else:
        torch.save(
            winner.state_dict() if "bare" in kind else {"epoch": 3, "model_state_dict": winner.state_dict()}, path
        )
    model = load(path)
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(model(images), winner(images), rtol=1e-4, atol=1e-5)
    assert model.findings == CXR_LT_2026
    assert model.architecture.backbone == "convnextv2_atto"
    assert model.image_shape == (512, 512)
    assert model.preprocessing.interpolation == "linear"


@pytest.mark.skipif("CXRLT_GOLDEN" not in os.environ, reason="CXRLT_GOLDEN names no folder of golden files")
def test_the_winners_layout_gives_the_golden_logits() -> None:
    name = Path(os.environ.get("CXRLT_GOLDEN", "")) / "winner_layout_convnextv2_atto"
    data = np.load(name.with_suffix(".npz"))
    with torch.inference_mode():
        logits = load(name.with_suffix(".safetensors"))(torch.from_numpy(data["x"]))
    np.testing.assert_allclose(logits.numpy(), data["logits"], atol=1e-4)


def test_findings_are_carried_over_by_name() -> None:
    source = classifier(csra_heads=2)
    target = Classifier(source.architecture, ("Hernia", "goiter", "Normal"), Preprocessing(96))
    fresh = head_of(target).weight.detach().clone()
    assert target.carry_over(source.checkpoint()) == ("goiter",)
    weight = head_of(source).weight
    assert torch.equal(head_of(target).weight[:, 0], weight[:, 2])
    assert torch.equal(head_of(target).weight[:, 2], weight[:, 0])
    assert torch.equal(head_of(target).weight[:, 1], fresh[:, 1])
    state = source.backbone.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in target.backbone.state_dict().items())


@pytest.mark.parametrize("head", ["linear", "mlp", "csra", "csra-winner", "mldecoder"])
def test_findings_with_nothing_in_common_share_the_backbone(head: str) -> None:
    source = classifier(head=head)
    target = Classifier(source.architecture, ("goiter", "Bulla"), Preprocessing(64))
    assert target.carry_over(source.checkpoint()) == ("goiter", "Bulla")
    state = source.backbone.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in target.backbone.state_dict().items())


def test_position_embeddings_follow_the_image_size() -> None:
    source = classifier("test_vit", size=96)
    target = Classifier(source.architecture, FINDINGS, Preprocessing(160))
    assert target.carry_over(source.checkpoint()) == ()


def test_another_head_starts_afresh_on_the_old_backbone() -> None:
    source = classifier()
    target = Classifier(Architecture("test_convnext", "mlp"), FINDINGS, Preprocessing(64))
    assert target.carry_over(source.checkpoint()) == FINDINGS
    state = source.backbone.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in target.backbone.state_dict().items())


def test_parameters_learn_at_the_rate_of_their_part() -> None:
    model = classifier(head="csra-winner")
    groups = parameter_groups(model, 1.0, 0.1, 0.05)
    rates = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    decays = {id(parameter): group["weight_decay"] for group in groups for parameter in group["params"]}
    for name, parameter in model.named_parameters():
        assert rates[id(parameter)] == (0.1 if name.startswith("backbone.") else 1.0)
        assert decays[id(parameter)] == (0.05 if parameter.ndim > 1 else 0)
    model.backbone.requires_grad_(False)
    assert {group["part"] for group in parameter_groups(model, 1.0, 0.1, 0.05)} == {"head"}


@pytest.mark.parametrize("backbone", ["test_convnext", "test_vit", "test_resnet", "convnextv2_atto"])
def test_layers_below_learn_slower(backbone: str) -> None:
    """timm's groups carry a factor that torch's optimizers do not look at: all rates are equal there."""
    model = classifier(backbone, "linear")
    optimizer = torch.optim.AdamW(parameter_groups(model, 1.0, 0.1, 0.05, layer_decay=0.5))
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    backbone_rates = [rates[id(p)] for name, p in model.named_parameters() if name.startswith("backbone.")]
    assert len(rates) == len(list(model.parameters()))
    assert len(set(backbone_rates)) > 2
    assert max(backbone_rates) == pytest.approx(0.1)
    assert backbone_rates[0] == min(backbone_rates) < 0.05
    assert all(math.log2(0.1 / rate) == pytest.approx(round(math.log2(0.1 / rate))) for rate in backbone_rates)
    assert rates[id(head_of(model).classifier.weight)] == 1.0


@pytest.mark.parametrize("head", ["linear", "mlp", "csra", "csra-winner", "mldecoder"])
def test_a_fresh_classifier_can_start_at_the_shares_of_the_films(head: str) -> None:
    model = classifier(head=head, prior_bias=True, logit_scale=30.0)
    share = torch.tensor([0.5, 0.1, 0.001])
    model.start_at(share, FINDINGS)
    for parameter in model.head.parameters():
        if parameter.ndim > 1:
            torch.nn.init.zeros_(parameter)
    with torch.inference_mode():
        torch.testing.assert_close(model(torch.randn(1, 3, 64, 64)).sigmoid()[0], share, rtol=1e-3, atol=1e-5)


def test_only_new_findings_start_at_their_shares() -> None:
    model = classifier(head="linear")
    before = head_of(model).classifier.bias.detach().clone()
    model.start_at(torch.tensor([0.5, 0.1, 0.2]), ["Mass"])
    after = head_of(model).classifier.bias
    assert after[1].item() == pytest.approx(math.log(0.1 / 0.9))
    assert torch.equal(after[[0, 2]], before[[0, 2]])


def test_a_head_with_a_start_of_its_own_has_it_whatever_the_scale() -> None:
    model = classifier(head="mlp", logit_scale=30.0)
    assert 30 * head_of(model).classifier[-1].bias[0].item() == pytest.approx(-2)


def test_a_scale_of_the_logits_is_part_of_the_checkpoint(tmp_path: Path) -> None:
    """LDAM is trained on scaled logits; without the scale its probabilities are squeezed around a half."""
    model = classifier(logit_scale=30.0)
    model.checkpoint().write(tmp_path / "x.safetensors")
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        plain = model.head(model.bn(model.feature_map(images)))
        torch.testing.assert_close(load(tmp_path / "x.safetensors")(images), 30 * plain)


def test_findings_that_share_queries_are_carried_over_together_or_not_at_all() -> None:
    def shared(*findings: str) -> Classifier:
        model = Classifier(Architecture("test_convnext", "mldecoder"), findings, Preprocessing(64))
        model.head = heads.create("mldecoder", 64, len(findings), num_queries=2)
        return model

    source = shared("a", "b", "c")
    assert shared("a", "b", "c").carry_over(source.checkpoint()) == ()
    assert shared("c", "b", "a").carry_over(source.checkpoint()) == ("c", "b", "a")


def test_a_backbone_that_does_not_exist_is_told_with_its_neighbours() -> None:
    with pytest.raises(OptionError, match=r"(?s)convnextv2_atto\.nonsense.*Did you mean convnextv2_atto\."):
        check_backbone("convnextv2_atto.nonsense")
    check_backbone("convnextv2_atto.fcmae")
    with pytest.raises(OptionError, match=r"(?s)convnextv2_bas.*Did you mean.*convnextv2_base") as caught:
        check_backbone("convnextv2_bas")
    assert caught.value.exit_code == 2


def test_an_image_size_that_does_not_suit_is_told() -> None:
    with pytest.raises(OptionError, match="--image-size 100"):
        classifier("test_vit", size=100)


def test_tensors_that_do_not_fit_are_told(tmp_path: Path) -> None:
    model = classifier()
    tensors = {name: value for name, value in model.state_dict().items() if "stem" not in name}
    broken = model.checkpoint()
    path = tmp_path / "broken.safetensors"
    type(broken)(**{**vars(broken), "tensors": tensors}).write(path)
    with pytest.raises(CheckpointError, match=r"broken\.safetensors.*stem"):
        load(path)


@pytest.mark.parametrize("backbone", [*BACKBONES, "swin_tiny_patch4_window7_224"])
def test_a_film_that_is_no_square_has_a_map_that_is_none_either(backbone: str) -> None:
    shape = (256, 128)
    model = Classifier(Architecture(backbone, "csra"), FINDINGS, Preprocessing(shape)).eval()
    features = model.feature_map(model.normalize(torch.zeros(2, 1, *shape, dtype=torch.uint8)))
    assert features.shape[:2] == (2, model.num_features)
    assert features.shape[2] == 2 * features.shape[3]


@pytest.mark.parametrize("backbone", ["test_vit", "test_convnext", "test_efficientnet"])
def test_rows_of_the_map_are_rows_of_the_film(backbone: str) -> None:
    """What is changed in the lower right corner of a film changes the map most there."""
    shape = (128, 64)
    model = Classifier(Architecture(backbone, "linear"), FINDINGS, Preprocessing(shape)).eval()
    film = torch.full((1, 1, *shape), 100, dtype=torch.uint8)
    other = film.clone()
    other[..., 112:, 48:] = 255
    with torch.inference_mode():
        changed = (model.feature_map(model.normalize(film)) - model.feature_map(model.normalize(other))).abs().sum(1)[0]
    row, column = divmod(int(changed.argmax()), changed.shape[1])
    assert (row, column) == (changed.shape[0] - 1, changed.shape[1] - 1)
