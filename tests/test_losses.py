import math
from typing import Any

import numpy as np
import pytest
import torch

from cxrlt_cli import losses
from tests.helpers import golden

COUNTS, NUM_IMAGES = [400, 150, 60, 12, 3], 1000


def batch(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    case = golden()["small"]
    return torch.tensor(case["logits"], dtype=dtype), torch.tensor(case["targets"], dtype=dtype)


GOLDEN_CASES = [(part, name) for part in ("small", "challenge") for name in golden()[part]["cases"]]


@pytest.mark.parametrize(("part", "name"), GOLDEN_CASES)
def test_value_and_gradient_equal_the_published_reference(part: str, name: str) -> None:
    data = golden()[part]
    case = data["cases"][name]
    logits = torch.tensor(data["logits"], dtype=torch.float64, requires_grad=True)
    targets = torch.tensor(data["targets"], dtype=torch.float64)
    criterion = losses.create(case["loss"], data["counts"], data["num_images"], **case["hyperparameters"])
    value = criterion(logits, targets)
    value.backward()
    assert logits.grad is not None
    expected = torch.tensor(case["grad"], dtype=torch.float64)
    # the published Distribution-Balanced code keeps its bias and weights in float32
    tolerance = 1e-5 if name.endswith("official") else 1e-9
    assert value.item() == pytest.approx(case["value"], rel=tolerance)
    torch.testing.assert_close(logits.grad, expected, rtol=tolerance, atol=tolerance * float(expected.abs().max()))


def naive(name: str, z: float, y: float, row: list[float], count: float, counts: list[float]) -> float:
    """One entry of a loss, in plain Python."""
    p = 1 / (1 + math.exp(-z))
    if name == "bce":
        return -math.log(p if y else 1 - p)
    if name == "asl":
        shifted = max(p - 0.05, 0.0)
        return -math.log(p) if y else -(shifted**4) * math.log(1 - shifted)
    kept = [min(max(c, 1), NUM_IMAGES - 1) for c in counts]
    n = min(max(count, 1), NUM_IMAGES - 1)
    share = sum(1 / c for c, present in zip(kept, row, strict=True) if present)
    weight = 0.1 + (1 / (1 + math.exp(-10 * ((1 / n) / share - 0.2))) if share else 1.0)
    x = z - 0.05 * math.log(NUM_IMAGES / n - 1)
    t = x if y else -2 * x
    q = 1 / (1 + math.exp(-t))
    return -2 * (1 - q) ** 2 * weight * math.log(q) / (1 if y else 2)


@pytest.mark.parametrize("name", losses.LOSSES)
@pytest.mark.parametrize("counts", [COUNTS, [0, 1000, 60, 12, 3]], ids=["usual", "none and all"])
def test_elementwise_equals_a_naive_loop(name: str, counts: list[float]) -> None:
    logits, targets = batch()
    ours = losses.create(name, counts, NUM_IMAGES).elementwise(logits, targets)
    for row in range(len(logits)):
        for column in range(5):
            labels = targets[row].tolist()
            expected = naive(name, logits[row, column].item(), labels[column], labels, counts[column], counts)
            assert ours[row, column].item() == pytest.approx(expected, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("name", losses.LOSSES)
def test_films_and_findings_may_be_permuted(name: str) -> None:
    logits, targets = batch()
    films, findings = torch.randperm(len(logits)), torch.randperm(5)
    before = losses.create(name, COUNTS, NUM_IMAGES).elementwise(logits, targets)
    after = losses.create(name, np.array(COUNTS)[findings.numpy()], NUM_IMAGES).elementwise(
        logits[films][:, findings], targets[films][:, findings]
    )
    torch.testing.assert_close(after, before[films][:, findings])


@pytest.mark.parametrize("name", losses.LOSSES)
def test_unlabelled_entries_count_for_nothing(name: str) -> None:
    logits, targets = batch()
    logits.requires_grad_()
    masked = targets.clone()
    masked[0, 1] = masked[3, 2] = float("nan")
    criterion = losses.create(name, COUNTS, NUM_IMAGES)
    elements = criterion.elementwise(logits, masked)
    assert elements[0, 1] == 0
    assert elements[3, 2] == 0
    value = criterion(logits, masked)
    assert value.item() == pytest.approx(elements.sum().item() / (targets.numel() - 2))
    value.backward()
    assert logits.grad is not None
    assert logits.grad[0, 1] == 0
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("name", losses.LOSSES)
def test_a_batch_without_a_label_has_loss_zero(name: str) -> None:
    logits = torch.randn(4, 5, requires_grad=True)
    value = losses.create(name, COUNTS, NUM_IMAGES)(logits, torch.full((4, 5), float("nan")))
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("name", losses.LOSSES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("counts", [COUNTS, [0, 0, 0, 0, 0], [1000] * 5], ids=["usual", "none", "all"])
def test_extremes_stay_finite(name: str, dtype: torch.dtype, counts: list[float]) -> None:
    logits = torch.tensor([[-60.0, 60.0, 0.0, -60.0, 60.0]] * 3, dtype=dtype, requires_grad=True)
    targets = torch.tensor([[1.0, 0, 1, 0, 1], [0, 0, 0, 0, 0], [0, 1, 0, 1, 0]])
    value = losses.create(name, counts, NUM_IMAGES)(logits, targets)
    value.backward()
    assert value.dtype in (torch.float32, torch.float64)
    assert torch.isfinite(value)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("name", losses.LOSSES)
def test_the_callers_logits_are_left_alone(name: str) -> None:
    """The published Distribution-Balanced code adds its bias to them in place."""
    logits, targets = batch()
    before = logits.clone()
    losses.create(name, COUNTS, NUM_IMAGES)(logits, targets)
    assert torch.equal(logits, before)


@pytest.mark.parametrize("name", losses.LOSSES)
def test_a_better_logit_costs_less(name: str) -> None:
    """The broken asymmetric loss of the seed pays for pushing false positives up."""
    logits = torch.linspace(-6, 6, 49)[:, None]
    criterion = losses.create(name, [50], 1000)
    positive = criterion.elementwise(logits, torch.ones(49, 1)).flatten()
    negative = criterion.elementwise(logits, torch.zeros(49, 1)).flatten()
    assert (positive.diff() < 0).all()
    assert (negative.diff() >= 0).all()


def test_neutral_parameters_give_binary_cross_entropy() -> None:
    logits, targets = batch()
    expected = losses.create("bce", COUNTS, NUM_IMAGES)(logits, targets)
    asl = losses.create("asl", COUNTS, NUM_IMAGES, gamma_neg=0, gamma_pos=0, clip=0)(logits, targets)
    neutral: dict[str, Any] = {"alpha": 0.5, "beta": 0, "neg_scale": 1, "init_bias": 0, "focal_gamma": 0, "balance": 1}
    db = losses.create("db", COUNTS, NUM_IMAGES, **neutral)(logits, targets)
    assert asl.item() == pytest.approx(expected.item())
    assert db.item() == pytest.approx(expected.item())


def test_asl_does_not_leak_its_gradient_mode() -> None:
    logits, targets = batch()
    with torch.no_grad():
        losses.create("asl", COUNTS, NUM_IMAGES)(logits, targets)
        assert not torch.is_grad_enabled()


def test_counts_may_be_out_of_the_labelled_films_of_each_finding() -> None:
    logits, targets = batch()
    same = losses.create("db", COUNTS, [NUM_IMAGES] * 5)(logits, targets)
    fewer = losses.create("db", COUNTS, [1000, 200, 1000, 1000, 1000])(logits, targets)
    assert same == losses.create("db", COUNTS, NUM_IMAGES)(logits, targets)
    assert fewer != same


def test_reductions() -> None:
    logits, targets = batch()
    mean, total, each = (losses.create("bce", COUNTS, NUM_IMAGES, reduction=how)(logits, targets)
                         for how in ("mean", "sum", "none"))  # fmt: skip
    assert each.shape == logits.shape
    assert each.sum() == total
    assert total / logits.numel() == mean
