import numpy as np
import pytest

from cxrlt_cli.data.levels import histogram, look_up, percentile_range, stretch


def test_levels_are_stretched_and_cut() -> None:
    levels = np.array([[0, 100, 160], [200, 250, 1000]], np.uint16)
    assert stretch(levels, 100, 200).tolist() == [[0, 0, 153], [255, 255, 255]]
    assert stretch(np.full((2, 2), 7, np.uint16), 7, 7).tolist() == [[0, 0], [0, 0]], "a constant film is black"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_range_is_that_of_all_pixels(dtype: type[np.unsignedinteger]) -> None:
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 200, (40, 50)).astype(dtype)
    counts = histogram(levels, 200)
    assert counts.tolist() == [int((levels == value).sum()) for value in range(200)]
    low, high = percentile_range(np.arange(200), counts)
    inside = np.sort(levels.ravel())
    assert (low, high) == (inside[int(np.ceil(0.005 * inside.size)) - 1], inside[int(np.ceil(0.995 * inside.size)) - 1])


def test_the_range_of_nearly_one_level_is_its_extremes() -> None:
    counts = np.array([1, 0, 9_999, 1])
    assert percentile_range(np.array([3, 4, 5, 9]), counts) == (3, 9)


def test_a_table_is_looked_up_as_numpy_would() -> None:
    table = np.random.default_rng(1).integers(0, 256, 300).astype(np.uint8)
    levels = np.random.default_rng(2).integers(0, 300, (5, 7)).astype(np.uint16)
    assert np.array_equal(look_up(levels, table), table[levels])
