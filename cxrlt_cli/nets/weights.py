"""Weights that a backbone starts from: timm's hub, a file, a folder. A hub out of reach is found out in seconds."""

from pathlib import Path
from ssl import SSLError
from threading import Thread
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import huggingface_hub
import timm
from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled
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
    repository = config.hf_hub_id if config else None
    if not repository:
        raise OptionError(
            f"timm has no pretrained weights for {backbone}.", "Pass --weights none, or a file of weights."
        )
    for name in FILE_NAMES:
        cached = huggingface_hub.try_to_load_from_cache(repository, name)
        if isinstance(cached, str):
            return Path(cached)
    reason = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else _unreachable(constants.ENDPOINT)
    if reason is None:
        try:
            return Path(huggingface_hub.hf_hub_download(repository, FILE_NAMES[0]))
        except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
            reason = str(error).splitlines()[0]
    raise ModelError(
        f"The weights of {backbone} ({repository}) are not on this machine, and {constants.ENDPOINT} "
        f"cannot be had: {reason}.",
        "Offline: on a machine with a network run\n"
        f"  hf download {repository} model.safetensors --local-dir {backbone}\n"
        f"copy the folder {backbone} over and pass --weights {backbone}. To start from nothing: --weights none.",
    )


def _unreachable(endpoint: str) -> str | None:
    """Why the endpoint gives no answer, or None where it gives one: asked once, on a clock that also covers the lookup
    of its name. The hub's own client would ask five times and print a page about it."""
    reasons: list[str] = []

    def ask() -> None:
        try:
            urlopen(Request(endpoint, method="HEAD"), timeout=REACH_SECONDS).close()
        except HTTPError as error:
            error.close()
        except URLError as error:
            if not isinstance(error.reason, SSLError):  # the hub's client may trust other certificates
                reasons.append(str(error.reason))
        except OSError as error:
            reasons.append(str(error))

    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(REACH_SECONDS + 1)
    return f"no answer within {REACH_SECONDS:g} s" if thread.is_alive() else next(iter(reasons), None)
