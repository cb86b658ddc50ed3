"""A run of several members (``train --folds``, ``--seeds``) where a checkpoint is asked for."""

import re
from collections.abc import Sequence
from pathlib import Path

from cxrlt_cli.config import EnsembleOptions
from cxrlt_cli.errors import CheckpointError
from cxrlt_cli.nets.manifest import BEST

_FOLDER = re.compile(r"(?:fold|seed)-(\d+)")


def members_in(path: Path) -> list[Path]:
    """The folders of the members of a run, seed by seed and fold by fold; none where it is one run, or no folder."""
    if not path.is_dir() or (path / BEST).is_file():
        return []
    folders = [folder for folder in path.iterdir() if _FOLDER.fullmatch(folder.name) and folder.is_dir()]
    folders.sort(key=lambda folder: int(folder.name.partition("-")[2]))
    return [member for folder in folders for member in members_in(folder) or [folder]]


def out_of_fold(path: Path) -> Path | None:
    """What the members of a run with folds predicted of the films that each did not see; None where there is none."""
    table = path / "oof_predictions.csv"
    return table if members_in(path) and table.is_file() else None


def with_members(options: EnsembleOptions) -> EnsembleOptions:
    """Options that name each member of such a run; a weight of its folder is shared out among them.

    With ``--fit``, a run with folds stays one member, which is judged by what it predicted out of fold.

    Raises CheckpointError where a run has not ended: some of its members may be missing, or not be what they will be.
    """
    named = [members_in(path) or [path] for path in options.members]
    for path, group in zip(options.members, named, strict=True):
        if group != [path]:
            require_ended(path, group)
    pairs = zip(options.members, named, strict=True)
    groups = [[path] if options.fit and out_of_fold(path) else group for path, group in pairs]
    members = tuple(member for group in groups for member in group)
    if members == options.members:
        return options
    changes: dict[str, object] = {"members": members}
    if options.weights is not None and len(options.weights) == len(groups):
        shares = zip(options.weights, groups, strict=True)
        changes["weights"] = tuple(weight / len(group) for weight, group in shares for _ in group)
    return options.model_copy(update=changes)


def require_ended(path: Path, members: Sequence[Path]) -> None:
    """Raise CheckpointError where a run of several members has not ended."""
    if not (path / "metrics.json").is_file():
        raise CheckpointError(
            f"The run in {path} has not ended: it has no metrics.json of all its members yet.",
            f"Go on with the command that began it, and --resume. Or name those to take, such as {members[0]}.",
        )


def require_single(path: Path, way_out: str | None = None) -> None:
    """Raise CheckpointError where a path is a run of several members and one is asked for; ``way_out``: with all."""
    if members := members_in(path):
        way_out = way_out or f"All of them predict together with cxrlt ensemble {path}."
        raise CheckpointError(f"{path} holds {len(members)} members.", f"{way_out} For one, name it: {members[0]}.")
