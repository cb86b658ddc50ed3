"""Private names of other libraries that no public one stands for: here alone, each with a test that it is as it was."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from torch import Tensor


def cpu_computes_bf16() -> bool:
    """Whether this processor has AVX-512's instructions for bfloat16, of which PyTorch makes use."""
    import torch

    return bool(torch.cpu._is_avx512_bf16_supported())


def multiply_all(tensors: "Sequence[Tensor]", factor: float) -> None:
    """Multiply tensors in place, all of a device in one go."""
    import torch

    torch._foreach_mul_(list(tensors), factor)


def read_file_meta(file: BinaryIO) -> Any:
    """The file meta information of a DICOM from after its preamble on; ``file`` stands behind it then.

    pydicom's own ``read_file_meta_info`` wants a path.
    """
    from pydicom.filereader import _read_file_meta_info

    return _read_file_meta_info(file)
