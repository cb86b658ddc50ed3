import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cxrlt_cli import losses
from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.data.loading import Batch
from cxrlt_cli.engine.process import Process
from cxrlt_cli.errors import DataError, FilmError, WorkerError
from cxrlt_cli.nets.checkpoints import Architecture
from cxrlt_cli.nets.classifier import Classifier
from cxrlt_cli.training.learner import Learner
from cxrlt_cli.training.schedule import Phase
from tests.helpers import head_of

CPU = Process(torch.device("cpu"), torch.float32, 0)
HEAD = Phase("head", 1, "head", 1e-2, 0.0, 0.0, False, 0.0)
ALL = Phase("all", 1, "all", 1e-2, 1e-3, 0.0, False, 0.9)
TARGETS = torch.tensor([[1.0, 0], [0, 1], [1, 1], [0, 0], [1, 0], [0, 1], [1, float("nan")], [0, 0]])
IDS = [f"{index}.png" for index in range(8)]
SETTINGS = {"weight_decay": 0.0, "layer_decay": 1.0, "clip_grad": 1.0, "accumulate": 1, "process": CPU}


def classifier(backbone: str = "test_resnet", head: str = "linear") -> Classifier:
    torch.manual_seed(0)
    return Classifier(Architecture(backbone, head), ("a", "b"), Preprocessing(32))


def batches(*groups: list[int]) -> list[Batch]:
    films = torch.randint(0, 255, (8, 1, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    return [Batch(torch.tensor(group), (films[group],), ()) for group in groups]


def learn(student: Learner, drawn: list[Batch], targets: torch.Tensor = TARGETS) -> tuple[float, int]:
    return student.epoch(drawn, range(len(drawn)), targets, IDS, lambda _: None, lambda *_: None)


def learner(
    model: Classifier, phase: Phase, accumulate: int = 1, num_steps: int = 4, clip_grad: float = 1.0
) -> Learner:
    criterion = losses.create("bce", [4, 3], 8)
    settings = {**SETTINGS, "clip_grad": clip_grad, "accumulate": accumulate}
    return Learner(model, criterion, phase, num_steps=num_steps, **settings)  # type: ignore[arg-type]


def snapshot(model: Classifier) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def changed(model: Classifier, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}


def test_in_the_first_phase_nothing_of_the_backbone_changes() -> None:
    """test_resnet has batch norms, whose statistics a frozen backbone in train mode would still change."""
    model = classifier()
    before = snapshot(model)
    learn(learner(model, HEAD), batches([0, 1, 2, 3], [4, 5, 6, 7]))
    assert changed(model, before) == {"head.classifier.weight", "head.classifier.bias"}


def test_in_the_second_phase_everything_learns() -> None:
    model = classifier()
    before = snapshot(model)
    learn(learner(model, ALL), batches([0, 1, 2, 3], [4, 5, 6, 7]))
    assert changed(model, before) == set(before)


def test_accumulated_batches_make_the_step_of_one_large_batch() -> None:
    """Also where the batches have different numbers of labels."""
    one, two = classifier("test_convnext"), classifier("test_convnext")
    targets = TARGETS.clone()
    targets[:3] = float("nan")
    learn(learner(one, ALL), batches(list(range(8))), targets)
    learn(learner(two, ALL, accumulate=2), batches([0, 1, 2, 3], [4, 5, 6, 7]), targets)
    for name, value in one.state_dict().items():
        torch.testing.assert_close(two.state_dict()[name], value, rtol=1e-3, atol=1e-5)


def test_the_gradient_that_is_clipped_is_that_of_the_mean_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adam does not feel a wrong scale; clipping does."""
    norms = []
    clip = torch.nn.utils.clip_grad_norm_

    def remembered(parameters: list[torch.Tensor], most: float) -> torch.Tensor:
        norms.append(clip(parameters, most))
        return norms[-1]

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", remembered)
    model = classifier("test_convnext")
    (batch,) = batches([0, 1, 2, 6])
    loss = losses.create("bce", [4, 3], 8)(model(model.normalize(batch.films[0])), TARGETS[batch.indices])
    loss.backward()
    expected = torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm()
    model.zero_grad()
    learn(learner(model, ALL), [batch])
    assert norms[0].item() == pytest.approx(expected.item(), rel=1e-4)


def test_a_group_that_is_not_full_still_makes_a_step() -> None:
    model = classifier()
    before = snapshot(model)
    learn(learner(model, HEAD, accumulate=3), batches([0, 1, 2, 3]))
    assert changed(model, before)


def test_the_mean_loss_is_over_films() -> None:
    model = classifier("test_convnext")
    frozen = Phase("head", 1, "head", 1e-30, 0.0, 0.0, False, 0.0)
    loss, num_films = learn(learner(model, frozen), batches([0, 1, 2], [3, 4, 5]))
    assert num_films == 6
    model.eval()
    images = model.normalize(batches([0, 1, 2, 3, 4, 5])[0].films[0])
    with torch.inference_mode():
        assert loss / 6 == pytest.approx(losses.create("bce", [4, 3], 8)(model(images), TARGETS[:6]).item(), rel=1e-5)


def test_averaged_weights_trail_behind_and_are_what_is_evaluated() -> None:
    model = classifier()
    student = learner(model, ALL)
    learn(student, batches([0, 1, 2, 3], [4, 5, 6, 7], [0, 2, 4, 6]))
    assert set(student.variants) == {"raw", "ema"}
    assert student.variants["raw"] is model
    assert changed(model, snapshot(student.variants["ema"]))
    assert set(learner(model, HEAD).variants) == {"raw"}


def test_the_decay_is_warmed_up_and_told() -> None:
    """1 - s^(-2/3) after step s: 1 - 1/4 after 8; at most the phase's, 0.9, though 1 - 32^(-2/3) > 0.9."""
    student = learner(classifier(), ALL, num_steps=32)
    learn(student, batches(*[[0, 1]] * 8))
    assert student.ema_decay == pytest.approx(0.75)
    learn(student, batches(*[[0, 1]] * 24))
    assert student.ema_decay == 0.9
    assert learner(classifier(), HEAD).ema_decay == 0


def test_the_mean_of_epochs_is_the_plain_one() -> None:
    """Of weights and of batch-norm statistics."""
    model = classifier()
    student = learner(model, Phase("all", 1, "all", 1e-2, 1e-3, 0.0, False, 0.0))
    states = []
    for group in ([0, 1, 2, 3], [4, 5, 6, 7], [0, 2, 4, 6]):
        learn(student, batches(group))
        student.average()
        states.append(snapshot(model))
    for name, value in student.variants["average"].state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, torch.stack([state[name] for state in states]).mean(dim=0))


def test_class_weights_belong_to_names() -> None:
    criterion = losses.create("bce", [4, 3], 8, findings=("b", "a"))
    with pytest.raises(AssertionError, match="names"):
        Learner(classifier(), criterion, HEAD, num_steps=1, **SETTINGS)  # type: ignore[arg-type]


def test_the_rate_follows_the_schedule() -> None:
    ramp = Phase("all", 1, "all", 1.0, 0.1, 0.5, True, 0.0)
    student = learner(classifier(), ramp, num_steps=4)
    learn(student, batches([0, 1]))
    assert student.rates == {"head": 0.5, "backbone": pytest.approx(0.05)}
    learn(student, batches([0, 1]))
    assert student.rates == {"head": 1.0, "backbone": pytest.approx(0.1)}


def test_a_loss_that_is_not_finite_stops_with_its_films() -> None:
    model = classifier()
    torch.nn.init.constant_(head_of(model).classifier.bias, float("inf"))
    with pytest.raises(WorkerError, match=r"step 1; films 2\.png, 3\.png") as caught:
        learn(learner(model, HEAD), batches([2, 3]))
    assert caught.value.exit_code == 5
    assert "--lr-warmup" in caught.value.hint


def spoil(model: Classifier, value: float, *steps: int) -> None:
    """The gradients of these backward passes, from 0; of all where none are named."""
    passes = itertools.count()
    head_of(model).classifier.weight.register_hook(
        lambda gradient: torch.full_like(gradient, value) if next(passes) in steps or not steps else gradient
    )


@pytest.mark.parametrize(
    ("value", "told", "clip_grad"), [(float("nan"), "nan", 1.0), (float("inf"), "infinite", 1.0), (1e38, "infinite", 0)]
)
def test_a_gradient_that_is_not_finite_stops_with_the_films_of_its_step(
    value: float, told: str, clip_grad: float
) -> None:
    """Its loss is finite, and so is that of the step before; the next step would be the first with a loss of nan."""
    model = classifier()
    spoil(model, value, 2)
    written: list[int] = []

    def after_step(number: int, sums: Callable[[], tuple[float, int]]) -> None:
        sums()
        written.append(number)

    drawn = batches([0, 1], [2, 3], [4, 5], [6, 7], [0, 1], [2, 3])
    student = learner(model, HEAD, accumulate=2, clip_grad=clip_grad)
    match = rf"^The gradient is {told} in phase 'head', step 2; films 4\.png, 5\.png, 6\.png, 7\.png\.\n.*--lr-warmup"
    with pytest.raises(WorkerError, match=match) as caught:
        student.epoch(drawn, range(6), TARGETS, IDS, lambda _: None, after_step)
    assert caught.value.exit_code == 5
    assert written == [2], "no state is kept of what it ruined"
    with pytest.raises(WorkerError, match=r"step 2; films 4\.png"):  # where no state is written, a step later
        model = classifier()
        spoil(model, value, 2)
        learn(learner(model, HEAD, accumulate=2, clip_grad=clip_grad), drawn)


def test_of_several_processes_all_name_the_films_of_all() -> None:
    """The gradient is theirs together."""

    class OfTwo(Process):
        def collected(self, mine: Any) -> list[Any]:
            return [mine, [7]]

    model = classifier()
    spoil(model, float("nan"))
    settings = {**SETTINGS, "process": OfTwo(torch.device("cpu"), torch.float32, 0)}
    student = Learner(model, losses.create("bce", [4, 3], 8), HEAD, num_steps=4, **settings)  # type: ignore[arg-type]
    with pytest.raises(WorkerError, match=r"films 2\.png, 3\.png, 7\.png"):
        learn(student, batches([2, 3]))


def test_in_fp16_a_step_that_overflows_is_left_out_and_one_that_always_does_is_told() -> None:
    model = classifier()
    settings = {**SETTINGS, "process": Process(torch.device("cpu"), torch.float16, 0)}
    student = Learner(model, losses.create("bce", [4, 3], 8), HEAD, num_steps=4, **settings)  # type: ignore[arg-type]
    spoil(model, float("inf"), 0)
    before = snapshot(model)
    learn(student, batches([0, 1]))
    assert not changed(model, before)
    learn(student, batches([2, 3]))
    assert changed(model, before)
    spoil(model, float("nan"))
    with pytest.raises(WorkerError, match=r"^The gradient is nan in phase 'head', step \d+; films"):
        learn(student, batches(*[[0, 1]] * 60))
    assert all(value.isfinite().all() for value in model.state_dict().values())


def test_a_film_that_is_gone_stops_with_its_name() -> None:
    fault = FilmError(Path("gone.png"), "does not exist")
    broken = Batch(torch.tensor([0]), (torch.zeros(1, 1, 32, 32, dtype=torch.uint8),), (fault,))
    with pytest.raises(DataError, match=r"gone\.png: does not exist"):
        learn(learner(classifier(), HEAD), [broken])
