from dataclasses import replace
from pathlib import Path

from cxrlt_cli.engine.blending import learned_from
from cxrlt_cli.nets.checkpoints import Checkpoint


def test_what_a_model_learned_from(run: Path, labels: Path, tmp_path: Path) -> None:
    checkpoint = Checkpoint.read(run / "best.safetensors")
    assert learned_from(tmp_path, checkpoint, labels, None)
    assert not learned_from(tmp_path, checkpoint, labels.with_name("other.csv"), None)
    of_part = replace(checkpoint, training={"options": {"csv": str(labels), "split": ["train"]}})
    assert learned_from(tmp_path, of_part, labels, ["train", "val"])
    assert not learned_from(tmp_path, of_part, labels, ["test"])


def test_run_yaml_knows_the_whole_path_and_a_name_alone_is_of_any_folder(
    run: Path, labels: Path, tmp_path: Path
) -> None:
    """As it was typed in another folder; here a set of other films has the same name."""
    checkpoint = replace(Checkpoint.read(run / "best.safetensors"), training={"options": {"csv": labels.name}})
    assert learned_from(run / "best.safetensors", checkpoint, labels, None)
    assert learned_from(run, checkpoint, labels, None)
    assert not learned_from(run, checkpoint, tmp_path / labels.name, None)
    assert not learned_from(tmp_path, checkpoint, labels, None), "nothing beside it says where that was"
