import numpy as np
import pytest
import torch
from sklearn.covariance import ledoit_wolf
from sklearn.metrics import roc_auc_score

from cxrlt_cli.errors import CheckpointError
from cxrlt_cli.nets.novelty import NUM_NEIGHBOURS, Novelty, _share, ridge_of, whitening_of


def made_up(number: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Features ``[N, 6]`` that two findings shift, and targets."""
    rng = torch.Generator().manual_seed(seed)
    targets = (torch.rand(number, 2, generator=rng) < 0.3).float()
    shift = torch.tensor([[3.0, 0, 0, 0, 0, 0], [0, 3.0, 0, 0, 0, 0]])
    noise = torch.randn(number, 6, generator=rng) * torch.tensor([1, 1, 1, 0.3, 0.3, 2.0])
    return noise + targets @ shift + 4, targets


def fitted() -> Novelty:
    features, targets = made_up(600)
    return Novelty.fit(features, targets, made_up(150, 1)[0], torch.Generator().manual_seed(0))


def test_the_ridge_is_ledoit_and_wolfs() -> None:
    x = np.random.default_rng(0).normal(size=(40, 12)) * np.linspace(0.2, 3, 12)
    x -= x.mean(axis=0)
    covariance, shrinkage = ledoit_wolf(x, assume_centered=True)
    assert 0.01 < shrinkage < 0.9
    films = torch.from_numpy(x)
    ours = whitening_of(films, ridge_of(films))
    np.testing.assert_allclose((ours @ ours.T).numpy(), (1 - shrinkage) * np.linalg.inv(covariance), rtol=1e-6)


def test_distances_are_those_of_a_naive_loop() -> None:
    """Means, covariances and neighbours from the films themselves, in float64, with features far from 0."""
    features, targets = made_up(600)
    features = features + 300
    novelty = Novelty.fit(features, targets, features[:50], torch.Generator().manual_seed(0))
    x, y = features.double().numpy(), targets.numpy()
    groups = [x[y[:, 0] == 1], x[y[:, 1] == 1], x[(y == 0).all(axis=1)]]
    within = np.concatenate([group - group.mean(axis=0) for group in groups])
    ridge = float(ridge_of(torch.from_numpy(within)))
    precision, background = (
        np.linalg.inv(rows.T @ rows / len(rows) + ridge * np.eye(6)) for rows in (within, x - x.mean(axis=0))
    )
    films = made_up(5, 2)[0] + 300
    relative, neighbour = novelty.distances(films)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    for film, mine, near in zip(films.double().numpy(), relative, neighbour, strict=True):
        gaps = [film - group.mean(axis=0) for group in groups]
        to_all = (film - x.mean(axis=0)) @ background @ (film - x.mean(axis=0))
        assert float(mine) == pytest.approx(min(gap @ precision @ gap for gap in gaps) - to_all, rel=1e-3, abs=1e-3)
        distances = sorted(np.linalg.norm(film / np.linalg.norm(film) - other) for other in unit)
        assert float(near) == pytest.approx(distances[NUM_NEIGHBOURS - 1], rel=0.05, abs=1e-4)


def test_other_films_stand_out_and_like_films_do_not() -> None:
    novelty = fitted()
    like, _ = made_up(300, 3)
    strange = made_up(300, 4)[0] + torch.tensor([0, 0, 0, 4.0, -4.0, 0])
    scores = torch.cat([novelty.score(like), novelty.score(strange)]).numpy()
    assert roc_auc_score([0] * 300 + [1] * 300, scores) > 0.99
    assert 0.4 < scores[:300].mean() < 0.6, "the share of the validation films that are less strange"
    assert ((scores >= 0) & (scores < 1)).all()


def test_beyond_all_that_was_seen_the_order_stays() -> None:
    held_out = torch.tensor([1.0, 2, 3])
    shares = _share(torch.tensor([0.5, 1.5, 3.5, 5, 500, 5e4]), held_out)
    assert (shares.diff() > 0).all()
    assert shares[0] == 0
    assert shares[1] == 0.25
    assert shares[-1] < 1


def test_it_comes_back_from_tensors_and_its_lack_is_told() -> None:
    novelty, (films, _) = fitted(), made_up(20, 5)
    again = Novelty.of(novelty.tensors())
    torch.testing.assert_close(again.score(films), novelty.score(films))
    with pytest.raises(CheckpointError, match="remembers nothing"):
        Novelty.of({})
