from typing import Any

import pytest
from pydantic import ValidationError

from cxrlt_cli.config import CalibrateOptions


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"sensitivity": 0.9, "miss_at_most": 0.1}, "pass one of them"),
        ({"sure": 0.9}, "--sure is about --miss-at-most"),
        ({"joint": True, "ppv": 0.5}, "--joint is about --miss-at-most"),
        ({"width": 0.2}, "pass one of them too"),
        ({"unlabelled": True, "ppv": 0.5}, "--ppv needs labels"),
        ({"miss_at_most": 0}, "greater than 0"),
        ({"miss_at_most": 1}, "less than 1"),
        ({"sensitivity": 1.1}, "less than or equal to 1"),
    ],
)
def test_what_makes_no_sense_is_told(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        CalibrateOptions.model_validate({"model": "run", "csv": "local.csv", **given})


def test_a_bound_on_misses_goes_with_a_predictive_value() -> None:
    options = CalibrateOptions.model_validate({"model": "run", "csv": "a.csv", "miss_at_most": 0.1, "ppv": 0.5})
    assert (options.miss_at_most, options.sure, options.ppv) == (0.1, 0.95, 0.5)
