import json
import os
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path

import numpy as np
import pytest
import torch

from cxrlt_cli.config import InferOptions
from cxrlt_cli.engine.films import FilmList
from cxrlt_cli.engine.partial import PartialFiles, table, write_predictions
from cxrlt_cli.engine.process import Process
from cxrlt_cli.errors import DataError
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.tables.label_table import Texts, read_ids
from tests.helpers import Recorder

KEY = {"model": "a"}


class Csvs(PartialFiles):
    """Predictions that grow."""

    def __init__(self, paths: list[Path], key: dict[str, str]) -> None:
        super().__init__([table(path, "1 finding", "ImageID") for path in paths], key)

    def add(self, *tables: Predictions) -> None:
        self.append(len(tables[0].ids), [one.to_csv(header=self.num_films == 0).encode() for one in tables])


def rows(first: int, number: int) -> Predictions:
    ids = np.array([f"film{index}.png" for index in range(first, first + number)], object)
    return Predictions(ids, ("nodule",), np.linspace(0.1, 0.9, number)[:, None])


def test_files_grow_together_and_get_their_names_at_the_end(tmp_path: Path) -> None:
    paths = [tmp_path / "new" / "p.csv", tmp_path / "d.csv"]
    first = Csvs(paths, KEY)
    first.add(rows(0, 3), rows(0, 3))
    assert not any(path.exists() for path in paths)
    again = Csvs(paths, KEY)
    assert again.num_films == 3
    again.add(rows(3, 2), rows(3, 2))
    again.finish()
    for path in paths:
        assert Predictions.read(path).ids.tolist() == [f"film{index}.png" for index in range(5)]
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["d.csv", "p.csv"]


@pytest.mark.parametrize("change", ["longer", "shorter", "gone", "key"])
def test_rows_that_are_not_known_to_be_whole_are_not_kept(tmp_path: Path, change: str) -> None:
    Csvs([tmp_path / "p.csv"], KEY).add(rows(0, 3))
    partial = tmp_path / ".p.csv.partial"
    whole = partial.read_bytes()
    if change == "longer":
        partial.write_bytes(whole + b"film9.png,0.")
    elif change == "shorter":
        os.truncate(partial, len(whole) - 1)
    elif change == "gone":
        partial.unlink()
    again = Csvs([tmp_path / "p.csv"], {"model": "b"} if change == "key" else KEY)
    assert again.num_films == (3 if change == "longer" else 0)
    again.add(rows(again.num_films, 2))
    again.finish()
    assert len(Predictions.read(tmp_path / "p.csv").ids) == again.num_films


def test_names_that_do_harm_are_refused_here_too(tmp_path: Path) -> None:
    harmful = Predictions(np.array(["a.png"], object), ("=1+1",), np.ones((1, 1)))
    with pytest.raises(DataError, match="a spreadsheet would run"):
        Csvs([tmp_path / "p.csv"], KEY).add(harmful)


def test_a_damaged_record_and_damaged_rows_are_thrown_away_with_a_word(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    Csvs([path], KEY).add(rows(0, 3))
    known, partial = tmp_path / ".p.csv.partial.json", tmp_path / ".p.csv.partial"
    whole = known.read_bytes(), partial.read_bytes()
    harms = [(known, b) for b in (b"", b"{", b"[]", b"null", b'{"key": 1}', b"[" * 100_000, b"\xff")]
    harms += [(known, json.dumps({**json.loads(whole[0]), **change}).encode()) for change in CHANGES]
    harms += [(partial, whole[1][:40] + bytes([whole[1][40] ^ 1]) + whole[1][41:])]
    for file, content in harms:
        known.write_bytes(whole[0])
        partial.write_bytes(whole[1])
        file.write_bytes(content)
        again = Csvs([path], KEY)
        assert (again.num_films, list(tmp_path.iterdir())) == (0, []), content[:80]
        assert ("damaged" in again.note) == (content != b'{"key": 1}'), content[:80]
    known.write_bytes(whole[0])
    partial.write_bytes(whole[1])
    assert Csvs([path], KEY).num_films == 3


CHANGES: tuple[dict[str, object], ...] = (
    {"num_films": 2}, {"num_films": None}, {"sizes": []}, {"sizes": "x"}, {"sizes": [1]}, {"sizes": [10**9]},
    {"sizes": [-1]}, {"digests": [None]}, {"check": ""},
)  # fmt: skip


def test_rows_for_a_pipe_pass_through_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    growing = Csvs([tmp_path / "p.csv", tmp_path / "pipe"], KEY)
    growing.add(rows(0, 3), rows(0, 3))
    with ThreadPoolExecutor() as pool:
        read = pool.submit((tmp_path / "pipe").read_text)
        growing.finish()
        assert read.result(10) == (tmp_path / "p.csv").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.csv", "pipe"]


def test_every_process_predicts_and_the_first_one_writes(labels: Path, tmp_path: Path) -> None:
    options = InferOptions.model_validate({"checkpoint": "m", "csv": labels})
    films = FilmList.of(options, labels, Recorder())
    for rank in (1, 0):
        made: list[int] = []

        def halves(ids: Texts, number: int, first: bool) -> list[bytes]:
            made.append(number)  # noqa: B023
            return [Predictions(ids, ("nodule",), np.full((number, 1), 0.5)).to_csv(header=first).encode()]

        process, recorder = Process(torch.device("cpu"), torch.float32, 0, rank=rank), Recorder()
        out = table(tmp_path / "p.csv", "1 finding", "ImageID")
        write_predictions([out], KEY, films, repeat(16), lambda ids, _: len(ids), halves, process, recorder)
        assert (tmp_path / "p.csv").exists() == bool(made) == (rank == 0)
    assert Predictions.read(tmp_path / "p.csv").ids.tolist() == read_ids(labels).tolist()
    assert recorder.results[0].startswith(f"Wrote {tmp_path / 'p.csv'}: {films.number} films, 1 finding")
