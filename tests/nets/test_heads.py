from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from cxrlt_cli.config import TrainOptions
from cxrlt_cli.nets import heads
from tests.helpers import golden


@pytest.mark.parametrize("case", golden()["csra"], ids=lambda case: f"{case['num_heads']} heads")
def test_csra_equals_the_published_reference(case: dict[str, object]) -> None:
    weights = torch.tensor(case["weights"], dtype=torch.float64)
    features = torch.tensor(case["x"], dtype=torch.float64, requires_grad=True)
    head = heads.create("csra", weights.shape[2], weights.shape[1], csra_heads=len(weights), csra_lambda=case["lam"])  # type: ignore[arg-type]
    head.double().load_state_dict({"weight": weights})
    logits = head(features)
    (logits**2).sum().backward()
    torch.testing.assert_close(logits, torch.tensor(case["logits"], dtype=torch.float64))
    expected = torch.tensor(case["input_grad_of_sum_of_squares"], dtype=torch.float64)
    torch.testing.assert_close(features.grad, expected)


def test_the_winners_csra_equals_its_reference() -> None:
    case = golden()["csra_winner"]
    head = heads.create("csra-winner", 6, 4, csra_lambda=case["lam"]).double()
    head.load_state_dict({name: torch.tensor(value, dtype=torch.float64) for name, value in case["state"].items()})
    logits = head(torch.tensor(case["x"], dtype=torch.float64))
    torch.testing.assert_close(logits, torch.tensor(case["logits"], dtype=torch.float64))


@pytest.mark.parametrize("name", sorted(heads.HEADS))
@pytest.mark.parametrize("csra_heads", [1, 2])
def test_gradients_lie_in_memory_as_their_parameters_do(name: str, csra_heads: int) -> None:
    """Several processes copy them into one another, and warn at each start where they do not."""
    head = heads.create(name, 8, 3, csra_heads=csra_heads).to(memory_format=torch.channels_last)
    head(torch.randn(4, 8, 2, 2).contiguous(memory_format=torch.channels_last)).sum().backward()
    for parameter in head.parameters():
        assert parameter.grad is not None
        assert parameter.grad.stride() == parameter.stride()


@pytest.mark.parametrize("name", ["linear", "mlp", "csra", "csra-winner"])
def test_a_channels_last_map_is_not_copied(name: str) -> None:
    """It comes so from the backbone; mldecoder's attention is PyTorch's, which orders its tokens anew."""
    copied: list[str] = []

    class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            given = operation(*args, **(kwargs or {}))
            is_copy = any(word in str(operation) for word in ("clone", "copy"))
            if is_copy and isinstance(given, torch.Tensor) and given.numel() >= features.numel():
                copied.append(str(operation))
            return given

    head = heads.create(name, 96, 3)
    features = torch.randn(2, 96, 7, 7).contiguous(memory_format=torch.channels_last)
    with Watch():  # type: ignore[no-untyped-call]
        head(features)
    assert copied == []


def test_csra_equals_a_naive_loop() -> None:
    torch.manual_seed(0)
    head: Any = heads.create("csra", 5, 3, csra_heads=4, csra_lambda=0.3).double()
    features = torch.randn(2, 5, 2, 3, dtype=torch.float64)
    logits = head(features)
    for n in range(2):
        for c in range(3):
            total = 0.0
            for a, temperature in enumerate((1, 2, 4, None)):
                w = head.weight[a, c].detach().numpy()
                maps = features[n].reshape(5, 6).numpy()
                s = w @ maps / np.linalg.norm(w)
                e = np.exp(temperature * s) if temperature else (s == s.max()).astype(float)
                total += s.mean() + 0.3 * (e / e.sum() * s).sum()
            assert logits[n, c].item() == pytest.approx(total)


@pytest.mark.parametrize("name", heads.HEADS)
@pytest.mark.parametrize("shape", [(2, 16, 4, 4), (3, 16, 1, 1), (2, 16, 3, 7)])
def test_every_head_gives_logits_that_can_learn(name: str, shape: tuple[int, ...]) -> None:
    head = heads.create(name, 16, 5)
    logits = head(torch.randn(shape))
    assert logits.shape == (shape[0], 5)
    logits.square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in head.parameters())


@pytest.mark.parametrize("name", heads.HEADS)
def test_the_finding_axis_is_told_rightly(name: str) -> None:
    head = heads.create(name, 16, 5)
    state = head.state_dict()
    axes = {tensor: axis for tensor, axis in head.finding_axis.items() if tensor in state}
    assert all(state[tensor].shape[axis] == 5 for tensor, axis in axes.items())
    others = {tensor: value for tensor, value in state.items() if tensor not in head.finding_axis}
    assert all(5 not in value.shape for value in others.values())


@pytest.mark.parametrize("name", [name for name, head in heads.HEADS.items() if hasattr(head, "attend")])
def test_attention_comes_with_the_logits(name: str) -> None:
    head: Any = heads.create(name, 16, 5, csra_heads=4).eval()
    features = torch.randn(2, 16, 3, 4)
    logits, attention = head.attend(features)
    assert torch.equal(logits, head(features))
    assert attention.shape == (2, 5, 3, 4)
    torch.testing.assert_close(attention.sum(dim=(2, 3)), torch.ones(2, 5))


@pytest.mark.parametrize("name", heads.HEADS)
def test_a_head_starts_at_the_base_rate(name: str) -> None:
    head: Any = heads.create(name, 8, 3, bias=True).eval()
    base = torch.tensor([-3.0, 0.5, 2.0])
    head.start_at(base)
    for parameter in head.parameters():
        if parameter.ndim > 1:
            torch.nn.init.zeros_(parameter)
    torch.testing.assert_close(head(torch.randn(2, 8, 2, 2)), base.expand(2, 3))


@pytest.mark.parametrize("name", [name for name in heads.HEADS if name != "csra"])
def test_a_head_whose_logits_are_scaled_starts_with_the_same_probabilities(name: str) -> None:
    features = torch.randn(2, 8, 2, 2)
    logits = []
    for scale in (1.0, 30.0):
        torch.manual_seed(0)
        logits.append(scale * heads.create(name, 8, 3, logit_scale=scale).eval()(features))
    torch.testing.assert_close(*logits)


def test_ml_decoder_equals_its_formulas() -> None:
    """One decoder layer without self-attention, post-norm, a query for each two findings."""
    torch.manual_seed(0)
    settings: dict[str, int] = {"num_queries": 2, "dim": 8, "num_heads": 2, "feedforward": 12}
    head: Any = heads.MLDecoder(6, 3, **settings).eval().double()
    torch.nn.init.normal_(head.bias)
    features = torch.randn(2, 6, 2, 2, dtype=torch.float64)
    logits, attention = head.attend(features)
    project = head.attention.in_proj_weight.split(8), head.attention.in_proj_bias.split(8)
    for n in range(2):
        tokens = torch.relu(features[n].reshape(6, 4).T @ head.embed.weight.T + head.embed.bias)
        hidden = head.norms[0](2 * head.queries)
        q, k, v = (x @ w.T + b for x, w, b in zip((hidden, tokens, tokens), *project, strict=True))
        shares = [(q[:, part] @ k[:, part].T / 2).softmax(dim=1) for part in (slice(0, 4), slice(4, 8))]
        seen = torch.cat(
            [share @ v[:, part] for share, part in zip(shares, (slice(0, 4), slice(4, 8)), strict=True)], 1
        )
        hidden = head.norms[1](hidden + head.attention.out_proj(seen))
        hidden = head.norms[2](hidden + head.feedforward(hidden))
        expected = [hidden[c // 2] @ head.weight[c // 2, :, c % 2] + head.bias[c] for c in range(3)]
        torch.testing.assert_close(logits[n], torch.stack(expected))
        torch.testing.assert_close(attention[n, 2].flatten(), (shares[0] + shares[1])[1] / 2)
    assert not head.queries.requires_grad
    assert head.finding_axis == {}


def test_a_weight_row_of_zeros_scores_zero() -> None:
    head = heads.create("csra", 4, 2)
    head.load_state_dict({"weight": torch.zeros(1, 2, 4)})
    assert (head(torch.randn(3, 4, 2, 2)) == 0).all()


def test_the_options_offer_what_there_is() -> None:
    assert set(get_args(TrainOptions.model_fields["head"].annotation)) == set(heads.HEADS)
    assert get_args(TrainOptions.model_fields["csra_heads"].annotation) == tuple(heads.TEMPERATURES)
