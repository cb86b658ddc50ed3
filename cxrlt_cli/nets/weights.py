"""Weights that a backbone starts from: timm's hub, a file, a folder. A hub out of reach is found out in seconds."""

from http.client import HTTPException
from pathlib import Path
from ssl import SSLError
from threading import Thread
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

import huggingface_hub
import timm
from huggingface_hub import constants
from torch import Tensor

from cxrlt_cli.errors import CheckpointError, ModelError, OptionError
from cxrlt_cli.nets.checkpoints import read_tensors

FILE_NAMES = ("model.safetensors", "pytorch_model.bin")
REACH_SECONDS = 4.0


def starting_weights(backbone: str, weights: str) -> dict[str, Tensor] | None:
    """The tensors that ``--weights`` names for a timm backbone; None for ``none``.

    ``pretrained`` looks into the hub's local cache first, then at the hub. Raises ModelError, within seconds, where
    neither has them; CheckpointError where a file or folder holds none.
    """
    if weights == "none":
        return None
    path = _fetch(backbone) if weights == "pretrained" else _find(Path(weights))
    tensors, _ = read_tensors(path)
    own = {name.removeprefix("backbone."): tensor for name, tensor in tensors.items() if name.startswith("backbone.")}
    return own or tensors


def _find(path: Path) -> Path:
    if path.is_dir():
        for name in FILE_NAMES:
            if (path / name).is_file():
                return path / name
        raise CheckpointError(f"--weights {path} has no {' and no '.join(FILE_NAMES)}.")
    if not path.exists():
        raise CheckpointError(
            f"--weights {path} does not exist.", "Pass pretrained, none, or a file or folder of weights."
        )
    return path


def _fetch(backbone: str) -> Path:
    config = timm.get_pretrained_cfg(backbone)
    if config is None or not config.hf_hub_id:
        raise OptionError(
            f"timm has no pretrained weights for {backbone}.", "Pass --weights none, or a file of weights."
        )
    repository = config.hf_hub_id
    names = (config.hf_hub_filename,) if config.hf_hub_filename else FILE_NAMES
    for name in names:
        cached = huggingface_hub.try_to_load_from_cache(repository, name)
        if isinstance(cached, str):
            return Path(cached)
    url = f"{constants.ENDPOINT}/{repository}/resolve/main/{names[0]}"
    reason = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else _unreachable(url)
    if reason is None:
        try:
            return Path(huggingface_hub.hf_hub_download(repository, names[0]))
        except Exception as error:  # of whichever HTTP client this version of the hub's package uses
            reason = next(iter(str(error).splitlines()), type(error).__name__)
    raise ModelError(
        f"The weights of {backbone} ({repository}) are not on this machine, and {constants.ENDPOINT} "
        f"cannot be had: {reason}.",
        "Offline: on a machine with a network run\n"
        f"  hf download {repository} model.safetensors --local-dir {backbone}\n"
        f"copy the folder {backbone} over and pass --weights {backbone}. To start from nothing: --weights none.",
    )


def _unreachable(url: str) -> str | None:
    """Why there is no answer for a URL, or None where there is one.

    Asked once, on a clock that also covers the lookup of the name: the hub's own client asks five times, for up to
    48 s, and prints a page about it.
    """
    reasons: list[str] = []

    def ask() -> None:
        try:
            build_opener(_NoRedirect).open(Request(url, method="HEAD"), timeout=REACH_SECONDS).close()
        except HTTPError as error:
            if error.code >= 400:
                reasons.append(f"HTTP {error.code}")
            error.close()
        except URLError as error:
            if not isinstance(error.reason, SSLError):  # the hub's client may trust other certificates
                reasons.append(str(error.reason))
        except (OSError, HTTPException) as error:
            reasons.append(str(error) or type(error).__name__)

    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(REACH_SECONDS + 1)
    return f"no answer within {REACH_SECONDS:g} s" if thread.is_alive() else next(iter(reasons), None)


class _NoRedirect(HTTPRedirectHandler):
    """To be sent elsewhere is an answer."""

    def redirect_request(self, *_: object) -> None:
        return None
