"""The runs of one command: one, or a member for each of its ``--seeds`` and ``--folds``."""

from dataclasses import dataclass, replace

from cxrlt_cli.config import FitOptions
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
