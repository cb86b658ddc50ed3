"""A GPU that is only pretended: PyTorch's fake tensors know shapes and devices, and compute nothing.

An operation on tensors of two devices is an error there as on a GPU, so that a tensor left on the CPU by mistake is
found without one. Pretended too is what would ask the driver: streams, events, pinned memory, and ``backward``.
"""

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch._subclasses import fake_impls
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode

GPU = torch.device("cuda", 0)


@contextmanager
def pretended_gpu(*modules: Any) -> Iterator[list[Any]]:
    """A context in which tensors are fake, on the CPU and on ``cuda:0`` alike; gives these modules with such ones."""
    make_generator = torch.Generator
    replaced: dict[str, Any] = {
        "torch.cuda.is_available": lambda: True,
        "torch.cuda.device_count": lambda: 1,
        "torch.cuda.is_bf16_supported": lambda *_: True,
        "torch.cuda.synchronize": lambda *_: None,
        "torch.cuda.is_current_stream_capturing": lambda: False,
        "torch.cuda.current_stream": mock.Mock(),
        "torch.cuda.Stream": mock.Mock(),
        "torch.cuda.Event": mock.Mock(),
        "torch.cuda.stream": lambda _: nullcontext(),
        "torch.cuda.get_rng_state": lambda *_: torch.get_rng_state(),
        "torch.random.fork_rng": lambda *_: nullcontext(),
        "torch.Generator": lambda *_, **__: make_generator(),
        "torch.Tensor.record_stream": lambda *_: None,
        "torch.Tensor.backward": _backward,
        "torch.nn.Module.to": _moved,
        "timm.utils.model_ema.deepcopy": _copied,
        "cxrlt_cli.engine.precision.deepcopy": _copied,
        "cxrlt_cli.training.batch_size.deepcopy": _copied,
        "torch._subclasses.fake_tensor.FakeTensorMode.avoid_device_init": True,
        "torch._subclasses.fake_tensor.init_gpu_context": lambda _: None,
    }
    scalars = {torch.ops.aten._local_scalar_dense.default: _scalar}
    with ExitStack() as stack:
        for name, value in replaced.items():
            stack.enter_context(mock.patch(name, value))
        stack.enter_context(mock.patch.dict(fake_impls.op_implementations_dict, scalars))
        mode = FakeTensorMode()
        with FakeCopyMode(mode):
            fakes = [copy.deepcopy(module) for module in modules]
        stack.enter_context(mode)
        yield fakes


def devices_of(module: nn.Module) -> set[torch.device]:
    return {tensor.device for tensor in (*module.parameters(), *module.buffers())}


def _copied(module: nn.Module) -> nn.Module:
    """``deepcopy`` of a module whose tensors are fake."""
    memo: dict[int, object] = {}
    for tensor in (*module.parameters(), *module.buffers()):
        twin = tensor.detach().clone()
        memo[id(tensor)] = nn.Parameter(twin, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else twin
    return copy.deepcopy(module, memo)


def _moved(module: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
    """``Module.to`` in new tensors: it swaps the data of old ones, which fake ones do not allow."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                data = parameter.detach().to(*args, **kwargs)
                part._parameters[name] = nn.Parameter(data, parameter.requires_grad)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = buffer.to(*args, **kwargs)
    return module


def _backward(loss: Tensor, *_: Any, **__: Any) -> None:
    """A gradient for each parameter that the loss depends on, of its shape, type and device."""
    waiting, known = [loss.grad_fn], set()
    while waiting:
        node: Any = waiting.pop()
        if node is None or node in known:
            continue
        known.add(node)
        if hasattr(node, "variable"):
            node.variable.grad = torch.empty_like(node.variable)
        waiting.extend(following for following, _ in node.next_functions)


def _scalar(_mode: FakeTensorMode, _operation: object, tensor: Tensor) -> float | int | bool:
    """What ``item`` gives: a fake tensor has no value of its own."""
    if tensor.dtype is torch.bool:
        return True
    return 1.0 if tensor.is_floating_point() else 1
