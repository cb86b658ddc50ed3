"""What ``cxrlt infer`` writes of the features of films: embeddings, and the training films that each one resembles."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import repeat
from pathlib import Path

from cxrlt_cli.config import InferOptions
from cxrlt_cli.engine.disk_space import ID, require_room, require_room_for_table
from cxrlt_cli.engine.films import FilmList
from cxrlt_cli.engine.partial import Output, table
from cxrlt_cli.engine.predict import Outputs
from cxrlt_cli.engine.reporter import Reporter, counted
from cxrlt_cli.errors import DataError, OptionError
from cxrlt_cli.files import is_stream
from cxrlt_cli.nets.manifest import BEST, sha256
from cxrlt_cli.scores.nearest import COLUMNS, NUM_NEAREST, Known
from cxrlt_cli.tables.embeddings import FILMS, Embeddings, checkpoint_of, finish_records, to_records
from cxrlt_cli.tables.label_table import Texts


@dataclass(frozen=True)
class FeatureFiles:
    """``--embeddings`` and ``--nearest``, those that are wanted."""

    options: InferOptions
    width: int  # features of a film
    key: Mapping[str, str]  # what they are made of: sha256 of the checkpoint, and of --among

    @classmethod
    def of(cls, options: InferOptions, width: int) -> "FeatureFiles":
        """Raises DataError where ``--among`` is of another checkpoint, OptionError where two columns have one name."""
        key = {"model": digest_of(options.checkpoint)}
        if options.among is not None:
            if options.id_column in COLUMNS:
                raise OptionError(f"--id-column {options.id_column} is a column of --nearest too.", "Rename the ids'.")
            require_same_checkpoint(options.among, options.checkpoint)
            key["among"] = sha256(options.among)
        return cls(options, width, key)

    @property
    def wanted(self) -> bool:
        return self.options.embeddings is not None or self.options.nearest is not None

    def require_room(self, num_films: int) -> None:
        """Raises OptionError where a disk has too little: embeddings lie there twice while they are finished."""
        path = self.options.embeddings
        if path is not None and not is_stream(path):
            one = ID + 4 * self.width
            require_room("--embeddings", path, 2 * num_films * one, f"features of {num_films:,} films")
        require_room_for_table("--nearest", self.options.nearest, NUM_NEAREST * num_films, len(COLUMNS))

    def outputs(self) -> list[Output]:
        files = []
        column = self.options.id_column
        if self.options.embeddings is not None:
            finish = partial(finish_records, width=self.width, id_column=column, checkpoint=self.key["model"])
            files.append(Output(self.options.embeddings, counted(self.width, "feature"), finish))
        if self.options.nearest is not None:
            files.append(table(self.options.nearest, f"up to {NUM_NEAREST} neighbours each", column, ["neighbour"]))
        return files

    def rows(self, ids: Texts, outputs: Outputs, first: bool) -> list[bytes]:
        """What the next films add to each of the files."""
        if not self.wanted:
            return []
        assert outputs.features is not None, "asked for"
        features, rows = outputs.features.numpy(), []
        if self.options.embeddings is not None:
            rows.append(to_records(ids, features))
        if self.options.nearest is not None:
            rows.append(self._known.nearest(ids, features).to_csv(self.options.id_column, header=first).encode())
        return rows

    def tell(self, films: FilmList, reporter: Reporter) -> None:
        """Say which films were looked for among themselves."""
        if self.options.nearest is not None:
            own = sum(film in self._known for ids in films.stretches(repeat(FILMS)) for film in ids)
            if own:
                what = counted(own, "film is", "films are")
                reporter.note(f"{what} in --among {self.options.among} too, by id: none is its own neighbour.")

    @cached_property
    def _known(self) -> Known:
        """Read where it is asked for: in one process alone."""
        assert self.options.among is not None, "it goes with --nearest"
        return Known(Embeddings.read(self.options.among))


def digest_of(checkpoint: Path) -> str:
    """The sha256 of a checkpoint, given as a file or as the folder of a run."""
    return sha256(checkpoint / BEST if checkpoint.is_dir() else checkpoint)


def require_same_checkpoint(among: Path, checkpoint: Path) -> None:
    """Raise DataError where embeddings are of another checkpoint: its features mean something else."""
    if checkpoint_of(among) != digest_of(checkpoint):
        raise DataError(
            f"--among {among} holds features of another checkpoint than {checkpoint}.",
            f"Make it with this one: cxrlt infer {checkpoint} --csv TRAINING.csv --embeddings FILE.",
        )
