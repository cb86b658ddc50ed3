import inspect
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from cxrlt_cli import config
from cxrlt_cli.config import Options, TrainOptions, about, flag, to_yaml

MODELS = [m for m in vars(config).values() if inspect.isclass(m) and issubclass(m, Options)]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_option_has_help_and_a_panel(model: type[Options]) -> None:
    for name, field in model.model_fields.items():
        assert field.description, name
        assert set(about(model, name)) == {"panel", "argument", "shown", "rare"}


def test_options_are_frozen_and_closed() -> None:
    options = TrainOptions()
    with pytest.raises(ValidationError):
        options.loss = "bce"
    with pytest.raises(ValidationError):
        TrainOptions.model_validate({"los": "bce"})


def test_lists_are_separated_by_commas() -> None:
    assert TrainOptions.model_validate({"findings": "No Finding, Mass"}).findings == ("No Finding", "Mass")
    assert TrainOptions.model_validate({"findings": ["a,b"]}).findings == ("a,b",)
    for wrong in ("a,b,a", "", ","):
        with pytest.raises(ValidationError, match="each once"):
            TrainOptions.model_validate({"findings": wrong})


def test_channels_are_three_or_one_for_all() -> None:
    for value in (0.5, "0.5", [0.5], "0.5,0.5,0.5"):
        assert TrainOptions.model_validate({"mean": value}).mean == (0.5, 0.5, 0.5)
    assert TrainOptions.model_validate({"std": "0.1,0.2,0.3"}).std == (0.1, 0.2, 0.3)
    for wrong in ("0.5,0.5", "", "nan", "a"):
        with pytest.raises(ValidationError):
            TrainOptions.model_validate({"mean": wrong})
    with pytest.raises(ValidationError, match="--std must be above 0"):
        TrainOptions.model_validate({"std": 0})


def test_yaml_asks_for_the_same_again() -> None:
    options = TrainOptions.model_validate(
        {"csv": "a.csv", "findings": "a,b", "exclude": ["x.csv"], "out": "runs/a"}
    ).resolved()
    content = yaml.safe_load(yaml.safe_dump(to_yaml(options)))
    assert "out" not in content
    again = TrainOptions.model_validate(content).resolved()
    here = {"out": None, "csv": Path("a.csv").resolve(), "exclude": (Path("x.csv").resolve(),)}
    assert again == options.model_copy(update=here)


def test_flags() -> None:
    assert flag(TrainOptions, "image_dir") == "--image-dir"
    assert flag(config.EvaluateOptions, "json_path") == "--json"
    assert flag(config.InferOptions, "checkpoint") == "CHECKPOINT"


@pytest.mark.parametrize(
    ("given", "taken"), [("518", 518), ("784x644", (784, 644)), ("64X64", 64), ([784, 644], (784, 644)), (96, 96)]
)
def test_an_image_has_one_side_or_height_and_width(given: object, taken: object) -> None:
    options = TrainOptions.model_validate({"csv": "a.csv", "image_size": given})
    assert options.image_size == taken
    again = yaml.safe_load(yaml.safe_dump(to_yaml(options)))["image_size"]
    assert TrainOptions.model_validate({"csv": "a.csv", "image_size": again}).image_size == taken


@pytest.mark.parametrize(
    "given", ["", "x", "64x", "64x64x64", "-64", "a", "64.5", "31", "64x31", "8193", [], [64, 64, 64]]
)
def test_other_sizes_are_refused(given: object) -> None:
    with pytest.raises(ValidationError, match=r"784x644|32 to 8192"):
        TrainOptions.model_validate({"csv": "a.csv", "image_size": given})


@pytest.mark.parametrize(("model", "given", "named"), [
    (config.EvaluateOptions, {"predictions": ["p.csv"], "json": "-"}, "--json -"),
    (config.InferOptions, {"checkpoint": "x", "shard": "1/3", "out": "-"}, "--out -"),
    (config.InferOptions, {"checkpoint": "x", "decisions": "-"}, "--decisions -"),
])  # fmt: skip
def test_a_dash_is_no_output(model: type[config.Options], given: dict[str, object], named: str) -> None:
    """Where other programs write to standard output, a file of that name would appear."""
    with pytest.raises(ValidationError, match=f"{named}: a dash .* standard output here. Name a file; /dev/stdout"):
        model.model_validate(given)


@pytest.mark.parametrize(("model", "given", "named"), [
    (config.EvaluateOptions, {"predictions": ["p.csv", "-"]}, "PREDICTIONS -"),
    (config.EvaluateOptions, {"predictions": ["p.csv"], "csv": "-"}, "--csv -"),
    (TrainOptions, {"out": "-"}, "--out -"),
])  # fmt: skip
def test_a_dash_is_no_input_and_no_folder(model: type[config.Options], given: dict[str, object], named: str) -> None:
    with pytest.raises(ValidationError, match=f"{named}: a dash is no path here. Name a file or folder") as told:
        model.model_validate(given)
    assert "std" not in str(told.value)
