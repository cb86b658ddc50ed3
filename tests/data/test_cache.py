import hashlib
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from cxrlt_cli.data.cache import BLOCK, FilmCache
from cxrlt_cli.data.image import Preprocessing, read_film
from cxrlt_cli.data.kept import KeptArrays
from cxrlt_cli.data.loading import FilmDataset, ordered_loader
from cxrlt_cli.errors import DataError, FilmError, OptionError
from tests.helpers import flipped

RECIPE = Preprocessing(32)


def draw(folder: Path, number: int) -> list[Path]:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    paths = [folder / f"{index}.png" for index in range(number)]
    for path in paths:
        cv2.imwrite(str(path), rng.integers(0, 4096, (40, 50)).astype(np.uint16))
    return paths


def fill(folder: Path, paths: list[Path], recipe: Preprocessing = RECIPE) -> list[FilmError]:
    cache = FilmCache(folder, recipe)
    return cache.fill(paths, max_pixels=10**6, num_threads=2, advance=lambda _: None)


def kept(folder: Path, paths: list[Path]) -> KeptArrays:
    films = FilmCache(folder, RECIPE).films(paths)
    assert films is not None
    return films


def test_what_is_kept_is_what_a_model_sees(tmp_path: Path) -> None:
    paths = draw(tmp_path / "films", 2 * BLOCK + 3)
    seen: list[int] = []
    FilmCache(tmp_path / "kept", RECIPE).fill(paths, max_pixels=10**6, num_threads=2, advance=seen.append)
    assert sum(seen) == len(paths)
    backwards = paths[::-1]
    films = kept(tmp_path / "kept", backwards)
    for index, path in enumerate(backwards):
        (film,) = films[index]
        np.testing.assert_array_equal(film, RECIPE(read_film(path)))


def test_films_are_decoded_once(tmp_path: Path) -> None:
    paths = draw(tmp_path / "films", 5)
    fill(tmp_path / "kept", paths[:3])
    before = (tmp_path / "kept" / "films.u8").read_bytes()
    fill(tmp_path / "kept", paths)
    after = (tmp_path / "kept" / "films.u8").read_bytes()
    assert after[: len(before)] == before
    assert len(after) == 5 * 32**2


def test_a_film_whose_file_has_changed_is_decoded_again(tmp_path: Path) -> None:
    paths = draw(tmp_path / "films", 3)
    fill(tmp_path / "kept", paths)
    cv2.imwrite(str(paths[1]), np.full((40, 50), 7, np.uint8))
    assert FilmCache(tmp_path / "kept", RECIPE).films(paths) is None
    fill(tmp_path / "kept", paths)
    assert (kept(tmp_path / "kept", paths)[1][0] == 7).all()


def test_faults_are_told_in_the_order_of_the_films_and_the_others_are_kept(tmp_path: Path) -> None:
    paths = draw(tmp_path / "films", 6)
    for index in (4, 1):
        paths[index].write_bytes(b"no film")
    assert [fault.path for fault in fill(tmp_path / "kept", paths)] == [paths[1], paths[4]]
    assert len(FilmCache(tmp_path / "kept", RECIPE)) == 4
    with pytest.raises(FilmError, match="cannot be read"):
        fill(tmp_path / "kept", [tmp_path / "gone.png"])


@pytest.mark.parametrize("lost", [1, 16, 40])
def test_a_stop_between_two_writings_leaves_no_half_film(tmp_path: Path, lost: int) -> None:
    paths = draw(tmp_path / "films", 6)
    fill(tmp_path / "kept", paths)
    index = tmp_path / "kept" / "index.u8"
    index.write_bytes(index.read_bytes()[:-lost])
    assert FilmCache(tmp_path / "kept", RECIPE).films(paths) is None
    fill(tmp_path / "kept", paths)
    films = kept(tmp_path / "kept", paths)
    for number, path in enumerate(paths):
        np.testing.assert_array_equal(films[number][0], RECIPE(read_film(path)))
    assert (tmp_path / "kept" / "films.u8").stat().st_size == 6 * 32**2


BUILDER = """
import sys
from pathlib import Path
from cxrlt_cli.data.cache import FilmCache
from cxrlt_cli.data.image import Preprocessing
folder, kept, sign = map(Path, sys.argv[1:])
paths = sorted(folder.iterdir())
print("ready", flush=True)
while not sign.exists():
    pass
faults = FilmCache(kept, Preprocessing(32)).fill(paths, max_pixels=10**6, num_threads=1, advance=lambda _: None)
assert not faults
"""


def test_two_commands_may_build_one_cache_at_once(tmp_path: Path) -> None:
    paths = draw(tmp_path / "films", 7 * BLOCK)
    command = [sys.executable, "-c", BUILDER, str(tmp_path / "films"), str(tmp_path / "kept"), str(tmp_path / "now")]
    builders = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for builder in builders:
        assert builder.stdout is not None
        assert builder.stdout.readline() == "ready\n"
    (tmp_path / "now").touch()
    assert [(builder.communicate(timeout=60), builder.returncode)[1] for builder in builders] == [0, 0]
    assert len(FilmCache(tmp_path / "kept", RECIPE)) == len(paths)
    assert (tmp_path / "kept" / "films.u8").stat().st_size == len(paths) * 32**2
    films = kept(tmp_path / "kept", paths)
    for index in range(0, len(paths), 50):
        np.testing.assert_array_equal(films[index][0], RECIPE(read_film(paths[index])))


def test_another_recipe_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "kept", draw(tmp_path / "films", 1))
    with pytest.raises(OptionError, match=r"another recipe \(image_size 32, not 48\)"):
        FilmCache(tmp_path / "kept", Preprocessing(48))
    with pytest.raises(OptionError, match="interpolation area, not linear"):
        FilmCache(tmp_path / "kept", Preprocessing(32, "linear"))
    recipe = tmp_path / "kept" / "recipe.json"
    content = json.loads(recipe.read_text())
    recipe.write_text(json.dumps({**content, "hash": "0" * 16}))
    with pytest.raises(DataError, match="damaged"):
        FilmCache(tmp_path / "kept", RECIPE)


def test_damage_is_told(tmp_path: Path) -> None:
    paths = draw(tmp_path / "films", 2)
    fill(tmp_path / "kept", paths)
    os.truncate(tmp_path / "kept" / "films.u8", 32**2)
    with pytest.raises(DataError, match="cut short"):
        FilmCache(tmp_path / "kept", RECIPE)
    (tmp_path / "kept" / "recipe.json").write_text("{")
    with pytest.raises(DataError, match="damaged"):
        FilmCache(tmp_path / "kept", RECIPE)


def test_every_flipped_bit_of_films_and_index_is_noticed(tmp_path: Path) -> None:
    """A film is what it was, whichever bit was turned, and it is told; of a key that was turned, it is kept anew."""
    paths = draw(tmp_path / "films", 6)
    expected = [RECIPE(read_film(path)) for path in paths]
    for name in ("films.u8", "index.u8"):
        fill(tmp_path / "kept", paths)
        data = (tmp_path / "kept" / name).read_bytes()
        for spoilt in flipped(data, 200):
            (tmp_path / "kept" / name).write_bytes(spoilt)
            told: list[str] = []
            films = FilmCache(tmp_path / "kept", RECIPE).films(paths, tell=told.append)
            if films is None:
                assert name == "index.u8"
                assert len(FilmCache(tmp_path / "kept", RECIPE)) == len(paths)
                continue
            for _ in range(2):
                for index, film in enumerate(expected):
                    np.testing.assert_array_equal(films[index][0], film)
            assert len(told) == 1
            assert "was damaged" in told[0]
            assert (tmp_path / "kept" / name).read_bytes() == data, "it is mended where it lies"
        for file in (tmp_path / "kept").iterdir():
            file.unlink()


def test_every_flipped_bit_of_a_recipe_is_an_error_of_ours_or_of_no_weight(tmp_path: Path) -> None:
    fill(tmp_path / "kept", draw(tmp_path / "films", 1))
    recipe = tmp_path / "kept" / "recipe.json"
    data = recipe.read_bytes()
    for spoilt in [*flipped(data, 200), b"[" * 100_000, b"\xff", b"{}", b"[]", b'{"recipe": 3}']:
        recipe.write_bytes(spoilt)
        with pytest.raises((DataError, OptionError)):
            FilmCache(tmp_path / "kept", RECIPE)


def test_what_is_damaged_and_cannot_be_decoded_again_is_told(tmp_path: Path) -> None:
    paths = draw(tmp_path / "films", 3)
    fill(tmp_path / "kept", paths)
    films = kept(tmp_path / "kept", paths)
    os.truncate(tmp_path / "kept" / "films.u8", 0)
    cv2.imwrite(str(paths[0]), np.full((40, 50), 7, np.uint8))
    with pytest.raises(FilmError, match="has changed while this command ran, and is damaged in"):
        films[0]
    paths[1].unlink()
    with pytest.raises(FilmError, match="cannot be read: No such file"):
        films[1]
    np.testing.assert_array_equal(films[2][0], RECIPE(read_film(paths[2])))


def test_a_cache_cut_short_while_it_is_read_by_workers_is_read_on_and_told_in_few_lines(tmp_path: Path) -> None:
    paths = draw(tmp_path / "films", 24)
    fill(tmp_path / "kept", paths)
    whole = (tmp_path / "kept" / "films.u8").read_bytes()
    films = FilmCache(tmp_path / "kept", RECIPE).films(paths, tell=partial(told_to, tmp_path / "told"))
    assert films is not None
    loader = ordered_loader(FilmDataset(films), batch_size=2, num_workers=2, pin=False)
    for epoch in range(3):
        seen = {int(index): film for batch in loader for index, film in zip(batch.indices, batch.films[0], strict=True)}
        for index, path in enumerate(paths):
            np.testing.assert_array_equal(seen[index][0], RECIPE(read_film(path)))
        if epoch == 0:
            assert not (tmp_path / "told").exists()
            os.truncate(tmp_path / "kept" / "films.u8", 3 * 32**2 + 5)
    lines = (tmp_path / "told").read_text().splitlines()
    assert 1 <= len(lines) <= 5
    assert "was damaged in --cache" in lines[0]
    assert (tmp_path / "kept" / "films.u8").read_bytes() == whole, "it was mended as it was read"


def told_to(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text + "\n")


@pytest.mark.parametrize(("number", "said"), [(1, "filled by cxrlt 0.1.0"), (99, "of format 99; this cxrlt reads 2")])
def test_a_cache_of_another_format_is_refused_in_words(tmp_path: Path, number: int, said: str) -> None:
    fill(tmp_path / "kept", draw(tmp_path / "films", 1))
    recipe = tmp_path / "kept" / "recipe.json"
    content = json.loads(recipe.read_text())
    content["recipe"]["format"] = number
    text = json.dumps(content["recipe"], sort_keys=True)
    recipe.write_text(json.dumps({**content, "hash": hashlib.sha256(text.encode()).hexdigest()[:16]}))
    with pytest.raises(OptionError, match=said):
        FilmCache(tmp_path / "kept", RECIPE)


def test_one_cache_fills_stretch_by_stretch_and_knows_what_is_new(tmp_path: Path) -> None:
    paths = draw(tmp_path / "films", 9)
    cache = FilmCache(tmp_path / "kept", RECIPE)
    for start in (0, 3, 6):
        cache.fill(paths[start : start + 5], max_pixels=10**6, num_threads=1, advance=lambda _: None)
    assert len(cache) == 9
    assert cache.films(paths) is not None
    assert (tmp_path / "kept" / "films.u8").stat().st_size == 9 * 32**2


def test_other_folders_are_left_alone(tmp_path: Path) -> None:
    draw(tmp_path / "films", 1)
    with pytest.raises(OptionError, match="holds other files"):
        FilmCache(tmp_path / "films", RECIPE)
    (tmp_path / "file").touch()
    with pytest.raises(OptionError, match="is a file"):
        FilmCache(tmp_path / "file", RECIPE)
    assert len(FilmCache(tmp_path / "none", RECIPE)) == 0
    assert not (tmp_path / "none").exists()


def test_a_cache_that_grows_meanwhile_is_asked_for_films_that_it_has(tmp_path: Path) -> None:
    paths = draw(tmp_path / "films", 6)
    fill(tmp_path / "cache", paths[:3])
    before = FilmCache(tmp_path / "cache", RECIPE)
    fill(tmp_path / "cache", paths[3:])
    assert before.fill(paths[:3], max_pixels=10**6, num_threads=2, advance=lambda _: None) == []
