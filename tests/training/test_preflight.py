"""What is refused before anything is read: sizes that patches do not fill."""

from pathlib import Path

import pytest

from cxrlt_cli.errors import OptionError
from cxrlt_cli.verbs.train import train
from tests.conftest import run_options
from tests.helpers import Recorder


def test_patches_fill_the_film(labels: Path, tmp_path: Path) -> None:
    wanted = run_options(labels, tmp_path / "run", backbone="vit_tiny_patch16_224", image_size=100)
    with pytest.raises(OptionError, match="100 does not fit vit_tiny_patch16_224, with patches of 16") as caught:
        train(wanted, Recorder())
    assert caught.value.hint == "Pass 96 or 112."
    with pytest.raises(OptionError, match="no feature map of 96x100 px"):
        train(wanted.model_copy(update={"image_size": (96, 100)}), Recorder())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("backbone", ["test_convnext", "pvt_v2_b0"])
def test_convolutions_and_patches_that_overlap_take_any_size(backbone: str, labels: Path, tmp_path: Path) -> None:
    train(run_options(labels, tmp_path / "run", backbone=backbone, image_size=100, dry_run=True), Recorder())
