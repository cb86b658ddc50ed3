"""Features in a folder: what is kept is what was given, view by view, and several may fill it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cxrlt_cli.data.feature_maps import NUM_VIEWS, FeatureMaps, FilmViews, KeptFeatures, seed_of
from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.data.loading import FilmFiles
from cxrlt_cli.errors import DataError, FilmError, OptionError

SHAPE = (5, 2, 3)


def films(folder: Path, number: int) -> list[Path]:
    folder.mkdir()
    paths = [folder / f"{index}.png" for index in range(number)]
    for index, path in enumerate(paths):
        path.write_bytes(bytes([index]))
    return paths


def made(number: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(number, *SHAPE)).astype(np.float16) for _ in range(NUM_VIEWS)]


def keep(maps: FeatureMaps, paths: list[Path], given: list[np.ndarray]) -> None:
    maps.adding(maps.missing(paths))(range(len(paths)), given)


def test_each_view_of_each_film_is_as_it_was_given(tmp_path: Path) -> None:
    paths, given = films(tmp_path / "films", 7), made(7)
    maps = FeatureMaps(tmp_path / "kept", {"backbone": "b"}, SHAPE)
    missing = maps.missing(paths)
    np.testing.assert_array_equal(missing.rows, np.arange(7))
    add = maps.adding(missing)
    for chosen in ([3, 0], [1, 2, 4, 5, 6]):
        add(chosen, [view[chosen] for view in given])
    again = FeatureMaps(tmp_path / "kept", {"backbone": "b"}, SHAPE)
    assert len(again.missing(paths).rows) == 0
    backwards = paths[::-1]
    for store in (maps, again):
        for view, kept in enumerate(store.views(backwards)):
            for index in range(7):
                np.testing.assert_array_equal(kept[index][0], given[view][6 - index])
    assert (tmp_path / "kept" / "features.f16").stat().st_size == 7 * maps.bytes_of_film


def test_what_another_command_has_kept_meanwhile_is_not_kept_twice(tmp_path: Path) -> None:
    paths, given = films(tmp_path / "films", 4), made(4)
    stores = [FeatureMaps(tmp_path / "kept", {}, SHAPE) for _ in range(2)]
    first, second = (store.adding(store.missing(paths)) for store in stores)
    first([0, 1, 2], [view[:3] for view in given])
    second([1, 2, 3], [view[1:] for view in given])
    assert (tmp_path / "kept" / "features.f16").stat().st_size == 4 * stores[0].bytes_of_film
    for view, kept in enumerate(stores[0].views(paths)):
        np.testing.assert_array_equal(np.stack([kept[index][0] for index in range(4)]), given[view])


def test_a_film_that_changes_meanwhile_is_not_kept_as_what_it_became(tmp_path: Path) -> None:
    paths, given = films(tmp_path / "films", 3), made(3)
    maps = FeatureMaps(tmp_path / "kept", {}, SHAPE)
    add = maps.adding(maps.missing(paths))
    paths[1].write_bytes(b"another film")
    add([0, 1, 2], given)
    np.testing.assert_array_equal(FeatureMaps(tmp_path / "kept", {}, SHAPE).missing(paths).rows, [1])
    with pytest.raises(DataError, match="Films changed"):
        maps.views(paths)


def test_features_of_another_recipe_or_shape_are_refused(tmp_path: Path) -> None:
    paths = films(tmp_path / "films", 2)
    keep(FeatureMaps(tmp_path / "kept", {"backbone": "b"}, SHAPE), paths, made(2))
    with pytest.raises(OptionError, match=r"--features .* another recipe \(backbone b, not c\)"):
        FeatureMaps(tmp_path / "kept", {"backbone": "c"}, SHAPE)
    with pytest.raises(OptionError, match="shape"):
        FeatureMaps(tmp_path / "kept", {"backbone": "b"}, (5, 1, 1))


@pytest.mark.parametrize(("file", "place"), [("features.f16", -1), ("index.u8", -1)])
def test_damage_is_found_before_and_refused_while_it_is_read(tmp_path: Path, file: str, place: int) -> None:
    """Of the last film that was written, in its last view; computed again, it may differ in its last bit."""
    paths, given = films(tmp_path / "films", 3), made(3)
    maps = FeatureMaps(tmp_path / "kept", {}, SHAPE)
    keep(maps, paths, given)
    views = maps.views(paths)
    data = bytearray((tmp_path / "kept" / file).read_bytes())
    data[place] ^= 1
    (tmp_path / "kept" / file).write_bytes(data)
    if file == "features.f16":
        with pytest.raises(FilmError, match="damaged while this command ran"):
            views[NUM_VIEWS - 1][2]
        assert isinstance(KeptFeatures(views)[2, NUM_VIEWS - 1][1], FilmError)
    again = FeatureMaps(tmp_path / "kept", {}, SHAPE)
    missing = again.missing(paths)
    assert (missing.rows.tolist(), len(missing.damaged)) == ([2], 1)
    other = [view[2:] + np.float16(0.5) for view in given]
    again.adding(missing)([0], other)
    np.testing.assert_array_equal(again.views(paths)[NUM_VIEWS - 1][2][0], other[NUM_VIEWS - 1][0])
    np.testing.assert_array_equal(again.views(paths)[0][2][0], given[0][2])
    assert len(FeatureMaps(tmp_path / "kept", {}, SHAPE).missing(paths).rows) == 0
    assert (tmp_path / "kept" / "features.f16").stat().st_size == 3 * maps.bytes_of_film


def test_the_seed_of_a_draw_chooses_the_view(tmp_path: Path) -> None:
    paths, given = films(tmp_path / "films", 2), made(2)
    maps = FeatureMaps(tmp_path / "kept", {}, SHAPE)
    keep(maps, paths, given)
    drawn = KeptFeatures(maps.views(paths))
    for seed in range(2 * NUM_VIEWS):
        index, features = drawn[1, seed]
        assert index == 1
        assert isinstance(features, tuple)
        np.testing.assert_array_equal(features[0].numpy(), given[seed % NUM_VIEWS][1])


def test_views_are_the_film_as_it_is_and_others_by_its_name(labels: Path, tmp_path: Path) -> None:
    path = next((labels.parent / "images").iterdir())
    elsewhere = tmp_path.joinpath(*path.parts[-3:])
    elsewhere.parent.mkdir(parents=True)
    elsewhere.write_bytes(path.read_bytes())
    seen = []
    for one in (path, elsewhere):
        source = FilmFiles([one], [Preprocessing(32)], 10**6)
        _, views = FilmViews(source, [one])[0, 5]
        assert isinstance(views, tuple)
        np.testing.assert_array_equal(views[0][0].numpy(), source[0][0])
        seen.append(torch.stack(views))
    assert torch.equal(*seen)


def test_films_of_one_name_in_folders_of_patients_are_augmented_otherwise() -> None:
    paths = [Path(f"train/patient{number:05}/study1/view1_frontal.jpg") for number in range(40)]
    assert len({seed_of(path, view) for path in paths for view in range(1, NUM_VIEWS)}) == 40 * (NUM_VIEWS - 1)
