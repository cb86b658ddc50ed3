"""A folder of arrays by key: written once, known again, refused where it is of something else or damaged."""

import json
from pathlib import Path

import numpy as np
import pytest

from cxrlt_cli.data import slots
from cxrlt_cli.data.slots import INDEX, RECIPE, Keys, Slots, Store, checksum, keys_of, rewrite
from cxrlt_cli.errors import DataError, FilmError, OptionError

STORE = Store("--store", "numbers", "numbers.u8")
SIZE = 4
RECIPE_OF = {"kind": "a"}


def keys(*numbers: int) -> Keys:
    return np.array([bytes([number] * 16) for number in numbers], "S16")


def array(number: int) -> np.ndarray:
    return np.full(SIZE, number, np.uint8)


def filled(folder: Path, *numbers: int) -> Slots:
    slots = Slots(folder, RECIPE_OF, SIZE, STORE)
    named = keys(*numbers)
    slots.append({bytes(key): array(number) for key, number in zip(named, numbers, strict=True)}, slots.news(named))
    return Slots(folder, RECIPE_OF, SIZE, STORE)


def test_arrays_are_found_again_by_their_keys(tmp_path: Path) -> None:
    slots = filled(tmp_path / "s", 5, 3, 9)
    places = slots.places(keys(9, 1, 5))
    assert places.tolist() == [2, -1, 0]
    data = np.fromfile(tmp_path / "s" / STORE.file, np.uint8).reshape(-1, SIZE)
    np.testing.assert_array_equal(data[places[[0, 2]]], [array(9), array(5)])
    assert slots.digests(places).tolist() == [checksum(array(9)), 0, checksum(array(5))]
    assert (len(slots), slots.num_bytes) == (3, 3 * SIZE)


def test_two_commands_that_fill_it_keep_each_array_once(tmp_path: Path) -> None:
    one, other = (Slots(tmp_path / "s", RECIPE_OF, SIZE, STORE) for _ in range(2))
    named = keys(1, 2)
    mine, theirs = one.news(named), other.news(named)
    one.append({bytes(named[0]): array(1)}, mine)
    other.append({bytes(key): array(number) for key, number in zip(named, (1, 2), strict=True)}, theirs)
    one.take_news(mine)
    assert sorted(one.places(named).tolist()) == [0, 1]
    assert (tmp_path / "s" / STORE.file).stat().st_size == 2 * SIZE


def test_what_a_stop_left_behind_is_cut_off(tmp_path: Path) -> None:
    filled(tmp_path / "s", 1)
    for name in (STORE.file, INDEX):
        with (tmp_path / "s" / name).open("ab") as file:
            file.write(b"half")
    slots = filled(tmp_path / "s", 2)
    assert slots.places(keys(1, 2)).tolist() == [0, 1]
    assert (tmp_path / "s" / STORE.file).stat().st_size == 2 * SIZE


def test_folders_of_something_else_and_damaged_ones_are_told(tmp_path: Path) -> None:
    filled(tmp_path / "s", 1, 2)
    with pytest.raises(OptionError, match=r"keeps numbers of another recipe .kind a, not b"):
        Slots(tmp_path / "s", {"kind": "b"}, SIZE, STORE)
    (tmp_path / "s" / STORE.file).write_bytes(b"xx")
    with pytest.raises(DataError, match=r"numbers\.u8 is cut short"):
        Slots(tmp_path / "s", RECIPE_OF, SIZE, STORE)
    (tmp_path / "s" / RECIPE).write_text("{")
    with pytest.raises(DataError, match=r"recipe\.json is damaged"):
        Slots(tmp_path / "s", RECIPE_OF, SIZE, STORE)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("x")
    with pytest.raises(OptionError, match="holds other files"):
        Slots(tmp_path / "other", RECIPE_OF, SIZE, STORE)
    (tmp_path / "file").write_text("x")
    with pytest.raises(OptionError, match="is a file"):
        Slots(tmp_path / "file", RECIPE_OF, SIZE, STORE)


def test_a_newer_format_is_told(tmp_path: Path) -> None:
    filled(tmp_path / "s", 1)
    content = {"format": 9, **RECIPE_OF}
    (tmp_path / "s" / RECIPE).write_text(json.dumps({"hash": slots._hash(content), "recipe": content}))
    with pytest.raises(OptionError, match="of format 9; this cxrlt reads 2"):
        Slots(tmp_path / "s", RECIPE_OF, SIZE, STORE)


def test_an_array_is_written_anew_in_its_place(tmp_path: Path) -> None:
    filled(tmp_path / "s", 1, 2)
    rewrite(tmp_path / "s", STORE, 1, bytes(keys(2)[0]), array(7))
    slots = Slots(tmp_path / "s", RECIPE_OF, SIZE, STORE)
    assert slots.digests(slots.places(keys(1, 2))).tolist() == [checksum(array(1)), checksum(array(7))]


def test_a_key_is_of_the_file_as_it_is_now(tmp_path: Path) -> None:
    film = tmp_path / "a.png"
    film.write_bytes(b"one")
    before, part = keys_of([film]), keys_of([film], 1)
    assert before[0] != part[0]
    film.write_bytes(b"other")
    assert keys_of([film])[0] != before[0]
    film.unlink()
    with pytest.raises(FilmError, match="cannot be read"):
        keys_of([film])
