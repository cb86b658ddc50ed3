"""Features in a folder: what is kept is what was given, view by view, and several may fill it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cxrlt_cli.data.feature_maps import NUM_VIEWS, FeatureMaps, FilmViews, KeptFeatures, seed_of
from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.data.loading import FilmFiles
from cxrlt_cli.errors import FilmError, OptionError

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


def test_each_view_of_each_film_is_as_it_was_given(tmp_path: Path) -> None:
    paths, given = films(tmp_path / "films", 7), made(7)
    maps = FeatureMaps(tmp_path / "kept", {"backbone": "b"}, SHAPE)
    np.testing.assert_array_equal(maps.missing(paths), np.arange(7))
    for chosen in ([3, 0], [1, 2, 4, 5, 6]):
        maps.add([paths[row] for row in chosen], [view[chosen] for view in given])
    again = FeatureMaps(tmp_path / "kept", {"backbone": "b"}, SHAPE)
    assert len(again.missing(paths)) == 0
    backwards = paths[::-1]
    for store in (maps, again):
        for view, kept in enumerate(store.views(backwards)):
            for index in range(7):
                np.testing.assert_array_equal(kept[index][0], given[view][6 - index])
    assert (tmp_path / "kept" / "features.f16").stat().st_size == 7 * maps.bytes_of_film


def test_what_another_command_has_kept_meanwhile_is_not_kept_twice(tmp_path: Path) -> None:
    paths, given = films(tmp_path / "films", 4), made(4)
    stores = [FeatureMaps(tmp_path / "kept", {}, SHAPE) for _ in range(2)]
    for store in stores:
        assert len(store.missing(paths)) == 4
    stores[0].add(paths[:3], [view[:3] for view in given])
    stores[1].add(paths[1:], [view[1:] for view in given])
    assert (tmp_path / "kept" / "features.f16").stat().st_size == 4 * stores[0].bytes_of_film
    for view, kept in enumerate(stores[0].views(paths)):
        np.testing.assert_array_equal(np.stack([kept[index][0] for index in range(4)]), given[view])


def test_features_of_another_recipe_or_shape_are_refused(tmp_path: Path) -> None:
    paths = films(tmp_path / "films", 2)
    maps = FeatureMaps(tmp_path / "kept", {"backbone": "b"}, SHAPE)
    maps.missing(paths)
    maps.add(paths, made(2))
    with pytest.raises(OptionError, match=r"--features .* another recipe \(backbone b, not c\)"):
        FeatureMaps(tmp_path / "kept", {"backbone": "c"}, SHAPE)
    with pytest.raises(OptionError, match="shape"):
        FeatureMaps(tmp_path / "kept", {"backbone": "b"}, (5, 1, 1))


def test_damage_is_found_before_and_refused_while_it_is_read(tmp_path: Path) -> None:
    paths, given = films(tmp_path / "films", 3), made(3)
    maps = FeatureMaps(tmp_path / "kept", {}, SHAPE)
    maps.missing(paths)
    maps.add(paths, given)
    views = maps.views(paths)
    data = bytearray((tmp_path / "kept" / "features.f16").read_bytes())
    data[-1] ^= 1  # the last film that was written, in its last view
    (tmp_path / "kept" / "features.f16").write_bytes(data)
    with pytest.raises(FilmError, match="damaged while this command ran"):
        views[NUM_VIEWS - 1][2]
    assert isinstance(KeptFeatures(views)[2, NUM_VIEWS - 1][1], FilmError)
    again = FeatureMaps(tmp_path / "kept", {}, SHAPE)
    np.testing.assert_array_equal(again.missing(paths), [2])
    assert again.num_damaged == 1
    again.add(paths[2:], [view[2:] for view in given])
    np.testing.assert_array_equal(again.views(paths)[NUM_VIEWS - 1][2][0], given[NUM_VIEWS - 1][2])
    assert (tmp_path / "kept" / "features.f16").stat().st_size == 3 * maps.bytes_of_film


def test_the_seed_of_a_draw_chooses_the_view(tmp_path: Path) -> None:
    paths, given = films(tmp_path / "films", 2), made(2)
    maps = FeatureMaps(tmp_path / "kept", {}, SHAPE)
    maps.missing(paths)
    maps.add(paths, given)
    drawn = KeptFeatures(maps.views(paths))
    for seed in range(2 * NUM_VIEWS):
        index, features = drawn[1, seed]
        assert index == 1
        assert isinstance(features, tuple)
        np.testing.assert_array_equal(features[0].numpy(), given[seed % NUM_VIEWS][1])


def test_views_are_the_film_as_it_is_and_others_by_its_name_alone(labels: Path, tmp_path: Path) -> None:
    path = next((labels.parent / "images").iterdir())
    elsewhere = tmp_path / path.name
    elsewhere.write_bytes(path.read_bytes())
    seen = []
    for one in (path, elsewhere):
        source = FilmFiles([one], [Preprocessing(32)], 10**6)
        _, views = FilmViews(source, [one])[0, 5]
        assert isinstance(views, tuple)
        np.testing.assert_array_equal(views[0][0].numpy(), source[0][0])
        seen.append(torch.stack(views))
    assert torch.equal(*seen)
    assert len({seed_of(path, view) for view in range(1, NUM_VIEWS)}) == NUM_VIEWS - 1
