"""Sets of the Hugging Face Hub: metadata beside films, films in shards of Parquet, or a folder a class.

https://huggingface.co/docs/datasets/image_dataset
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from cxrlt_cli.config import DataImportOptions
from cxrlt_cli.data.listing import stem_of
from cxrlt_cli.datasets import class_folders
from cxrlt_cli.datasets.hub_columns import Labelled, told_by
from cxrlt_cli.datasets.picture_files import absolute, below, parts_by_folder
from cxrlt_cli.datasets.raw_table import RawTable, mapped, read_raw, require_columns, texts
from cxrlt_cli.datasets.records import Records, part_of
from cxrlt_cli.datasets.set_files import SetFiles
from cxrlt_cli.datasets.written_films import Film, folder_for, told, write_films
from cxrlt_cli.documents import read_json
from cxrlt_cli.errors import DataError
from cxrlt_cli.names import fault_of_name
from cxrlt_cli.tables import shards
from cxrlt_cli.tables.parquet import holds_parquet

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
FORMATS = {b"\x89PNG\r\n\x1a\n": ".png", b"\xff\xd8\xff": ".jpg"}

Classes = Mapping[str, tuple[str, ...]]
Shard = tuple[Path, str]  # and its column of films


def read(files: SetFiles, options: DataImportOptions) -> Records:
    """The films of every metadata file, or of every shard; without either, folders are classes."""
    paths = files.given or files.named(*METADATA, "*.parquet")
    packed = _packed(path for path in dict.fromkeys(paths) if holds_parquet(path))
    tables = [path for path in dict.fromkeys(paths) if path not in dict(packed)]
    if not files.given:
        tables = [path for path in tables if path.name.removesuffix(".gz") in METADATA]
    if not (tables or packed):
        if options.patient_column or options.list_column:
            raise DataError(
                "--patient-column and --list-column: there is no metadata with columns, so that folders are classes.",
                "Leave them out.",
            )
        return class_folders.read(files, options)
    if tables and packed:
        raise DataError(f"{tables[0]} and {packed[0][0]} are two ways to tell of films.", "Name one of them.")
    classes = _described([path.parent for path in paths] + files.folders)
    if packed:
        return _from_shards(packed, files, options, classes)
    labelled = [_beside(path, files, classes) for path in tables]
    return told_by(labelled, "file_name", options.patient_column, options.list_column)


def _packed(paths: Iterator[Path]) -> list[Shard]:
    return [(path, column) for path in paths if (column := shards.image_column(path))]


def _described(folders: Sequence[Path]) -> Classes:
    """Names of classes from ``dataset_infos.json``, which older sets have; a shard's own are in the shard."""
    path = next(
        (folder / "dataset_infos.json" for folder in folders if (folder / "dataset_infos.json").is_file()), None
    )
    if path is None:
        return {}
    try:
        return shards.classes_of(next(iter(read_json(path).values()))["features"])
    except (OSError, ValueError, AttributeError, StopIteration, KeyError, TypeError) as error:
        raise DataError(f"{path} describes no features.", "Fetch it again, or take it away.") from error


def _table(path: Path, classes: Classes) -> tuple[RawTable, Classes]:
    if not holds_parquet(path):
        return read_raw(path), classes
    columns = {name: texts(cells) for name, cells in shards.text_columns(path).items()}
    return RawTable(path, columns, first_row=1), {**classes, **shards.class_names(path)}


def _beside(path: Path, files: SetFiles, described: Classes) -> Labelled:
    """Metadata and the films that it names, by paths from its own folder."""
    table, classes = _table(path, described)
    require_columns(table, ["file_name"], "huggingface")
    folder, root = absolute(path.parent), absolute(files.image_dir)
    films = table["file_name"]
    if folder.is_relative_to(root):
        films = mapped(films, {name: below(folder, root, name) for name in films if name})
    return Labelled(table, films, parts_by_folder(films.tolist()), classes)


def _from_shards(packed: Sequence[Shard], files: SetFiles, options: DataImportOptions, described: Classes) -> Records:
    """Films written out as they are packed, below ``NAME-films/PART/``, NAME being the set's folder."""
    packed = sorted(packed)
    folder = folder_for(options)
    source = files.folders[0] if files.folders else packed[0][0].parent
    top = f"{absolute(source).name}-films"
    stems = _stems(packed)
    labelled = []
    for path, _ in packed:
        table, classes = _table(path, described)
        parts = texts([_part(path)] * len(stems[path])) if _part(path) else None
        labelled.append(Labelled(table, texts(stems[path]), parts, classes))
    records = told_by(labelled, "", options.patient_column, options.list_column)  # before a film is written
    names = write_films(folder, lambda: _films(packed, stems, top), options.dry_run)
    notes = (*records.notes, told(folder / top, names))
    return replace(records, films=texts(names), notes=notes, films_below=folder)


def _part(path: Path) -> str:
    """The part of ``data/train-00000-of-00001.parquet``, and of ``train/0000.parquet``."""
    return part_of(re.split(r"[-_.]", path.name)[0]) or part_of(path.parent.name)


def _stems(packed: Sequence[Shard]) -> dict[Path, list[str]]:
    """What films are called: as where they came from, where all names of a part are there and differ; else numbers."""
    called = {
        path: [stem_of(PurePosixPath(name.replace("\\", "/")).name) for name in shards.film_paths(path, column)]
        for path, column in packed
    }
    for part in {_part(path) for path, _ in packed}:
        paths = [path for path, _ in packed if _part(path) == part]
        stems = [stem for path in paths for stem in called[path]]
        usable = all(not fault_of_name(stem) and not stem.startswith(".") for stem in stems)
        if not usable or len({stem.lower() for stem in stems}) < len(stems):
            ends = np.cumsum([len(called[path]) for path in paths])
            for path, end in zip(paths, ends, strict=True):
                called[path] = [f"{row:05d}" for row in range(end - len(called[path]), end)]
    return called


def _films(packed: Sequence[Shard], stems: Mapping[Path, list[str]], top: str) -> Iterator[Film]:
    for path, column in packed:
        for row, (stem, data) in enumerate(zip(stems[path], shards.films(path, column), strict=True), 1):
            ending = next((ending for magic, ending in FORMATS.items() if data.startswith(magic)), None)
            if ending is None:
                raise DataError(f"{path}, film {row}: neither PNG nor JPEG, which are what is read.")
            yield "/".join(filter(None, (top, _part(path), stem + ending))), partial(bytes, data)
