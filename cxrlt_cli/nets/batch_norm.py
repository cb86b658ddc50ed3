"""Batch norm whose statistics are of the whole batch, wherever its films are.

torch's own ``SyncBatchNorm`` computes the same, on GPUs alone; this one also on CPUs, where it can be tested.
"""

from typing import Any

import torch
from torch import Tensor, distributed, nn


class SynchronizedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """``BatchNorm1d`` or ``BatchNorm2d`` over the batches of all processes; the same state."""

    def _check_input_dim(self, input: Tensor) -> None:
        assert input.ndim >= 2, input.shape

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        axes = [axis for axis in range(input.ndim) if axis != 1]
        shape = [1, -1, *[1] * (input.ndim - 2)]
        wide = input.float()  # sums of many values overflow in fp16
        number = _summed(wide.new_tensor(wide.numel() / wide.shape[1]))
        mean = _summed(wide.sum(dim=axes)) / number
        centred = wide - mean.view(shape)
        variance = _summed(centred.square().sum(dim=axes)) / number
        self._remember(mean.detach(), variance.detach() * number / (number - 1))
        scale = (variance + self.eps).rsqrt() * self.weight
        normalized: Tensor = centred * scale.view(shape) + self.bias.view(shape)
        return normalized.to(input.dtype)

    def _remember(self, mean: Tensor, unbiased: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(unbiased, self.momentum)


class _Sum(torch.autograd.Function):
    """Over all processes; gradients are summed on their way back."""

    @staticmethod
    def forward(_: Any, values: Tensor) -> Tensor:
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        (gradient,) = gradients
        total = gradient.clone()
        distributed.all_reduce(total)
        return total


def _summed(values: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(values)
    return total


def synchronize(module: nn.Module) -> nn.Module:
    """Have every ``BatchNorm1d`` and ``BatchNorm2d`` in ``module`` synchronized; gives it, or what replaces it."""
    if type(module) in (nn.BatchNorm1d, nn.BatchNorm2d):
        assert isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
        synchronized = SynchronizedBatchNorm(module.num_features, module.eps, module.momentum)
        synchronized.load_state_dict(module.state_dict())
        return synchronized.to(module.weight.device)
    for name, child in module.named_children():
        setattr(module, name, synchronize(child))
    return module
