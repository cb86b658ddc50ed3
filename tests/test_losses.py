import math
from typing import Any, get_args

import numpy as np
import pytest
import torch

from cxrlt_cli import losses
from cxrlt_cli.config import TrainOptions
from cxrlt_cli.errors import OptionError
from tests.helpers import golden

COUNTS, NUM_IMAGES = [400, 150, 60, 12, 3], 1000


def batch(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    case = golden()["small"]
    return torch.tensor(case["logits"], dtype=dtype), torch.tensor(case["targets"], dtype=dtype)


GOLDEN_CASES = [(part, name) for part in ("small", "challenge") for name in golden()[part]["cases"]]


ELEMENTWISE = [name for name in losses.LOSSES if name not in losses.WHOLE]
# References that keep their weights in float32; db-lite's lose 2e-5 of a weight where n_c is 3.
SINGLE = {"db": 1e-5, "ldam": 1e-5, "ldam-drw": 1e-5, "mfm": 1e-5, "asl-exp": 1e-5, "db-lite": 3e-5}


@pytest.mark.parametrize(("part", "name"), GOLDEN_CASES)
def test_value_and_gradient_equal_the_published_reference(part: str, name: str) -> None:
    data = golden()[part]
    case = data["cases"][name]
    logits = torch.tensor(data["logits"], dtype=torch.float64, requires_grad=True)
    targets = torch.tensor(data["targets"], dtype=torch.float64)
    criterion = losses.create(case["loss"], data["counts"], data["num_images"], **case["hyperparameters"])
    criterion.set_epoch(100)
    value = criterion(logits, targets)
    value.backward()
    assert logits.grad is not None
    expected = torch.tensor(case["grad"], dtype=torch.float64)
    tolerance = 1e-9 if name.endswith("paper") else SINGLE.get(case["loss"], 1e-9)
    assert value.item() == pytest.approx(case["value"], rel=tolerance)
    torch.testing.assert_close(logits.grad, expected, rtol=tolerance, atol=tolerance * float(expected.abs().max()))


@pytest.mark.parametrize("part", ["small", "challenge"])
def test_weights_and_margins_equal_the_published_reference(part: str) -> None:
    data = golden()[part]
    weights = losses.effective_number_weights(data["counts"], 0.9999)
    assert weights.dtype == torch.float64
    assert weights.mean().item() == pytest.approx(1)
    np.testing.assert_allclose(weights, data["effective_number_weights"], rtol=1e-6)
    np.testing.assert_allclose(losses.ldam_margins(data["counts"], 0.5), data["ldam_margins"], rtol=1e-6)


def test_every_loss_of_the_reference_was_looked_at() -> None:
    assert {golden()[part]["cases"][name]["loss"] for part, name in GOLDEN_CASES} >= set(losses.LOSSES) - {
        "weighted-bce",
        "cb-focal",
    }


def naive(name: str, z: float, y: float, row: list[float], c: int, counts: list[float]) -> float:
    """One entry of a loss, in plain Python."""
    p = 1 / (1 + math.exp(-z))
    numbers = [max(n, 1) for n in counts]
    n = numbers[c]
    cross = -math.log(p if y else 1 - p)
    shifted = max(p - 0.05, 0.0)
    effective = [(1 - 0.9999) / (1 - 0.9999**k) for k in numbers]
    weights = [e / (sum(effective) / len(effective)) for e in effective]
    if name == "bce":
        return cross
    if name == "weighted-bce":
        return cross * (min(math.sqrt(max(NUM_IMAGES - n, 0) / n), 20) if y else 1)
    if name in ("focal", "cb-focal"):
        return ((1 - p if y else p) ** 2) * cross * (weights[c] if name == "cb-focal" else 1)
    if name == "asl":
        return cross if y else -(shifted**4) * math.log(1 - shifted)
    if name == "asl-exp":
        share = counts[c] / NUM_IMAGES
        if y:
            return math.exp(1 - share) * (1 - p) * cross
        return -math.exp(share) * shifted**4 * math.log(1 - shifted)
    if name == "ral":
        if y:
            return -(math.log(p) + (1 - p) - 1.25 * (1 - p) ** 2)
        return -(shifted**4) * math.log(1 - shifted) * (1.5 - p) * p * p * (0.5 + shifted)
    if name == "hill":
        margin = 1 / (1 + math.exp(1 - z))
        return -((1 - margin) ** 2) * math.log(margin) if y else (1.5 - p) * p * p
    if name in ("ldam", "ldam-drw"):
        margin = 0.5 * (min(numbers) / n) ** 0.25
        return math.log1p(math.exp(-30 * (z - margin) if y else 30 * z))
    if name == "db-lite":
        inverse = [1 / (w + 1e-6) for w in weights]
        margin = 0.2 * (inverse[c] - min(inverse)) / (max(inverse) - min(inverse))
        return math.sqrt(weights[c]) * math.log1p(math.exp(-(z - margin) if y else z))
    if name == "mfm":
        factor = (1 - math.log(n / max(numbers))) ** (1 / 6)
        return float(factor * (cross if y else -(shifted ** (4 + factor)) * math.log(1 - shifted)))
    assert name == "db"
    kept = [min(k, NUM_IMAGES - 1) for k in numbers]
    share = sum(1 / k for k, present in zip(kept, row, strict=True) if present)
    weight = 0.1 + (1 / (1 + math.exp(-10 * ((1 / kept[c]) / share - 0.2))) if share else 1.0)
    x = z - 0.05 * math.log(NUM_IMAGES / kept[c] - 1)
    t = x if y else -2 * x
    q = 1 / (1 + math.exp(-t))
    return -2 * (1 - q) ** 2 * weight * math.log(q) / (1 if y else 2)


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("counts", [COUNTS, [0, 1000, 60, 12, 3]], ids=["usual", "none and all"])
def test_elementwise_equals_a_naive_loop(name: str, counts: list[float]) -> None:
    logits, targets = batch()
    ours = losses.create(name, counts, NUM_IMAGES).elementwise(logits, targets)
    for row in range(len(logits)):
        for column in range(5):
            labels = targets[row].tolist()
            expected = naive(name, logits[row, column].item(), labels[column], labels, column, counts)
            assert ours[row, column].item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_two_way_equals_a_naive_loop() -> None:
    """Over films and over findings that have a positive; an unlabelled entry is on neither side."""
    logits, targets = batch()
    targets[0, 1] = float("nan")

    def cost(z: torch.Tensor, y: torch.Tensor) -> list[float]:
        pairs = [
            sum(math.exp(a) for a in row[label == 0].tolist())
            * sum(math.exp(-b / 4) for b in row[label == 1].tolist()) ** 4
            for row, label in zip(z, y, strict=True)
            if (label == 1).any()
        ]
        return [math.log1p(pair) for pair in pairs]

    expected = np.mean(cost(logits, targets)) + np.mean(cost(logits.T, targets.T))
    criterion = losses.create("twoway", COUNTS, NUM_IMAGES)
    assert criterion(logits, targets).item() == pytest.approx(float(expected))
    with pytest.raises(TypeError, match="no loss of a single one"):
        criterion.elementwise(logits, targets)
    with pytest.raises(OptionError, match="cannot be reduced by 'sum'"):
        losses.create("twoway", COUNTS, NUM_IMAGES, reduction="sum")


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_films_and_findings_may_be_permuted(name: str) -> None:
    logits, targets = batch()
    films, findings = torch.randperm(len(logits)), torch.randperm(5)
    before = losses.create(name, COUNTS, NUM_IMAGES).elementwise(logits, targets)
    after = losses.create(name, np.array(COUNTS)[findings.numpy()], NUM_IMAGES).elementwise(
        logits[films][:, findings], targets[films][:, findings]
    )
    torch.testing.assert_close(after, before[films][:, findings])


@pytest.mark.parametrize("name", ELEMENTWISE)
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
@pytest.mark.parametrize("size", [1.0, 60.0], ids=["usual", "far out"])
def test_no_gradient_comes_from_where_nobody_looked(name: str, size: float) -> None:
    """Exactly none, whatever the logit there; and the others' is what it is whatever the logit there."""
    logits, targets = batch()
    nobody = torch.rand(targets.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    masked = targets.masked_fill(nobody, float("nan"))
    gradients = []
    for factor in (size, -size):
        chosen = torch.where(nobody, factor * logits, logits).requires_grad_()
        losses.create(name, COUNTS, NUM_IMAGES)(chosen, masked).backward()
        assert chosen.grad is not None
        assert (chosen.grad[nobody] == 0).all()
        gradients.append(chosen.grad[~nobody])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=0)
    assert gradients[0].abs().sum() > 0


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


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_a_better_logit_costs_less(name: str) -> None:
    """The broken asymmetric loss of the seed pays for pushing false positives up."""
    logits = torch.linspace(-6, 6, 49, dtype=torch.float64)[:, None]
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
    others: dict[str, dict[str, Any]] = {
        "weighted-bce": {"power": 0},
        "focal": {"gamma": 0},
        "cb-focal": {"gamma": 0, "beta": 0},
        "ldam": {"max_margin": 0, "scale": 1},
        "ldam-drw": {"max_margin": 0, "scale": 1, "drw_epoch": 0, "drw_beta": 0},
        "db-lite": {"beta": 0, "max_margin": 0},
    }
    for name, settings in others.items():
        value = losses.create(name, COUNTS, NUM_IMAGES, **settings)(logits, targets)
        assert value.item() == pytest.approx(expected.item()), name
    even = losses.create("mfm", [400] * 5, 800, gamma_neg=3)(logits, targets)
    assert even == losses.create("asl", [400] * 5, 800, gamma_neg=4)(logits, targets)
    halves = losses.create("asl-exp", [400] * 5, 800, gamma_neg=0, gamma_pos=0, clip=0)(logits, targets)
    assert halves.item() == pytest.approx(expected.item() * math.exp(0.5))


def test_deferred_weights_begin_at_their_epoch() -> None:
    logits, targets = batch()
    settings: dict[str, Any] = {"drw_epoch": 3, "drw_weighting": "positives"}
    criterion = losses.create("ldam-drw", COUNTS, NUM_IMAGES, **settings)
    plain = losses.create("ldam", COUNTS, NUM_IMAGES).elementwise(logits, targets)
    criterion.set_epoch(2)
    assert torch.equal(criterion.elementwise(logits, targets), plain)
    criterion.set_epoch(3)
    weights = losses.effective_number_weights(COUNTS, 0.9999)
    expected = torch.where(targets == 1, weights * plain, plain)
    torch.testing.assert_close(criterion.elementwise(logits, targets), expected)
    both = losses.create("ldam-drw", COUNTS, NUM_IMAGES, drw_epoch=0)
    torch.testing.assert_close(both.elementwise(logits, targets), weights * plain)


def test_ldam_on_scaled_logits_has_scaled_margins() -> None:
    """What a model that scales its logits itself is trained with."""
    logits, targets = batch()
    published = losses.create("ldam", COUNTS, NUM_IMAGES)(logits, targets)
    ours = losses.create("ldam", COUNTS, NUM_IMAGES, scale=1, max_margin=15)(30 * logits, targets)
    assert ours.item() == pytest.approx(published.item())


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_a_film_twice_counts_twice(name: str) -> None:
    logits, targets = batch()
    criterion = losses.create(name, COUNTS, NUM_IMAGES)
    assert criterion(logits.repeat(2, 1), targets.repeat(2, 1)).item() == pytest.approx(
        criterion(logits, targets).item()
    )


def test_settings_that_a_loss_does_not_have_are_refused() -> None:
    with pytest.raises(OptionError, match=r"Loss asl has no setting gamma\.") as caught:
        losses.create("asl", COUNTS, NUM_IMAGES, gamma=2)
    assert "gamma_neg=4.0" in caught.value.hint
    with pytest.raises(OptionError, match="gamma of loss focal is -1"):
        losses.create("focal", COUNTS, NUM_IMAGES, gamma=-1)
    with pytest.raises(OptionError, match="weighting is 3"):
        losses.create("cb-focal", COUNTS, NUM_IMAGES, weighting=3)
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("cb-focal", {"weighting": "Both"}), ("cb-focal", {"beta": 1.0}), ("ldam-drw", {"drw_beta": 1.5}),
        ("ldam-drw", {"drw_weighting": "negatives"}), ("db", {"neg_scale": 0}), ("twoway", {"T_pos": 0}),
        ("ldam", {"scale": 0}), ("asl", {"clip": 1}), ("db", {"alpha": -5}), ("focal", {"gamma": 1e9}),
    ]  # fmt: skip
    for name, settings in wrong:
        ((key, value),) = settings.items()
        with pytest.raises(OptionError, match=f"{key} of loss {name} is {value}"):
            losses.create(name, COUNTS, NUM_IMAGES, **settings)


def test_a_negative_alpha_weighs_both_sides_alike() -> None:
    """As in fvcore; as a weight it would pay for wrong positives."""
    logits, targets = batch()
    plain = losses.create("focal", COUNTS, NUM_IMAGES)(logits, targets)
    assert losses.create("focal", COUNTS, NUM_IMAGES, alpha=-1)(logits, targets) == plain


def test_counts_near_the_number_of_films_keep_their_digits() -> None:
    """N / n - 1 in float32 is off by 2 % where ten million films have all but one."""
    targets, logits = torch.ones(1, 1), torch.zeros(1, 1)
    values = [
        losses.create("db", [10**7 - 1], 10**7)(logits.to(dtype), targets).item()
        for dtype in (torch.float32, torch.float64)
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-5)


def test_a_focal_gamma_below_1_has_a_gradient_where_it_saturates() -> None:
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    losses.create("focal", [5, 5], 10, gamma=0.5)(logits, torch.tensor([[1.0, 0.0]])).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_the_options_offer_what_there_is() -> None:
    assert set(get_args(TrainOptions.model_fields["loss"].annotation)) == set(losses.LOSSES)


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


@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0, 2.0])
def test_logit_adjustment_of_one_of_two_is_the_softmax_of_the_paper(tau: float) -> None:
    """Menon et al. 2021, eq. 10: cross-entropy of ``z_y + tau log pi_y`` over classes, here positive and negative."""
    logits, targets = batch()
    share = torch.tensor(COUNTS, dtype=torch.float64) / NUM_IMAGES
    value = losses.create("bce", COUNTS, NUM_IMAGES, reduction="none", logit_adjust=tau)(logits, targets)
    for film in range(len(logits)):
        for finding, pi in enumerate(share):
            both = torch.stack([logits[film, finding] + tau * pi.log(), tau * (1 - pi).log()])
            answer = torch.tensor(int(targets[film, finding] == 0))
            expected = torch.nn.functional.cross_entropy(both[None], answer[None])
            assert value[film, finding].item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("name", losses.LOSSES)
def test_logit_adjustment_is_a_shift_of_each_findings_logits(name: str) -> None:
    """A finding on half of the films is not shifted; other losses see the shifted logits and nothing else."""
    logits, targets = batch()
    adjusted = losses.create(name, COUNTS, NUM_IMAGES, logit_adjust=1.5)
    plain = losses.create(name, COUNTS, NUM_IMAGES)
    share = torch.tensor(COUNTS, dtype=torch.float64) / NUM_IMAGES
    torch.testing.assert_close(adjusted(logits, targets), plain(logits + 1.5 * torch.logit(share), targets))
    even = losses.create(name, [500] * 5, NUM_IMAGES, logit_adjust=1.5)
    torch.testing.assert_close(even(logits, targets), losses.create(name, [500] * 5, NUM_IMAGES)(logits, targets))


@pytest.mark.parametrize("counts", [[0, 5], [10, 10]])
def test_logit_adjustment_of_findings_on_no_film_or_on_all_is_finite(counts: list[int]) -> None:
    value = losses.create("bce", counts, 10, logit_adjust=5.0)(torch.zeros(3, 2), torch.ones(3, 2))
    assert math.isfinite(value.item())


def test_logit_adjustment_and_prior_bias_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="exclude each other"):
        TrainOptions(prior_bias=True, logit_adjust=1.0)
