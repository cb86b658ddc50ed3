"""Folds: every patient in one, all films in some, and findings shared out as evenly as patients allow."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrlt_cli.labels import LabelSpace
from cxrlt_cli.tables.fold_shares import share_out
from cxrlt_cli.tables.label_table import LabelTable
from tests.tables.test_label_table import long_tailed


def off_share(table: LabelTable, fold: "np.ndarray[tuple[int], np.dtype[np.int64]]", number: int) -> float:
    """How far the positives of a fold are from an equal share, at the most."""
    counts = np.stack([table.rows(fold == one).counts for one in range(number)])
    return float(np.abs(counts - table.counts / number).max())


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    number=st.integers(2, 8),
    num_patients=st.integers(1, 80),
    films=st.integers(1, 4),
    frequencies=st.lists(st.floats(0.005, 0.7), min_size=1, max_size=6),
)
def test_folds_are_disjoint_by_patient_complete_and_a_function_of_their_seed(
    seed: int, number: int, num_patients: int, films: int, frequencies: list[float]
) -> None:
    rng = np.random.default_rng(seed)
    num_films = num_patients * films
    targets = (rng.random((num_films, len(frequencies))) < frequencies).astype(np.float32)
    targets[rng.random(targets.shape) < 0.1] = np.nan
    patients = np.array([f"p{one}" for one in rng.integers(0, num_patients, num_films)], object)
    ids = np.array([f"{index}.png" for index in range(num_films)], object)
    table = LabelTable(ids, patients, targets, LabelSpace.of([f"f{c}" for c in range(len(frequencies))]))
    fold = table.folds(number, seed)
    assert fold.shape == (num_films,)
    assert ((fold >= 0) & (fold < number)).all()
    assert all(len(set(fold[patients == patient])) == 1 for patient in set(patients))
    assert len(set(fold)) == min(number, table.num_patients), "no fold is empty where there are patients enough"
    np.testing.assert_array_equal(fold, table.folds(number, seed))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6), number=st.integers(2, 10), counts=st.lists(st.integers(0, 40), min_size=1, max_size=8)
)
def test_where_patients_allow_it_every_fold_is_within_one_positive_of_its_share(
    seed: int, number: int, counts: list[int]
) -> None:
    """A finding or none a patient, a film each: nothing stands in the way."""
    finding = np.repeat(np.arange(len(counts) + 1), [*counts, 3 * number])
    positives = np.eye(len(counts) + 1, dtype=np.int64)[finding][:, :-1]
    fold = share_out(positives, np.ones(len(finding), np.int64), number, np.random.default_rng(seed))
    shares = np.stack([positives[fold == one].sum(axis=0) for one in range(number)])
    assert (np.abs(shares - np.array(counts) / number) < 1).all()
    sizes = np.bincount(fold, minlength=number)
    assert sizes.max() - sizes.min() <= 1


@pytest.mark.parametrize("number", [2, 5, 10])
@pytest.mark.parametrize("seed", range(3))
def test_a_long_tail_is_shared_out(seed: int, number: int) -> None:
    """Films of several findings, patients of several films, findings from 9 positives to 1,200."""
    table = long_tailed()
    fold = table.folds(number, seed)
    assert off_share(table, fold, number) <= 1
    sizes = np.bincount(fold)
    assert sizes.max() - sizes.min() <= 0.02 * len(table)
    assert (fold != table.folds(number, seed + 1)).any()


def test_a_patient_of_many_films_takes_no_others_place() -> None:
    """One who has half of all positives fills a fold; the others share the rest."""
    positives = np.array([[10], *[[1]] * 12])
    fold = share_out(positives, np.maximum(positives[:, 0], 1), 4, np.random.default_rng(0))
    shares = [int(positives[fold == one].sum()) for one in range(4)]
    assert sorted(shares) == [4, 4, 4, 10]
