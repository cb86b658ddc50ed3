"""What a fetched folder holds: checksums, and where it came from. What has a manifest is checked before it is used."""

import hashlib
import json
import shlex
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from cxrlt_cli import __version__
from cxrlt_cli.documents import read_json
from cxrlt_cli.errors import CheckpointError, listed
from cxrlt_cli.files import write_text
from cxrlt_cli.names import fault_of_id, shown

MANIFEST = "manifest.json"
BEST = "best.safetensors"  # of the weights of a run, in its folder
HINT = "Fetch the model again, or delete the file if the folder is your own."


@dataclass(frozen=True)
class Manifest:
    """What a folder holds and where it came from; ``files``: sha256 by name."""

    name: str
    repository: str
    revision: str
    licence: str
    files: dict[str, str]
    fetched: str
    cxrlt: str = __version__
    open_clip: str = version("open_clip_torch")

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Raises CheckpointError where the folder has none, or none that can be read."""
        path = folder / MANIFEST
        try:
            values = read_json(path)
            if not isinstance(values, dict):
                raise ValueError("it is no JSON object")
            manifest = cls(**values)
        except FileNotFoundError as error:
            raise CheckpointError(
                f"{folder} has no {MANIFEST}, so it cannot be checked.", "cxrlt models pull writes one."
            ) from error
        except (OSError, ValueError, TypeError) as error:
            raise CheckpointError(f"{path} cannot be read: {error}.", HINT) from error
        texts = (manifest.name, manifest.repository, manifest.revision, manifest.licence, manifest.fetched)
        if not all(isinstance(text, str) for text in texts) or not isinstance(manifest.files, dict):
            raise CheckpointError(f"{path} cannot be read: its values are of another kind.", HINT)
        for name, digest in manifest.files.items():
            if fault := fault_of_id(name):
                raise CheckpointError(f"{path} names the file {shown(name)}, which {fault}.", HINT)
            if not isinstance(digest, str):
                raise CheckpointError(f"{path} has no sha256 of {shown(name)}.", HINT)
        if not any(name.endswith(".safetensors") for name in manifest.files):
            raise CheckpointError(f"{path} names no file of weights.", HINT)
        return manifest

    def write(self, folder: Path) -> None:
        write_text(folder / MANIFEST, json.dumps(asdict(self), indent=2) + "\n")

    def faults(self, folder: Path) -> list[str]:
        """What is missing from the folder, or is not what it was."""
        return [
            f"{name} {'differs' if (folder / name).is_file() else 'is missing'}"
            for name in self.files
            if not self.holds(folder, name)
        ]

    def holds(self, folder: Path, name: str) -> bool:
        """Whether a file is there, and what it was."""
        return (folder / name).is_file() and sha256(folder / name) == self.files[name]


def verified(folder: Path) -> Manifest:
    """The manifest of a folder whose files are all as it says; raises CheckpointError where they are not."""
    manifest = Manifest.read(folder)
    if faults := manifest.faults(folder):
        raise CheckpointError(
            f"{folder} is not what was fetched: {listed(faults)}.",
            f"Delete it and fetch it again: cxrlt models pull {shlex.quote(manifest.name)}",
        )
    return manifest


def check(folder: Path) -> bool:
    """Hold a folder against its manifest; False where it has none."""
    if not (folder / MANIFEST).exists():
        return False
    verified(folder)
    return True


def check_file(path: Path) -> bool:
    """Hold a file against the manifest that lies beside it; False where there is none, or none that names it."""
    if not (path.parent / MANIFEST).exists():
        return False
    manifest = Manifest.read(path.parent)
    if path.name not in manifest.files:
        return False
    if not manifest.holds(path.parent, path.name):
        raise CheckpointError(
            f"{path} is not what was fetched.",
            f"Delete its folder and fetch it again: cxrlt models pull {shlex.quote(manifest.name)}",
        )
    return True


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
