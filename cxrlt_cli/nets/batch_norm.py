"""Batch norm whose statistics are of the whole batch, wherever its films are; and what it needs to have any.

On GPUs they are timm's and torch's own, which need one; these compute the same on CPUs.
"""

from collections.abc import Callable, Iterable
from copy import deepcopy
from itertools import islice
from typing import Any

import torch
from timm.layers import BatchNormAct2d, convert_sync_batchnorm  # type: ignore[attr-defined]
from torch import Tensor, distributed, nn
from torch.nn.functional import batch_norm

Sum = Callable[[Tensor], Tensor]


class SynchronizedBatchNorm(nn.BatchNorm2d):
    """``BatchNorm1d`` or ``BatchNorm2d`` over the batches of all processes; the same state."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            batch = self.running_mean is None
            return batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, batch, 0.0, self.eps)
        axes = [axis for axis in range(input.ndim) if axis != 1]
        shape = [1, -1, *[1] * (input.ndim - 2)]
        wide = input.to(torch.promote_types(input.dtype, torch.float32))  # sums of many values overflow in fp16
        number = _summed(wide.new_tensor(wide.numel() / wide.shape[1]))
        mean = _summed(wide.sum(dim=axes)) / number
        centred = wide - mean.view(shape)
        variance = _summed(centred.square().sum(dim=axes)) / number
        if self.track_running_stats:
            self._remember(mean.detach(), variance.detach() * number / (number - 1))
        normalized: Tensor
        if self.affine:
            scale = (variance + self.eps).rsqrt() * self.weight
            normalized = centred * scale.view(shape) + self.bias.view(shape)
        else:
            normalized = centred * (variance + self.eps).rsqrt().view(shape)
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


class SynchronizedBatchNormAct(SynchronizedBatchNorm):
    """timm's ``BatchNormAct2d``, which has its activation in itself."""

    drop: nn.Module
    act: nn.Module

    def forward(self, input: Tensor) -> Tensor:
        activated: Tensor = self.act(self.drop(super().forward(input)))
        return activated


def synchronize(module: nn.Module, device: torch.device) -> nn.Module:
    """Have every batch norm in ``module`` synchronized for training on ``device``; gives it, or what replaces it."""
    if device.type != "cuda":
        return _synchronize(module)
    converted: nn.Module = convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
    return converted


def _synchronize(module: nn.Module) -> nn.Module:
    if type(module) in (nn.BatchNorm1d, nn.BatchNorm2d):
        assert isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
        return _like(module, SynchronizedBatchNorm(*_settings(module)))
    if type(module) is BatchNormAct2d:
        synchronized = SynchronizedBatchNormAct(*_settings(module))
        synchronized.drop, synchronized.act = module.drop, module.act
        return _like(module, synchronized)
    for name, child in module.named_children():
        setattr(module, name, _synchronize(child))
    return module


def _settings(norm: Any) -> tuple[Any, ...]:
    return norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats


def _like(norm: nn.Module, synchronized: nn.Module) -> nn.Module:
    """In the state of ``norm``, where that is and in its precision."""
    state = norm.state_dict()
    for tensor in islice(state.values(), 1):
        synchronized.to(tensor.device, tensor.dtype)
    synchronized.load_state_dict(state)
    return synchronized


def norms_of(module: nn.Module) -> list[nn.BatchNorm1d | nn.BatchNorm2d]:
    """Those batch norms that keep statistics."""
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d)
    return [each for each in module.modules() if isinstance(each, kinds) and each.track_running_stats]


def recompute(module: nn.Module, batches: Iterable[Any], run: Callable[[Any], object], summed: Sum) -> None:
    """Give batch norms the mean over ``batches`` of their statistics; each batch is normalised by its own meanwhile.

    For weights that were averaged: statistics are of what these weights give, no mean of statistics is. All else is in
    eval mode. ``summed``: over the processes, which each have batches of their own.
    """
    module.eval()
    norms = norms_of(module)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all
        norm.train()
    with torch.no_grad():
        for batch in batches:
            run(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert norm.num_batches_tracked is not None
        number = norm.num_batches_tracked.double()
        for statistic in (norm.running_mean, norm.running_var):
            statistic.copy_(summed(statistic.double() * number) / summed(number))
        norm.momentum = momentum
    module.eval()


def starved(module: nn.Module, run: Callable[[Any], object]) -> str | None:
    """The name of the first batch norm in ``module`` that gets a single value of a feature while ``module`` is run.

    It learns, and has no variance then; torch raises ValueError. ``run`` is given a copy of ``module``.
    """
    copy = deepcopy(module)
    names = {each: name for name, each in copy.named_modules()}
    found: list[str] = []

    def look(norm: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        if norm.training and arguments[0].numel() == arguments[0].shape[1]:
            found.append(names[norm])

    for each in names:
        if isinstance(each, nn.BatchNorm1d | nn.BatchNorm2d):
            each.register_forward_pre_hook(look)
    try:
        with torch.no_grad(), torch.random.fork_rng([]):
            run(copy)
    except ValueError:
        if not found:
            raise
    return next(iter(found), None)
