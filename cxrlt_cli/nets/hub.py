"""Models of the Hugging Face hub, each in a folder of its own: one commit, safetensors, and a manifest.

A folder is fetched where there is a network and may be copied anywhere. A hub out of reach is found out in seconds.
"""

import os
import shlex
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatch
from http.client import HTTPException
from pathlib import Path
from ssl import SSLError
from threading import Thread
from typing import Literal, NoReturn, TypeVar
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

import huggingface_hub
import timm
from filelock import FileLock
from huggingface_hub import constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors.torch import save_file

from cxrlt_cli.errors import CheckpointError, ModelError, OptionError, explain, listed
from cxrlt_cli.files import cache_root
from cxrlt_cli.nets.encoder_files import check_config, converted, write_encoder
from cxrlt_cli.nets.encoders import ENCODERS, Encoder
from cxrlt_cli.nets.encoders import WHYXRAYCLIP as TOWER
from cxrlt_cli.nets.manifest import MANIFEST, Manifest, sha256, verified
from cxrlt_cli.nets.tensors import read, read_pytorch

T = TypeVar("T")
Kind = Literal["open_clip", "classifier", "backbone", "encoder"]

REACH_SECONDS = 3.0
WEIGHTS: dict[Kind, str] = {
    "open_clip": "open_clip_model.safetensors",
    "classifier": "best.safetensors",
    "backbone": "model.safetensors",
    "encoder": "model.safetensors",
}  # what they are called in a folder of ours
USUAL: dict[Kind, tuple[str, ...]] = {
    "open_clip": ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin"),
    "classifier": (),
    "backbone": ("model.safetensors", "pytorch_model.bin"),
    "encoder": (),
}  # and on the hub
FLAGS: dict[Kind, str] = {
    "open_clip": "--model {}",
    "classifier": "{} as CHECKPOINT",
    "backbone": "--weights {}",
    "encoder": "--weights {}",
}
WITHOUT: dict[Kind, str] = {
    "open_clip": "",
    "classifier": "",
    "encoder": "",
    "backbone": "\nOr start from those that pip has: --weights imagenet --backbone tf_efficientnet_lite0.\n"
    "Or start without them: --weights none, best with a small backbone (--backbone convnextv2_atto).",
}  # what can be done with no network at all
BESIDE = ("open_clip_config.json", "config.json", "tokenizer*", "vocab.*", "merges.txt", "special_tokens_map.json",
          "README.md", "LICENSE*")  # fmt: skip
HUB = "hf-hub:"


@dataclass(frozen=True)
class Source:
    """A model on the hub. ``revision``: a commit by its first digits; or ``main``, whose commit the manifest keeps."""

    name: str
    repository: str
    kind: Kind
    licence: str
    about: str
    revision: str = "main"
    encoder: Encoder | None = None


WHYXRAYCLIP = Source(
    TOWER.name,
    TOWER.repository,
    "open_clip",
    TOWER.licence,
    "ViT-L/14 trained on chest films and their reports",
    TOWER.revision,  # before it, the configuration names another normalisation than the model was trained with
    TOWER,
)
WINNER = Source(
    "cxrlt2026-task1-convnextv2",
    "hieuphamha/cxrlt2026-task1-convnextv2",
    "classifier",
    "none given: research only",
    "the winner of CXR-LT 2026, Task 1",
)
PRESET_BACKBONES = ("convnextv2_base", "convnextv2_atto")


def catalogue() -> list[Source]:
    """The models that have a name here."""
    encoders = [_encoder(one) for one in ENCODERS.values() if one.name != WHYXRAYCLIP.name]
    return [WHYXRAYCLIP, WINNER, *(_backbone(name) for name in PRESET_BACKBONES), *encoders]


def find(name: str) -> Source:
    """The source of a name of the catalogue, of any timm backbone, or of ``hf-hub:OWNER/NAME`` (an open_clip model).

    Raises OptionError where there is none.
    """
    for source in catalogue():
        if name == source.name:
            return source
    if name == "phantom-clip":
        raise OptionError("phantom-clip comes with cxrlt; there is nothing to fetch.", "Pass --model phantom-clip.")
    if name.startswith(HUB):
        repository = name.removeprefix(HUB)
        if repository.count("/") != 1 or repository.startswith("/") or repository.endswith("/"):
            raise OptionError(f"{name} is no repository.", "It is written hf-hub:OWNER/NAME.")
        return Source(name, repository, "open_clip", "as its page says", "an open_clip model")
    if timm.get_pretrained_cfg(name) is not None and timm.is_model(name.partition(".")[0]):
        return _backbone(name)
    known = listed([source.name for source in catalogue()], 20)
    raise OptionError(f"{name} is no model that cxrlt knows.", f"It knows {known}, any timm backbone, and hf-hub:NAME.")


def _encoder(one: Encoder) -> Source:
    return Source(one.name, one.repository, "encoder", one.licence, one.about, one.revision, one)


def _backbone(name: str) -> Source:
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        raise OptionError(
            f"timm has no pretrained weights for {name}.", "Pass --weights none, or a file of weights."
        )  # fmt: skip
    return Source(name, config.hf_hub_id, "backbone", config.license or "as its page says", "a timm backbone")


def home(source: Source) -> Path:
    """Where a model is put when no folder is named."""
    return cache_root() / "models" / source.name.replace(HUB, "").replace("/", "--")


def resolve(source: Source) -> Path:
    """The folder of a model, fetched if it is not on this machine; whoever loads from it holds it against its manifest.

    Raises ModelError as ``pull`` does.
    """
    folder = home(source)
    return folder if folder.exists() else pull(source, folder)


def pull(source: Source, folder: Path) -> Path:
    """Fetch a model into ``folder``, which appears whole or not at all; whole files from before a stop are kept.

    One command at a time: another that wants the same waits. Raises OptionError where the folder holds something else;
    ModelError, within seconds, where the hub is out of reach.
    """
    folder = folder.resolve()
    _require_free(folder)
    if source.encoder is not None and source.encoder.by_hand:
        raise ModelError(f"{source.name} ({source.repository}) cannot be fetched.", source.encoder.by_hand)
    if constants.HF_HUB_OFFLINE:
        _refuse(source, "HF_HUB_OFFLINE is set")
    if reason := _unreachable(f"{constants.ENDPOINT}/{source.repository}/resolve/main/README.md"):
        _refuse(source, reason)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        if (folder / MANIFEST).exists():  # by another command, meanwhile
            verified(folder)
            return folder
        _fetch_into(source, folder)
    return folder


def _fetch_into(source: Source, folder: Path) -> None:
    raw = folder.with_name(f".{folder.name}.download")
    ready = folder.with_name(f".{folder.name}.ready")
    commit, licence, names = _ask(source, lambda: _choose(source))
    for name, digest in names.items():
        path = Path(_ask(source, lambda: huggingface_hub.hf_hub_download(
            source.repository, name, revision=commit, local_dir=raw)))  # noqa: B023  # fmt: skip
        if digest is not None and sha256(path) != digest:
            path.unlink()
            raise ModelError(f"{name} of {source.repository} came with another checksum than the hub names.")
    shutil.rmtree(ready, ignore_errors=True)
    ready.mkdir()
    for name in names:
        if _is_weights(name) and source.kind == "encoder":
            _as_encoder(source, commit, raw / name, ready / WEIGHTS[source.kind])
        elif _is_weights(name):
            _as_safetensors(raw / name, ready / WEIGHTS[source.kind])
        else:
            shutil.copyfile(raw / name, ready / name)
    files = {path.name: sha256(path) for path in sorted(ready.iterdir())}
    Manifest(source.name, source.repository, commit, licence, files, date.today().isoformat()).write(ready)
    if folder.exists():
        folder.rmdir()
    ready.rename(folder)
    shutil.rmtree(raw)


def _require_free(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OptionError(f"{folder} is there already.", "cxrlt models verify checks it; or pass another --out.")


def _ask(source: Source, question: Callable[[], T]) -> T:
    """An answer of the hub's client; its errors are told as ours, those of the disk and of cxrlt as they are."""
    try:
        return question()
    except LocalEntryNotFoundError as error:  # an EntryNotFoundError, and what a network that fails midway gives
        _refuse(source, next(iter(str(error.__cause__ or error).splitlines()), type(error).__name__))
    except (RepositoryNotFoundError, RevisionNotFoundError, EntryNotFoundError) as error:
        terms = source.encoder.terms if source.encoder is not None else ""
        raise ModelError(
            f"The hub has no {source.repository} that may be read from here.",
            f"It asks for more than a network: {terms}."
            if terms
            else "Is its name right? Some models need an account: hf auth login.",
        ) from error
    except Exception as error:  # of whichever HTTP client this version of the hub's package uses
        bug = isinstance(error, AttributeError | TypeError | LookupError | AssertionError | NameError)
        if bug or explain(error) is not None:
            raise
        _refuse(source, next(iter(str(error).splitlines()), type(error).__name__))


def _choose(source: Source) -> tuple[str, str, dict[str, str | None]]:
    """The whole name of the commit, the licence, and which files to fetch, with their sha256 where the hub knows it."""
    api = huggingface_hub.HfApi()
    revision = source.revision
    if revision != "main":  # the hub takes commits by their whole names only
        commits = [commit.commit_id for commit in api.list_repo_commits(source.repository)]
        whole = [commit for commit in commits if commit.startswith(revision)]
        if not whole:
            raise ModelError(f"{source.repository} has no revision {revision} any more.")
        revision = whole[0]
    info = api.model_info(source.repository, revision=revision, files_metadata=True)
    digests = {file.rfilename: file.lfs.sha256 if file.lfs else None for file in info.siblings or ()}
    licence = getattr(info.card_data, "license", None) or source.licence
    weights = _pick_weights(source, digests)
    kept = BESIDE if source.encoder is None else (*BESIDE, source.encoder.config)
    beside = [name for name in digests if "/" not in name and any(fnmatch(name, pattern) for pattern in kept)]
    return info.sha or revision, str(licence), {name: digests[name] for name in (*beside, weights)}


def _pick_weights(source: Source, names: Iterable[str]) -> str:
    """The one file of weights: by its usual names, in their order; or else the only one that there is."""
    found = [name for name in names if _is_weights(name) and "/" not in name]
    if source.kind == "encoder" and source.encoder is not None:
        found = [name for name in found if name == source.encoder.file]
    usual = [name for name in USUAL[source.kind] if name in found]
    safe = [name for name in found if name.endswith(".safetensors")] or found
    if not usual and len(safe) != 1:
        raise ModelError(f"{source.repository} has {len(safe)} files of weights ({listed(safe)}); one was expected.")
    return (usual or safe)[0]


def _is_weights(name: str) -> bool:
    return name.endswith((".safetensors", ".bin", ".pth", ".pt"))


def _as_encoder(source: Source, commit: str, path: Path, out: Path) -> None:
    """An encoder's file under timm's names; raises ModelError where it, or what lies beside it, is not what we know."""
    assert source.encoder is not None, "it is of that kind"
    try:
        check_config(source.encoder, path.parent)
        tensors = converted(read(path).tensors, source.encoder, path)
    except CheckpointError as error:
        raise ModelError(f"{source.name} was fetched and is not used: {error.message}", error.hint) from error
    write_encoder(tensors, source.encoder, commit, out)


def _as_safetensors(path: Path, out: Path) -> None:
    """Copy a file of weights, converted where it is a pickle; only tensors are ever unpickled."""
    if path.suffix == ".safetensors":
        try:
            os.link(path, out)
        except OSError:  # not on this file system
            shutil.copyfile(path, out)
        return
    try:
        tensors = read_pytorch(path)
    except (RuntimeError, EOFError, ValueError) as error:
        raise ModelError(f"{path.name} was fetched and cannot be read: {error}.".replace("\n", " ")) from error
    save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, out)


def _refuse(source: Source, reason: str) -> NoReturn:
    folder = home(source).name
    raise ModelError(
        f"{source.name} ({source.repository}) is not on this machine, and {constants.ENDPOINT} cannot be reached: "
        f"{reason.rstrip('.')}.",
        f"On a machine with a network run\n  cxrlt models pull {shlex.quote(source.name)} --out {shlex.quote(folder)}\n"
        f"copy the folder {folder} over and pass {FLAGS[source.kind].format(folder)}.{WITHOUT[source.kind]}",
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
            if error.code >= 500:
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
