"""What a fetched folder holds: checksums, and where it came from. What has a manifest is checked before it is used."""

import hashlib
import json
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from cxrlt_cli import __version__
from cxrlt_cli.errors import CheckpointError, listed
from cxrlt_cli.files import write_text

MANIFEST = "manifest.json"


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
        try:
            manifest = cls(**json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
        except FileNotFoundError as error:
            raise CheckpointError(
                f"{folder} has no {MANIFEST}, so it cannot be checked.", "cxrlt models pull writes one."
            ) from error
        except (OSError, ValueError, TypeError) as error:
            raise CheckpointError(f"{folder / MANIFEST} cannot be read: {error}.") from error
        if not isinstance(manifest.files, dict) or not any(name.endswith(".safetensors") for name in manifest.files):
            raise CheckpointError(f"{folder / MANIFEST} names no file of weights.")
        return manifest

    def write(self, folder: Path) -> None:
        write_text(folder / MANIFEST, json.dumps(asdict(self), indent=2) + "\n")

    def faults(self, folder: Path) -> list[str]:
        """What is missing from the folder, or is not what it was."""
        return [
            f"{name} {'differs' if (folder / name).is_file() else 'is missing'}"
            for name, digest in self.files.items()
            if not (folder / name).is_file() or sha256(folder / name) != digest
        ]


def verified(folder: Path) -> Manifest:
    """The manifest of a folder whose files are all as it says; raises CheckpointError where they are not."""
    manifest = Manifest.read(folder)
    if faults := manifest.faults(folder):
        raise CheckpointError(
            f"{folder} is not what was fetched: {listed(faults)}.",
            f"Delete it and fetch it again: cxrlt models pull {manifest.name}",
        )
    return manifest


def check(folder: Path) -> None:
    """Hold a folder against its manifest, if it has one."""
    if (folder / MANIFEST).exists():
        verified(folder)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
