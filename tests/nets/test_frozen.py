"""The head of a frozen backbone sees what the whole classifier gives it, and is kept as a whole classifier."""

from copy import deepcopy

import pytest
import torch

from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.nets.checkpoints import Architecture
from cxrlt_cli.nets.classifier import Classifier
from cxrlt_cli.nets.frozen import HeadOnly, features, recipe


def whole(head: str = "csra", backbone: str = "test_convnext", seed: int = 0) -> Classifier:
    torch.manual_seed(seed)
    return Classifier(Architecture(backbone, head), ("a", "b"), Preprocessing(64)).eval()


@pytest.mark.parametrize(("head", "side"), [("linear", 1), ("mlp", 1), ("csra", 2), ("mldecoder", 2)])
def test_the_head_gives_the_logits_of_the_whole(head: str, side: int) -> None:
    """A head that averages is given the mean of the map, which is all that it looks at."""
    model = whole(head)
    films = torch.randint(0, 256, (3, 1, 64, 64), dtype=torch.uint8)
    kept = features(model, films)
    assert kept.shape == (3, model.num_features, side, side)
    alone = HeadOnly(model).eval()
    with torch.inference_mode():
        expected = model(model.normalize(films))
        torch.testing.assert_close(alone(alone.normalize(kept)), expected, rtol=1e-4, atol=1e-5)


def test_its_checkpoint_is_that_of_the_whole() -> None:
    model = whole()
    alone = HeadOnly(model)
    with torch.no_grad():
        next(alone.head.parameters()).add_(1)
    assert alone.num_parameters == model.num_parameters
    tensors, expected = alone.checkpoint().tensors, model.checkpoint().tensors
    assert set(tensors) == set(expected)
    assert all(torch.equal(tensors[name], tensor) for name, tensor in expected.items())


def test_copies_share_the_backbone_and_no_head() -> None:
    alone = HeadOnly(whole())
    copy = deepcopy(alone)
    assert copy._frozen is alone._frozen
    with torch.no_grad():
        next(copy.head.parameters()).zero_()
    assert not torch.equal(next(copy.head.parameters()), next(alone.head.parameters()))


def test_a_recipe_is_of_all_that_decides_features_and_of_no_head_weight() -> None:
    model = whole("csra")
    same = deepcopy(model)
    with torch.no_grad():
        next(same.head.parameters()).zero_()
    assert recipe(same) == recipe(model)
    assert recipe(whole("csra", seed=1)) != recipe(model)
    same.set_normalization((0.1, 0.1, 0.1), model.std)
    assert recipe(same)["mean"] != recipe(model)["mean"]
    assert recipe(whole("linear"))["kept"] != recipe(model)["kept"]
