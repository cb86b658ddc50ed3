"""The runs of one command: one, or a member for each of its ``--seeds`` and ``--folds``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cxrlt_cli.config import FitOptions
from cxrlt_cli.engine.cluster import started_already
from cxrlt_cli.engine.films import Division, LabelledFilms
from cxrlt_cli.training.run_folder import RunFolder


@dataclass(frozen=True)
class Member:
    """One run, with options as if it had been asked for alone."""

    name: str  # of its folder in that of the command; empty where it is the only one
    options: FitOptions
    folder: RunFolder
    training: LabelledFilms
    validation: LabelledFilms


def members_of(options: FitOptions, folder: RunFolder, division: Division) -> list[Member]:
    """Seed by seed, and fold by fold; of ``--fold`` that one alone.

    All seeds have the same folds, or the same films held out: what differs between them is the training alone.
    """
    members = []
    for seed in range(options.seed, options.seed + (options.seeds or 1)):
        for fold, (training, validation) in enumerate(division.pairs, 1):
            if options.fold not in (None, fold):
                continue
            parts: list[str] = []
            changes: dict[str, object] = {}
            if options.seeds:
                parts.append(f"seed-{seed}")
                changes |= {"seed": seed, "seeds": None}
                changes |= {} if options.val_csv else {"split_seed": options.seed_of_split}
            if options.folds:
                parts.append(f"fold-{fold}")
                changes |= {"fold": fold}
            mine = options.model_copy(update=changes) if changes else options
            where = replace(folder, path=folder.path.joinpath(*parts))
            members.append(Member("/".join(parts), mine, where, training, validation))
    return members


def side_by_side(
    members: Sequence[Member], options: FitOptions, num_processes: int, environment: Mapping[str, str]
) -> bool:
    """Whether each process trains members of its own, rather than all of them one member after another.

    Then no gradients are exchanged, and a member is what it is when one process trains it. Not of fewer members than
    processes, nor with ``--frozen``, whose features all encode together, nor over several machines, whose files differ.
    """
    if not 1 < num_processes <= len(members) or options.frozen:
        return False
    names = started_already(environment)
    return options.nodes == 1 if names is None else names["LOCAL_WORLD_SIZE"] == names["WORLD_SIZE"]
