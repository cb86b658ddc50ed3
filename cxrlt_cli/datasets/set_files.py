"""Where a set lies: a folder in which its label files are found by name, or the label files themselves."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path

from cxrlt_cli.data.listing import Listing
from cxrlt_cli.errors import DataError, OptionError, listed
from cxrlt_cli.names import meant_path
from cxrlt_cli.tables.provenance import RECORD, record_path

DEPTH = 2  # folders below the set's own in which label files are looked for
ENDINGS = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".parquet", ".npz", ".xlsx")


@dataclass(frozen=True)
class SetFiles:
    """What was typed as SOURCE, and where the films are."""

    sources: tuple[Path, ...]
    image_dir: Path
    looks_for_films: bool  # else labels alone are read, and the films may come later
    taken: set[Path] = field(default_factory=set)  # label files that a reader asked for by their names

    @classmethod
    def of(cls, sources: Sequence[Path], image_dir: Path | None, looks_for_films: bool) -> "SetFiles":
        """Raises OptionError where a source or the image folder is not there."""
        for source in sources:
            if not source.exists():
                raise OptionError(f"SOURCE {source} does not exist.{meant_path(source)}")
        if image_dir is not None and not image_dir.is_dir():
            raise OptionError(f"--image-dir {image_dir} is no folder.{meant_path(image_dir)}")
        folders = [source if source.is_dir() else source.parent for source in sources]
        common = Path(os.path.commonpath([os.path.abspath(folder) for folder in folders]))  # noqa: PTH100
        return cls(tuple(sources), image_dir or (folders[0] if len(folders) == 1 else common), looks_for_films)

    @property
    def given(self) -> list[Path]:
        """The sources that are files."""
        return [source for source in self.sources if source.is_file()]

    @property
    def folders(self) -> list[Path]:
        return [source for source in self.sources if source.is_dir()]

    @cached_property
    def label_files(self) -> list[Path]:
        """The files near the top of the folders that may hold labels; of one that lies packed beside, the plain one.

        What an earlier import wrote there is none of them.
        """
        near = [path for folder in self.folders for path in _near(folder, DEPTH)]
        found = [path for path in near if not path.name.endswith(RECORD) and not record_path(path).exists()]
        plain = set(found)
        return [path for path in found if not (path.suffix == ".gz" and path.with_suffix("") in plain)]

    def named(self, *patterns: str) -> list[Path]:
        """The label files of the folders whose name fits one of these, ``.gz`` or not, in the patterns' order."""
        found = [
            path
            for pattern in patterns
            for path in self.label_files
            if fnmatch(path.name.lower().removesuffix(".gz"), pattern.lower())
        ]
        self.taken.update(found)
        return found

    @property
    def passed_over(self) -> list[Path]:
        """The label files of the folders that no reader asked for."""
        return [path for path in self.label_files if path not in self.taken]

    def single(self, what: str, *patterns: str) -> Path | None:
        """The one label file of such a name; None where there is none. Raises DataError where there are several."""
        found = self.named(*patterns)
        if len(found) > 1:
            raise DataError(
                f"{self.folders[0]} holds more than one {what}: {listed(found)}.", "Name the one that is meant."
            )
        return found[0] if found else None

    def absent(self, kind: str, wanted: str) -> DataError:
        """That the label file is not there, with those that are."""
        here = [path.name for path in self.label_files] or ["no label file"]
        where = listed(list(self.folders) or list(self.sources))
        return DataError(
            f"{where} holds no {wanted}, the label file of {kind} (it has {listed(here, 8)}).",
            "Name the label file itself as SOURCE, and the films' folder with --image-dir.",
        )

    @cached_property
    def films(self) -> list[str]:
        """Every film below the image folder, by its path there, in order."""
        return sorted(path for path in Listing(self.image_dir).files() if "__MACOSX" not in path.split("/"))


def _near(folder: Path, depth: int) -> list[Path]:
    files, folders = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    folders.append(folder / entry.name)
                elif entry.name.lower().removesuffix(".gz").endswith(ENDINGS):
                    files.append(folder / entry.name)
    except OSError as error:
        raise DataError(f"{folder} cannot be looked into: {error.strerror}.") from error
    found = sorted(files)
    for below in sorted(folders) if depth else ():
        found += _near(below, depth - 1)
    return found
