"""ConvNeXtV2's global response normalization (Woo et al., CVPR 2023, arXiv:2301.00808) in one pass over its input.

``x + (weight * x * n + bias)``, with ``n`` the norm of each channel over the map, by their mean, is
``x * (1 + weight * n) + bias``: the factor has one value a film and channel, and nothing as large as ``x`` is kept for
the gradient but ``x``. timm's makes three arrays of that size, in float32 where the rest is in bf16.
"""

import torch
from timm.layers.grn import GlobalResponseNorm
from torch import Tensor, nn


class ResponseNorm(GlobalResponseNorm):
    """As timm's, weights included."""

    def forward(self, x: Tensor) -> Tensor:
        """``[N, H, W, D]``, or ``[N, D, H, W]`` where it was made so, to the same; the factor is float32."""
        norm = torch.linalg.vector_norm(x, dim=self.spatial_dim, keepdim=True, dtype=torch.float32)
        relative = norm / (norm.mean(dim=self.channel_dim, keepdim=True) + self.eps)
        factor = 1 + self.weight.view(self.wb_shape) * relative
        return torch.addcmul(self.bias.view(self.wb_shape).to(x.dtype), x, factor.to(x.dtype))


def fuse(module: nn.Module) -> None:
    """Have every ``GlobalResponseNorm`` in ``module`` computed in one pass."""
    for name, child in module.named_children():
        if type(child) is GlobalResponseNorm:
            fused = ResponseNorm(len(child.weight), child.eps, child.channel_dim == -1)
            fused.load_state_dict(child.state_dict())
            setattr(module, name, fused.to(child.weight.device))
        else:
            fuse(child)
