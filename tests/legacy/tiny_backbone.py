"""A backbone of 1,600 parameters, known to timm by name where this module is imported: checkpoints of a few kB."""

from typing import Any

from timm.models import register_model
from torch import Tensor, nn

NAME = "cxrlt_tiny"
WIDTH = 8


class Tiny(nn.Module):
    """``[N, 3, S, S]`` to ``[N, 8, S / 8, S / 8]``."""

    def __init__(self) -> None:
        super().__init__()
        self.pretrained_cfg: dict[str, Any] = {}
        self.conv = nn.Conv2d(3, WIDTH, 8, stride=8)
        self.norm = nn.GroupNorm(1, WIDTH)
        self.act = nn.GELU()

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.act(self.norm(self.conv(images)))
        return maps


@register_model
def cxrlt_tiny(pretrained: bool = False, **_: Any) -> Tiny:
    assert not pretrained, "it has no weights"
    return Tiny()
