from typing import Any

import pytest
from pydantic import ValidationError

from cxrlt_cli.config import EvaluateOptions


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"per_study": "mean", "by": ["PatientSex"]}, "--by is for films"),
        ({"per_study": "mean", "perturb": "run"}, "--perturb is for films"),
        ({"per_study": "mean", "image_dir": "images"}, "--image-dir is for films"),
        ({"by_finding": True}, "pass --by too"),
        ({"by": ["PatientSex"], "against": "ours.csv"}, "pass one of them"),
        ({"among": "train.npz"}, "pass --report and --checkpoint"),
        ({"where": "PatientAge >"}, "a value is expected"),
    ],
)
def test_what_does_not_go_together_is_told(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        EvaluateOptions.model_validate({"predictions": ["p.csv"], **given})


def test_by_may_be_repeated() -> None:
    options = EvaluateOptions.model_validate({"predictions": ["p.csv"], "by": ["ViewPosition", "PatientAge:4"]})
    assert options.by == ("ViewPosition", "PatientAge:4")
