import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from cxrlt_cli.data.augment import Augmentation
from cxrlt_cli.data.image import Preprocessing, read_film
from cxrlt_cli.data.loading import Batch, EpochDraws, FilmDataset, FilmFiles, on_device, ordered_loader, training_loader
from cxrlt_cli.data.sampling import uniform

NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")

NUM_FILMS = 10


@pytest.fixture
def paths(labels: Path) -> list[Path]:
    return sorted((labels.parent / "images").iterdir())[:NUM_FILMS]


def epochs(paths: list[Path], num_workers: int) -> list[list[Batch]]:
    dataset = FilmDataset(FilmFiles(paths, [Preprocessing(32)], 10**6), Augmentation())
    order = uniform(np.zeros((NUM_FILMS, 1)), 3, 2)
    loader = training_loader(dataset, EpochDraws(order, 4, 3), num_workers=num_workers, pin=False)
    assert len(loader) == 2
    return [list(loader), list(loader)]


def test_batches_do_not_depend_on_the_number_of_workers(paths: list[Path]) -> None:
    alone, helped = epochs(paths, 0), epochs(paths, 2)
    for mine, theirs in zip(alone, helped, strict=True):
        for one, other in zip(mine, theirs, strict=True):
            assert torch.equal(one.indices, other.indices)
            assert torch.equal(one.films[0], other.films[0])
    assert not torch.equal(alone[0][0].indices, alone[1][0].indices)


def test_films_are_single_channel_bytes(paths: list[Path]) -> None:
    batch = epochs(paths, 0)[0][0]
    assert batch.films[0].dtype == torch.uint8
    assert batch.films[0].shape == (4, 1, 32, 32)


def test_an_ordered_loader_gives_every_film_once_as_it_is(paths: list[Path]) -> None:
    dataset = FilmDataset(FilmFiles(paths, [Preprocessing(32)], 10**6))
    batches = list(ordered_loader(dataset, batch_size=4, num_workers=0, pin=False))
    assert torch.cat([batch.indices for batch in batches]).tolist() == list(range(NUM_FILMS))
    assert batches[2].films[0][1, 0].tolist() == Preprocessing(32)(read_film(paths[9])).tolist()


def test_a_film_that_cannot_be_read_is_told_and_never_replaced(paths: list[Path], tmp_path: Path) -> None:
    gone = tmp_path / "gone.png"
    for num_workers in (0, 1):
        dataset = FilmDataset(FilmFiles([paths[0], gone, paths[1]], [Preprocessing(32)], 10**6))
        (batch,) = ordered_loader(dataset, batch_size=3, num_workers=num_workers, pin=False)
        assert batch.indices.tolist() == [0, 2]
        assert batch.films[0].shape[0] == 2
        assert [fault.path for fault in batch.faults] == [gone]


def listed_order(*indices: int) -> Callable[[int], np.ndarray]:
    return lambda _: np.array(indices)


def test_the_same_film_drawn_twice_is_augmented_twice() -> None:
    draws = EpochDraws(listed_order(7, 7, 7, 7), 2, seed=0)
    seeds = [seed for batch in draws for _, seed in batch] + [seed for batch in draws for _, seed in batch]
    assert len(set(seeds)) == 8


def test_a_last_batch_that_is_not_full_is_left_out_unless_it_is_the_only_one() -> None:
    assert [len(batch) for batch in EpochDraws(listed_order(1, 2, 3, 4, 5), 2, seed=0)] == [2, 2]
    assert [len(batch) for batch in EpochDraws(listed_order(1, 2, 3), 8, seed=0)] == [3]


@pytest.mark.parametrize("num_processes", [1, 2, 3, 4])
def test_processes_share_out_what_one_would_draw(num_processes: int) -> None:
    order = uniform(np.zeros((50, 1)), 1, 2)
    alone = list(EpochDraws(order, 12, seed=1))
    shares = [
        list(EpochDraws(order, 12 // num_processes, seed=1, rank=rank, num_processes=num_processes))
        for rank in range(num_processes)
    ]
    for number, batch in enumerate(alone):
        assert sorted(draw for share in shares for draw in share[number]) == sorted(batch)


@pytest.mark.parametrize("num_seen", [0, 1, 3, 4, 6, 8])
def test_draws_can_be_entered_at_any_position(num_seen: int) -> None:
    order = uniform(np.zeros((10, 1)), 1, 3)
    whole = EpochDraws(order, 3, seed=1)
    expected = [batch for _ in range(3) for batch in whole]
    draws = EpochDraws(order, 3, seed=1)
    draws.enter(num_seen)
    rest = [batch for _ in range(3) for batch in draws][: 9 - num_seen]
    assert rest == expected[num_seen:]


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")
def test_workers_of_a_process_that_was_spawned_are_forked(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Or each would import PyTorch before it reads a film."""
    monkeypatch.setattr(
        multiprocessing.context._default_context, "_actual_context", multiprocessing.get_context("spawn")
    )
    assert multiprocessing.get_start_method() == "spawn"
    dataset = FilmDataset(FilmFiles(paths, [Preprocessing(32)], 10**8))
    loader = ordered_loader(dataset, batch_size=4, num_workers=1, pin=False)
    assert sum(len(batch.indices) for batch in loader) == len(paths)
    assert type(loader._iterator._workers[0]).__name__ == "ForkProcess"  # type: ignore[union-attr]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_workers_outlive_a_signal_to_the_whole_group(paths: list[Path], number: int) -> None:
    """As a terminal sends Ctrl-C: the process that they read for may need them until its state is kept."""
    dataset = FilmDataset(FilmFiles(paths * 8, [Preprocessing(32)], 10**8))
    batches = iter(ordered_loader(dataset, batch_size=1, num_workers=1, pin=False))
    seen = len(next(batches).indices)
    os.kill(batches._workers[0].pid, number)  # type: ignore[attr-defined]
    assert seen + sum(len(batch.indices) for batch in batches) == len(dataset)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=NEEDS_GPU)])
def test_batches_come_to_a_device_as_they_are(paths: list[Path], device: str) -> None:
    dataset = FilmDataset(FilmFiles(paths, [Preprocessing(32), Preprocessing(64)], 10**8))
    batches = list(ordered_loader(dataset, batch_size=3, num_workers=0, pin=device == "cuda"))
    moved = list(on_device(batches, torch.device(device)))
    assert len(moved) == len(batches)
    for mine, theirs in zip(moved, batches, strict=True):
        assert [films.device.type for films in mine.films] == [device, device]
        assert all(torch.equal(a.cpu(), b) for a, b in zip(mine.films, theirs.films, strict=True))


@pytest.mark.parametrize("num_films", [1, 3, 5])
def test_an_only_batch_is_shared_out_evenly(num_films: int) -> None:
    order = uniform(np.zeros((num_films, 1)), 1, 1)
    shares = [list(EpochDraws(order, 8, seed=1, rank=rank, num_processes=4)) for rank in range(4)]
    assert {len(share) for share in shares} == {1}
    assert {len(share[0]) for share in shares} == {-(-num_films // 4)}
    assert {index for share in shares for index, _ in share[0]} == set(range(num_films))
