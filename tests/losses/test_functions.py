"""What holds of losses as functions, by themselves; ``tests/test_losses.py`` has their naive loops and golden cases."""

from typing import Any

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from cxrlt_cli.losses import functions

COUNTS, NUM_FILMS = torch.tensor([50.0, 5.0]), torch.tensor([100.0, 100.0])
ABOUT: dict[str, Any] = {"counts": COUNTS, "num_images": NUM_FILMS}


def drawn() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    logits = 4 * torch.randn(64, 2)
    return logits, (torch.rand(64, 2) < 0.3).float()


def test_cross_entropy_is_that_of_pytorch() -> None:
    logits, targets = drawn()
    expected = binary_cross_entropy_with_logits(logits, targets, reduction="none")
    torch.testing.assert_close(functions.bce(logits, targets, **ABOUT), expected)


def test_without_their_settings_losses_are_cross_entropy() -> None:
    """Focal with gamma 0; ASL with both gammas 0 and no clip; weights to the power of 0."""
    logits, targets = drawn()
    plain = functions.bce(logits, targets, **ABOUT)
    torch.testing.assert_close(functions.focal(logits, targets, gamma=0.0, **ABOUT), plain)
    asl = functions.asl(logits, targets, gamma_neg=0.0, gamma_pos=0.0, clip=0.0, **ABOUT)
    torch.testing.assert_close(asl, plain, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(functions.weighted_bce(logits, targets, power=0.0, **ABOUT), plain)


def test_positives_alone_weigh_more_where_a_finding_is_rare() -> None:
    """sqrt(95 / 5) for the positives of 5 films of 100; those of 50 of 100 weigh 1, and negatives always do."""
    logits = torch.zeros(1, 2)
    ratio = [functions.weighted_bce(logits, y, **ABOUT) / functions.bce(logits, y, **ABOUT)
             for y in (torch.ones(1, 2), torch.zeros(1, 2))]  # fmt: skip
    torch.testing.assert_close(ratio[0], torch.tensor([[1.0, (95 / 5) ** 0.5]]))
    torch.testing.assert_close(ratio[1], torch.ones(1, 2))


def test_asl_drops_negatives_that_are_very_easy() -> None:
    easy = torch.tensor([[-4.0, -2.0]])  # probabilities of 0.018 and 0.119
    losses = functions.asl(easy, torch.zeros(1, 2), clip=0.05, **ABOUT)
    assert losses[0, 0] == 0 < losses[0, 1]


def test_focal_has_a_gradient_where_the_probability_saturates() -> None:
    logits = torch.tensor([[60.0, -60.0]], requires_grad=True)
    loss = functions.focal(logits, torch.ones(1, 2), gamma=0.5, **ABOUT).sum()
    (gradient,) = torch.autograd.grad(loss, logits)
    assert torch.isfinite(gradient).all()


def test_weights_may_be_of_positives_alone() -> None:
    targets, weights = torch.tensor([[1.0, 0.0]]), torch.tensor([3.0, 5.0])
    assert torch.equal(functions.side_weights(targets, weights, "both"), torch.tensor([[3.0, 5.0]]))
    assert torch.equal(functions.side_weights(targets, weights, "positives"), torch.tensor([[3.0, 1.0]]))
