from typing import Any

import pytest
from pydantic import ValidationError

from cxrlt_cli.config import ComputeOptions, FilmOptions


@pytest.mark.parametrize(
    ("model", "given", "said"),
    [
        (FilmOptions, {"split": "train"}, "--split takes rows of --csv"),
        (FilmOptions, {"csv": "a.csv", "max_pixels": 0}, "greater than or equal to 1"),
        (FilmOptions, {"csv": "a.csv", "findings": "Mass,Mass"}, "each once"),
        (FilmOptions, {"csv": "a.csv", "where": "Age"}, "is expected"),
        (ComputeOptions, {"csv": "a.csv", "workers": -1}, "--workers must be auto, 0 or more"),
        (ComputeOptions, {"csv": "a.csv", "processes": 0}, "--processes must be auto, 1 or more"),
        (ComputeOptions, {"csv": "a.csv", "run_id": "mine"}, "pass --nodes and --rendezvous too"),
    ],
)
def test_what_makes_no_sense_is_told(model: type[FilmOptions], given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        model.model_validate(given)


def test_lists_are_typed_with_commas() -> None:
    options = FilmOptions.model_validate({"csv": "a.csv", "findings": "Mass, Nodule", "split": "train,val"})
    assert (options.findings, options.split) == (("Mass", "Nodule"), ("train", "val"))
