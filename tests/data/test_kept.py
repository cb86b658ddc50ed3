"""Arrays as they are read: whole ones as they were kept; damaged ones are made again, and told of."""

import multiprocessing
import pickle
from pathlib import Path

import numpy as np
import pytest

from cxrlt_cli.data.kept import MOST_TOLD, KeptArrays
from cxrlt_cli.data.slots import Slots, Store

STORE = Store("--store", "numbers", "numbers.u8")
SIZE, NUMBER = 4, 8


def made(path: Path, key: bytes, place: int) -> np.ndarray:
    return np.full(SIZE, int(path.stem), np.uint8)


class Teller:
    """Writes what it is told into a file, from whichever process."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, message: str) -> None:
        with self.path.open("a") as file:
            file.write(f"{message}\n")


@pytest.fixture
def kept(tmp_path: Path) -> KeptArrays:
    slots = Slots(tmp_path / "s", {"kind": "a"}, SIZE, STORE)
    keys = np.array([bytes([65 + number] * 16) for number in range(NUMBER)], "S16")
    paths = [Path(f"{number}.png") for number in range(NUMBER)]
    arrays = {bytes(key): made(path, bytes(key), 0) for key, path in zip(keys, paths, strict=True)}
    slots.append(arrays, slots.news(keys))
    slots.reread()
    return KeptArrays(slots, slots.places(keys), (SIZE,), "uint8", keys, paths, made, Teller(tmp_path / "told"))


def damage(folder: Path, *places: int) -> None:
    with (folder / "s" / STORE.file).open("rb+") as file:
        for place in places:
            file.seek(place * SIZE)
            file.write(b"\xff")


def values(kept: KeptArrays) -> list[int]:
    return [int(kept[index][0][0]) for index in range(len(kept))]


def test_they_are_what_was_kept(kept: KeptArrays, tmp_path: Path) -> None:
    assert values(kept) == list(range(NUMBER))
    assert all(kept.is_whole(index) for index in range(NUMBER))
    assert not (tmp_path / "told").exists()


def test_damaged_ones_are_made_again_and_a_few_are_named(kept: KeptArrays, tmp_path: Path) -> None:
    damage(tmp_path, *range(MOST_TOLD + 2))
    assert [kept.is_whole(index) for index in range(NUMBER)] == [index >= MOST_TOLD + 2 for index in range(NUMBER)]
    assert values(kept) == values(kept) == list(range(NUMBER))
    lines = (tmp_path / "told").read_text().splitlines()
    assert [line.split()[0] for line in lines[:MOST_TOLD]] == ["0.png", "1.png", "2.png"]
    assert lines[MOST_TOLD].startswith("More films are damaged")
    assert len(lines) == MOST_TOLD + 1


def test_a_file_that_is_cut_short_or_gone_is_made_again(kept: KeptArrays, tmp_path: Path) -> None:
    file = tmp_path / "s" / STORE.file
    file.write_bytes(file.read_bytes()[: 2 * SIZE])
    assert values(kept) == list(range(NUMBER))
    file.unlink()
    assert values(pickle.loads(pickle.dumps(kept))) == list(range(NUMBER))


def test_processes_that_are_forked_read_apart_and_tell_together(kept: KeptArrays, tmp_path: Path) -> None:
    damage(tmp_path, *range(NUMBER))
    assert not kept.is_whole(0)
    context = multiprocessing.get_context("fork")
    halves = [range(NUMBER // 2), range(NUMBER // 2, NUMBER)]
    for half in halves:
        process = context.Process(target=_read, args=(kept, half))
        process.start()
        process.join()
        assert process.exitcode == 0
    assert len((tmp_path / "told").read_text().splitlines()) == MOST_TOLD + 1, "counted by both"


def _read(kept: KeptArrays, part: range) -> None:
    for index in part:
        assert int(kept[index][0][0]) == index
