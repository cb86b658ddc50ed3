import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from cxrlt_cli.data.cache import BLOCK, FilmCache, KeptFilms
from cxrlt_cli.data.image import Preprocessing, read_film
from cxrlt_cli.errors import DataError, FilmError, OptionError

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


def kept(folder: Path, paths: list[Path]) -> KeptFilms:
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
    with pytest.raises(OptionError, match="hash"):
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


def test_other_folders_are_left_alone(tmp_path: Path) -> None:
    draw(tmp_path / "films", 1)
    with pytest.raises(OptionError, match="holds other files"):
        FilmCache(tmp_path / "films", RECIPE)
    (tmp_path / "file").touch()
    with pytest.raises(OptionError, match="is a file"):
        FilmCache(tmp_path / "file", RECIPE)
    assert len(FilmCache(tmp_path / "none", RECIPE)) == 0
    assert not (tmp_path / "none").exists()
