import pytest
import timm
import torch
from timm.layers.grn import GlobalResponseNorm
from torch import nn

from cxrlt_cli.nets.response_norm import ResponseNorm, fuse


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_gives_what_timms_gives_gradients_included(channels_last: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(GlobalResponseNorm(6, channels_last=channels_last))
    for parameter in plain.parameters():
        nn.init.normal_(parameter)
    fused = nn.Sequential(GlobalResponseNorm(6, channels_last=channels_last))
    fused.load_state_dict(plain.state_dict())
    fuse(fused)
    assert type(fused[0]) is ResponseNorm
    shape = (2, 5, 5, 6) if channels_last else (2, 6, 5, 5)
    x = torch.randn(shape)
    ours, theirs = (x.to(kind).requires_grad_() for kind in (dtype, torch.float32))
    given, wanted = fused(ours), plain(theirs)
    assert given.dtype == dtype
    rtol, atol = (1e-5, 1e-5) if dtype == torch.float32 else (0.03, 0.1)
    torch.testing.assert_close(given.float(), wanted, rtol=rtol, atol=atol)
    weights = torch.randn(shape)
    (given.float() * weights).sum().backward()
    (wanted * weights).sum().backward()
    assert ours.grad is not None
    torch.testing.assert_close(ours.grad.float(), theirs.grad, rtol=rtol, atol=atol)
    if dtype == torch.float32:
        for mine, other in zip(fused.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(mine.grad, other.grad, rtol=1e-4, atol=1e-4)


def test_every_one_of_a_backbone_is_replaced_and_its_weights_keep_their_names() -> None:
    backbone = timm.create_model("convnextv2_atto", num_classes=0)
    names = list(backbone.state_dict())
    fuse(backbone)
    kinds = {type(module) for module in backbone.modules()}
    assert ResponseNorm in kinds
    assert GlobalResponseNorm not in kinds
    assert list(backbone.state_dict()) == names
