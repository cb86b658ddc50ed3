from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.errors import CheckpointError
from cxrlt_cli.nets.checkpoints import Architecture, Checkpoint
from cxrlt_cli.nets.classifier import Classifier
from cxrlt_cli.nets.soup import average, greedy, require_alike

PATHS = (Path("a"), Path("b"))


def checkpoint(seed: int, head: str = "linear", findings: tuple[str, ...] = ("a", "b")) -> Checkpoint:
    torch.manual_seed(seed)
    return Classifier(Architecture("test_resnet", head), findings, Preprocessing(32)).checkpoint()


def test_the_mean_is_that_of_a_loop_and_of_the_same_it_is_the_same() -> None:
    members = [checkpoint(seed).tensors for seed in range(3)]
    soup = average(members)
    assert soup.keys() == members[0].keys()
    for name, tensor in soup.items():
        assert tensor.dtype == members[0][name].dtype
        if tensor.is_floating_point():
            expected = sum(one[name].double() / 3 for one in members)
            torch.testing.assert_close(tensor.double(), expected, rtol=1e-6, atol=1e-9)
    same = average([members[0]] * 3)
    assert all(torch.equal(same[name], members[0][name]) for name in same)
    assert all(same[name].data_ptr() != members[0][name].data_ptr() for name in same if same[name].numel())


def test_what_does_not_mean_the_same_is_refused() -> None:
    first = checkpoint(0)
    require_alike([first, checkpoint(1)], PATHS)
    others = {
        "backbone and head": checkpoint(1, head="csra"),
        "findings, or their order": checkpoint(1, findings=("b", "a")),
        "image size": replace(first, preprocessing=Preprocessing(64)),
        "mean and deviation": replace(first, std=(1.0, 1.0, 1.0)),
        "tensors": replace(first, tensors={**first.tensors, "more": torch.zeros(1)}),
    }
    for what, other in others.items():
        with pytest.raises(CheckpointError, match=f"b and a cannot be averaged: they differ in .*{what}") as caught:
            require_alike([first, other], PATHS)
        assert "without --soup" in caught.value.hint


def test_greedy_takes_the_best_and_those_that_do_no_harm() -> None:
    asked: list[tuple[int, ...]] = []
    worth = {(2, 0): 0.7, (2, 1): 0.8, (2, 1, 3): 0.8}

    def score(chosen: tuple[int, ...]) -> float:
        asked.append(chosen)
        return worth[chosen]

    assert greedy([0.75, 0.5, 0.8, 0.1], score) == (2, 1, 3)
    assert asked == [(2, 0), (2, 1), (2, 1, 3)]
    assert greedy([0.9, 0.1], lambda _: 0.0) == (0,)
