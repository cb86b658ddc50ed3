"""Files of weights: tensors by name, from safetensors or PyTorch, held against the checksum that is with them.

Nothing that could run code is ever unpickled.
"""

import json
import mmap
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import xxhash
from safetensors import SafetensorError, safe_open
from torch import Tensor

from cxrlt_cli.documents import parse_json
from cxrlt_cli.errors import CheckpointError, listed
from cxrlt_cli.names import meant_path
from cxrlt_cli.nets.manifest import BEST, check, check_file

END = '"}'  # of a header, behind its digest
_SEALED = re.compile(r'(?P<before>.*"digest": ")(?P<digest>[0-9a-f]{32})"\}', re.DOTALL)
HINT = "Ask its author for a safetensors file."


def sealed(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """A header as JSON, whose last value, ``digest``, is a checksum of the others' text and of all tensors."""
    text = json.dumps({**header, "digest": ""})
    return text[: -len(END)] + digest(text, tensors) + END


def _is_whole(text: str, tensors: Mapping[str, Tensor]) -> bool | None:
    """Whether a header and its tensors are what was sealed; None where they were not."""
    match = _SEALED.fullmatch(text)
    return None if match is None else digest(match["before"] + END, tensors) == match["digest"]


def digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    """A checksum of a text, and of names, types, shapes and bytes of tensors, in hexadecimal digits."""
    found = xxhash.xxh3_128(text.encode())
    for name, tensor in sorted(tensors.items()):
        found.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        found.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """The tensors of a safetensors or PyTorch file in float32, and the header that cxrlt wrote, if it did.

    A folder, of a run or as ``hub`` fetched it, stands for its ``best.safetensors``.

    Raises CheckpointError where the file is missing, damaged, or holds more than tensors.
    """
    content = read(path)
    return content.tensors, content.header


@dataclass(frozen=True)
class Content:
    """What a file of weights holds, and what told that it is whole: a digest in its header, a manifest beside it."""

    tensors: dict[str, Tensor]
    header: dict[str, Any] | None
    has_digest: bool = False
    has_manifest: bool = False

    @property
    def checked(self) -> bool:
        return self.has_digest or self.has_manifest


def read(path: Path) -> Content:
    """As ``read_tensors``."""
    has_manifest = False
    if path.is_dir() and (path / BEST).is_file():
        has_manifest = check(path)
        path = path / BEST
    if not path.is_file():
        if not path.is_dir():
            hint = "Pass a checkpoint, such as runs/train-1/best.safetensors."
            raise CheckpointError(f"{path} does not exist.{meant_path(path)}", hint)
        runs = sorted(str(run) for run in path.iterdir() if (run / BEST).is_file())
        hint = f"Pass one of its runs: {listed(runs)}." if runs else "Pass a checkpoint, or the folder of a run."
        raise CheckpointError(f"{path} is a folder without {BEST}.", hint)
    has_manifest = has_manifest or check_file(path)
    try:
        if not _is_safetensors(path):
            return Content(_all_widened(read_pytorch(path)), None, has_manifest=has_manifest)
        tensors, said = _read_safetensors(path)
        text = said.get("cxrlt")
        if text is None and any(_SEALED.fullmatch(value) for value in said.values()):
            raise ValueError("its header stands under another name")
        is_whole = None if text is None else _is_whole(text, tensors)
        if is_whole is False:
            raise ValueError("its checksum is that of other weights")
        header = parse_json(text) if text else None
        if text and not isinstance(header, dict):
            raise ValueError("its header is no JSON object")
        return Content(_all_widened(tensors), header, is_whole is not None, has_manifest)
    except (SafetensorError, *_FAULTS) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> CheckpointError:
    reason = " ".join(str(error).split())
    return CheckpointError(f"{path} is damaged or no file of weights ({reason[:300]}).")


# What torch, its unpickler and JSON raise on damaged files.
_FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)


def _all_widened(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: _widened(tensor) for name, tensor in tensors.items()}


def _widened(tensor: Tensor) -> Tensor:
    """In float32; one of few numbers that are repeated to many, which only a file made for it holds, is refused."""
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ValueError("a tensor is larger than what is stored of it")
    return tensor.float() if tensor.is_floating_point() else tensor


def _is_safetensors(path: Path) -> bool:
    """By its first bytes, the length of a header in JSON; a damaged file of that name is one too."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{" or path.suffix == ".safetensors"


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Its tensors, and what its header says besides."""
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118


def read_pytorch(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.pth`` or ``.bin`` file; raises CheckpointError where it holds more than that."""
    with path.open("rb") as file:
        if not file.read(4).startswith((b"PK\x03\x04", b"\x80")):  # a zip file or a pickle
            raise CheckpointError(
                f"{path} is no file of weights.",
                "Pass a .safetensors file, or a .pth file of tensors. Prediction CSVs go to ensemble and evaluate.",
            )
    try:
        _check_pytorch(path)
        with warnings.catch_warnings():  # of versions of pickle; what cannot be read is an error
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, *_FAULTS) as error:  # OSError: torch seeks to where a damaged file points
        raise _damaged(path, error) from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is not read: it holds more than tensors, which could run code on this machine.",
            HINT,
        ) from error
    for key in ("model_state_dict", "state_dict", "model", "module"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"{path} holds no dictionary of tensors.")
    return {str(name).removeprefix("module."): tensor for name, tensor in content.items()}


def _check_pytorch(path: Path) -> None:
    """What torch's own unpickler, which runs nothing, would still fill all memory with.

    PyTorch's files are zip files whose members are stored as they are: compressed ones inflate without end. Of all that
    the unpickler may call, ``bytearray`` alone takes a number of bytes to make; no tensor needs it.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content.find(b"bytearray") >= 0:
            raise CheckpointError(f"{path} is not read: it holds more than tensors.", HINT)
    try:
        with zipfile.ZipFile(path) as parts:
            members = parts.infolist()
    except (zipfile.BadZipFile, NotImplementedError):
        return  # no zip file: a pickle of an older PyTorch, or damage, which torch.load raises on right after this
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise CheckpointError(f"{path} is compressed, which no file of PyTorch is.", HINT)
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise CheckpointError(f"{path} is damaged: its parts are larger than the file.")
