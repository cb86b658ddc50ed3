from pathlib import Path

import pytest

from cxrlt_cli.cli.options import build, read_config
from cxrlt_cli.config import EnsembleOptions, EvaluateOptions, InferOptions, TrainOptions
from cxrlt_cli.errors import OptionError


def yaml_of(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    return path


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    path = yaml_of(tmp_path, "loss: asl\nimage-size: 128\nfindings: [a, b]\n")
    options = build(TrainOptions, {"image_size": 256}, read_config(TrainOptions, path), path)
    assert (options.loss, options.image_size, options.findings, options.head) == ("asl", 256, ("a", "b"), "csra")


def test_an_empty_file_is_no_option(tmp_path: Path) -> None:
    assert read_config(TrainOptions, yaml_of(tmp_path, "# nothing\n")) == {}


@pytest.mark.parametrize(("text", "said"), [
    ("los: bce\n", "no option 'los'. Did you mean loss?"),
    ("- a\n- b\n", "one 'name: value' a line"),
    ("a: [1\n", "no valid YAML"),
    ("!!python/object/apply:os.mkdir [x]\n", "no valid YAML"),
])  # fmt: skip
def test_files_that_hold_no_options_are_told(tmp_path: Path, text: str, said: str) -> None:
    path = yaml_of(tmp_path, text)
    with pytest.raises(OptionError) as caught:
        read_config(TrainOptions, path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").touch()
    with pytest.raises(OptionError, match=r"--config .*ruin\.yaml does not exist\. Did you mean run\.yaml\?"):
        read_config(TrainOptions, tmp_path / "ruin.yaml")
    with pytest.raises(OptionError, match="cannot be read: Is a directory"):
        read_config(TrainOptions, tmp_path)


def test_a_file_that_never_ends_is_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [ha]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)), "exclude: *a9"]
    with pytest.raises(OptionError, match=r"an alias \(\*\) stands here"):
        read_config(TrainOptions, yaml_of(tmp_path, "\n".join(lines)))


def test_a_bad_value_names_its_flag_or_its_key(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"--lr-head = -1.*above 0"):
        build(TrainOptions, {"lr_head": -1}, {})
    path = yaml_of(tmp_path, "loss: foo\n")
    with pytest.raises(OptionError, match=r"run\.yaml: loss = foo"):
        build(TrainOptions, {}, read_config(TrainOptions, path), path)
    with pytest.raises(OptionError, match="nothing to train"):
        build(TrainOptions, {"epochs": 0, "warmup_epochs": 0}, {})


def test_what_is_missing_is_named_as_it_is_typed() -> None:
    with pytest.raises(OptionError) as caught:
        build(EvaluateOptions, {}, {})
    assert "PREDICTIONS is missing." in str(caught.value)


def test_an_option_with_another_name_in_the_file(tmp_path: Path) -> None:
    path = yaml_of(tmp_path, "json: s.json\npredictions: [p.csv]\ncsv: t.csv\nthreshold: 0.5\n")
    options = build(EvaluateOptions, {}, read_config(EvaluateOptions, path), path)
    assert (options.json_path, options.threshold) == (Path("s.json"), 0.5)
    path = yaml_of(tmp_path, "batch-size: 0\n")
    with pytest.raises(OptionError, match=r"run\.yaml: batch_size = 0"):
        build(InferOptions, {}, read_config(InferOptions, path), path)


def test_weights_of_a_file_are_not_given_to_its_members_in_another_order() -> None:
    before = {"members": ["runs/a", "runs/b"], "weights": [0.9, 0.1]}
    with pytest.raises(OptionError, match="in another order"):
        build(EnsembleOptions, {"members": [Path("runs/b"), Path("./runs/a")]}, before)
    for typed in (
        {},
        {"members": [Path("runs/a"), Path("runs/b")]},
        {"members": [Path("runs/b"), Path("runs/a")], "weights": "0.1,0.9"},
        {"members": [Path("p.csv"), Path("q.csv")]},
    ):
        assert len(build(EnsembleOptions, typed, before).members) == 2
    with pytest.raises(OptionError, match="members"):
        build(EnsembleOptions, {}, {**before, "members": 5})
