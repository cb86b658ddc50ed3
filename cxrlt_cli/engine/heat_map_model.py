"""The model of a page's heat maps: a checkpoint, or a run with folds, of which each film has the member that held it
out. What a member makes of films that it was trained on says little of a probability that was given out of fold.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.data.levels import Film
from cxrlt_cli.engine.film_looks import Seen, seen_by
from cxrlt_cli.engine.learned import Learned, learned_by
from cxrlt_cli.engine.predict import read_checkpoint
from cxrlt_cli.engine.reporter import Reporter
from cxrlt_cli.engine.several import members_in, require_ended
from cxrlt_cli.errors import CheckpointError
from cxrlt_cli.nets.checkpoints import Checkpoint
from cxrlt_cli.nets.manifest import BEST
from cxrlt_cli.tables.label_table import LabelTable, read_header, read_ids


@dataclass(frozen=True)
class HeatMapModel:
    """``members``: one checkpoint, or those of a run; ``held_out``: by film, the first member not trained on it."""

    path: Path
    members: tuple[Path, ...]
    first: Checkpoint
    held_out: Mapping[str, Path]

    @classmethod
    def read(cls, path: Path, reporter: Reporter) -> "HeatMapModel":
        """Films held out are read by the id column that the run was trained with: the first of its predictions.

        Raises CheckpointError where a checkpoint is missing or damaged, or a run has not ended.
        """
        members = members_in(path)
        if not members:
            return cls(path, (path,), read_checkpoint(path, reporter), {})
        require_ended(path, members)
        for member in members:
            if not (member / BEST).is_file():
                raise CheckpointError(f"{member} has no {BEST}.", "Name one checkpoint, or a run with all its members.")
        held_out: dict[str, Path] = {}
        for member in members:
            predictions = member / "val_predictions.csv"
            for film in read_ids(predictions, read_header(predictions)[0]):
                held_out.setdefault(film, member)
        return cls(path, tuple(members), read_checkpoint(members[0], reporter), held_out)

    @property
    def preprocessing(self) -> Preprocessing:
        """The same for all members of a run."""
        return self.first.preprocessing

    @property
    def policy(self) -> str | None:
        return self.first.policy

    def seen(self, films: Mapping[str, Film], reporter: Reporter) -> dict[str, Seen]:
        """What the member of each film made of it, in the order of the films; one member is in memory at a time."""
        found: dict[str, Seen] = {}
        for member in self.members:
            mine = {name: film for name, film in films.items() if self._member_of(name) == member}
            if mine:
                checkpoint = self.first if member == self.members[0] else read_checkpoint(member, reporter)
                found |= seen_by(checkpoint, member, mine)
        return {name: found[name] for name in films}

    def told(self, truth: LabelTable) -> str:
        """Whose heat maps they are, for a page, where that must be known."""
        parts = []
        if any(film in self.held_out for film in truth.ids):
            parts.append(f"Heat maps: of each film by the member of {self.path} that was not trained on it.")
        if warning := self.warning(truth):
            parts.append(warning)
        return " ".join(parts)

    def warning(self, truth: LabelTable) -> str:
        """How many of these films the model of their heat maps was trained on, and the way out; empty for none."""
        others = [row for row, film in enumerate(truth.ids) if film not in self.held_out]
        number = 0
        if others and self._learned is not None:
            number = sum(
                self._learned.seen([truth.ids[row] for row in others], [truth.patients[row] for row in others])
            )
        if not number:
            return ""
        return (
            f"{self.members[0]} was trained on {number:,} of these {len(truth):,} films, or on others of their "
            f"patients: its heat maps of them may show what it memorised.{self._way_out()}"
        )

    def _member_of(self, film: str) -> Path:
        return self.held_out.get(film, self.members[0])

    @cached_property
    def _learned(self) -> Learned | None:
        """What the first member learned from; its training CSV is read once."""
        return learned_by(self.members[0], self.first)

    def _way_out(self) -> str:
        folder = self.path if self.path.is_dir() else self.path.parent
        if (
            self._learned is None
            or not self._learned.in_folds
            or len(self.members) > 1
            or not members_in(folder.parent)
        ):
            return ""
        return f" With --checkpoint {folder.parent}, each film has the member that was not trained on it."
