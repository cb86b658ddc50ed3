"""Two sets that label different findings, trained on together: neither finding suffers, and empty is not 0.

Phantoms, of which half of the patients are labelled for one finding alone, and the others for another. A linear head
learns on frozen features of phantom-clip, with the losses and the orders that ``train`` makes of a label table. (That
``train`` as a whole does so too is the last test, which takes minutes.)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cxrlt_cli import losses
from cxrlt_cli.config import TrainOptions
from cxrlt_cli.data.sampling import SAMPLERS, create
from cxrlt_cli.errors import OptionError
from cxrlt_cli.labels import LabelSpace
from cxrlt_cli.nets.clip import PHANTOM_CLIP, load
from cxrlt_cli.phantom import draw
from cxrlt_cli.scores.metrics import prevalence, score
from cxrlt_cli.tables.label_table import LabelTable
from cxrlt_cli.training.method import Method, logit_scale, order

NAMES = ("atelectasis", "alveolar pattern")
NUM, NUM_HELD_OUT, NUM_STEPS = 320, 200, 120
FIRST = (np.arange(NUM) // 2) % 2 == 0  # films of patients who are labelled for the first finding
HALVES, EVERYBODY = (FIRST, ~FIRST), np.ones(NUM, bool)
Labels = NDArray[np.float32]

# Both heads go down nearly the same loss, that of the films that are labelled: what differs is the weight of a finding
# beside another and the order of the films. Of 114 comparisons (these ways, three sets of films, two findings) the
# worst lost 0.013 of AP. With 0 for empty, all ways but hill lost 0.02 to 0.10 of the mean AP.
MARGIN = 0.03
TOLERANT = "hill"  # made for positives that nobody wrote down: with it, 0 for empty costs nothing


@dataclass(frozen=True)
class Films:
    """Features of drawings, and who has what: those to learn from, then those that are held out."""

    features: torch.Tensor  # [NUM + NUM_HELD_OUT, D]
    truth: Labels  # [NUM + NUM_HELD_OUT, 2]

    def labels(self, fill: float) -> Labels:
        """Those that are known of the training films, with ``fill`` for the others."""
        known = self.truth[:NUM].copy()
        known[FIRST, 1] = known[~FIRST, 0] = fill
        return known

    def predicted(self, rows: NDArray[np.bool_], targets: Labels, loss: str, sampler: str = "cas") -> Labels:
        """For the films that are held out, by a head that learned from these ``rows`` with these ``targets``."""
        names = [f"finding {column}" for column in range(targets.shape[1])]
        ids = np.flatnonzero(rows).astype(str).astype(object)
        table = LabelTable(ids, ids, targets, LabelSpace.of(names))
        given = {"preset": "phantom", "loss": loss, "sampler": sampler, "epochs": 10}
        options = TrainOptions.model_validate(given).resolved()
        scale = logit_scale(options)
        method = Method.of(table, options, scale)
        films, labels = self.features[:NUM][torch.from_numpy(rows)], torch.from_numpy(targets)
        weight = torch.zeros(len(names), films.shape[1], requires_grad=True)
        bias = torch.zeros(len(names), requires_grad=True)
        optimizer = torch.optim.AdamW([weight, bias], lr=0.03 / scale**0.5, weight_decay=0.05)
        draws = np.concatenate([method.order(epoch % 10) for epoch in range(400)])
        for step in range(NUM_STEPS):
            method.criterion.set_epoch(10 * step // NUM_STEPS)
            batch = torch.from_numpy(draws[64 * step : 64 * (step + 1)])
            optimizer.param_groups[0]["lr"] = 0.03 / scale**0.5 * (1 - step / NUM_STEPS)
            optimizer.zero_grad()
            method.criterion(scale * (films[batch] @ weight.T + bias), labels[batch]).backward()
            optimizer.step()
        logits = scale * (self.features[NUM:] @ weight.T + bias)
        return np.asarray(torch.sigmoid(logits).detach().numpy(), np.float32)

    def ap(self, probabilities: Labels, column: int) -> float:
        found = score(self.truth[NUM:, [column]], probabilities, ["it"]).findings[0].ap
        assert found is not None
        return found


def drawings(
    seed: int, size: int, number: int, names: Sequence[str], share: float
) -> tuple[list[NDArray[np.uint8]], Labels]:
    """So many films, two a patient, and the findings that stand on them, each with this probability."""
    truth = (np.random.default_rng(seed).random((number, 2)) < share).astype(np.float32)
    films = []
    for index, has in enumerate(truth):
        drawn = [name for name, value in zip(names, has, strict=True) if value]
        film, _ = draw(drawn, patient_seed=1000 * seed + index // 2, film_seed=10**6 * seed + index, size=size)
        films.append((film // 16).astype(np.uint8))
    return films, truth


def made(seed: int) -> Films:
    encoder = load(PHANTOM_CLIP)
    films, truth = drawings(seed, encoder.prepare.image_size, NUM + NUM_HELD_OUT, NAMES, 0.3)
    prepared = torch.from_numpy(np.stack([encoder.prepare(film) for film in films])[:, None])
    features = torch.cat([encoder.encode_images(some.float()) for some in torch.split(prepared, 40)])
    return Films((features - features[:NUM].mean(0)) / features[:NUM].std(0), truth)


@pytest.fixture(scope="module")
def films() -> Films:
    return made(1)


def compared(films: Films, loss: str, sampler: str) -> tuple[list[float], list[float], list[float]]:
    """AP of both findings: learned together, each alone from its own half, and together with 0 for empty."""
    together = films.predicted(EVERYBODY, films.labels(np.nan), loss, sampler)
    zeros = films.predicted(EVERYBODY, films.labels(0), loss, sampler)
    alone = [films.predicted(half, films.truth[:NUM][half][:, [c]], loss, sampler) for c, half in enumerate(HALVES)]
    return (
        [films.ap(together[:, [c]], c) for c in (0, 1)],
        [films.ap(alone[c], c) for c in (0, 1)],
        [films.ap(zeros[:, [c]], c) for c in (0, 1)],
    )


WAYS = [*((loss, "cas") for loss in losses.LOSSES), *(("db", sampler) for sampler in SAMPLERS if sampler != "cas")]


@pytest.mark.parametrize(("loss", "sampler"), WAYS)
def test_neither_finding_suffers_from_the_films_that_do_not_say(films: Films, loss: str, sampler: str) -> None:
    torch.set_num_threads(1)
    together, alone, zeros = compared(films, loss, sampler)
    for c, chance in enumerate(films.truth[NUM:].mean(axis=0)):
        assert together[c] >= alone[c] - MARGIN, NAMES[c]
        assert together[c] >= chance + 0.3, NAMES[c]
    assert loss == TOLERANT or sum(zeros) / 2 < sum(together) / 2 - 0.02, "empty is not taken for 0"


def test_probabilities_are_those_of_the_films_that_are_labelled(films: Films) -> None:
    """Of 0 for empty, they would be half as high."""
    torch.set_num_threads(1)
    shares = prevalence(films.labels(np.nan))
    together = films.predicted(EVERYBODY, films.labels(np.nan), "bce", "uniform").mean(axis=0)
    zeros = films.predicted(EVERYBODY, films.labels(0), "bce", "uniform").mean(axis=0)
    assert np.abs(together - shares).max() < 0.06
    assert (zeros < together - 0.05).all()


def test_what_is_counted_is_labelled(films: Films) -> None:
    """Counts of the loss, prevalence, bands and the bias to start from: each finding of its own half."""
    ids = np.arange(NUM).astype(str).astype(object)
    table = LabelTable(ids, ids, films.labels(np.nan), LabelSpace.of(NAMES))
    for c, half in enumerate(HALVES):
        alone = films.truth[:NUM][half, c]
        assert table.counts[c] == alone.sum()
        assert table.num_labelled[c] == NUM // 2
        assert prevalence(table.targets)[c] == int(alone.sum()) / len(alone)
    criterion = Method.of(table, TrainOptions(preset="phantom").resolved(), 1.0).criterion
    assert criterion.counts.tolist() == table.counts.tolist()
    assert criterion.num_images.tolist() == [NUM // 2] * 2


@pytest.mark.parametrize("normal", [False, True], ids=["findings alone", "with a normal"])
def test_a_film_without_any_label_is_no_film_without_a_finding(normal: bool) -> None:
    """Class-aware sampling draws those at their share; one that nobody looked at teaches nothing, and is not drawn."""
    rows = [[0, 1, np.nan]] * 30 + [[0, np.nan, 1]] * 20 + [[1 if normal else 0, 0, np.nan]] * 50 + [[np.nan] * 3] * 100
    targets = np.array(rows, np.float32)
    ids = np.arange(len(rows)).astype(str).astype(object)
    table = LabelTable(ids, ids, targets, LabelSpace.of(("No Finding" if normal else "c", "a", "b")))
    given = {"preset": "phantom", "sampler": "cas", "sampler_options": {"epoch_length": 600}}
    draws = order(table, TrainOptions.model_validate(given).resolved())(0)
    assert draws.max() < 100
    assert (draws >= 50).mean() == 0.5
    assert np.isnan(targets[100:]).all(), "the table is as it was"
    with pytest.raises(OptionError, match="every film has a finding"):
        create("cas", targets[[0, 150]], seed=0, num_epochs=1, epoch_length=10, negative_share=0.5)
