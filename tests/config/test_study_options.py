import pytest
from pydantic import ValidationError

from cxrlt_cli.config.study_options import StudyOptions


def test_weights_are_read_as_they_are_typed() -> None:
    options = StudyOptions.model_validate({"per_study": "mean", "view_weights": "frontal=7,LL=3"})
    assert options.view_weights == {"frontal": 7.0, "LL": 3.0}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"view_weights": "frontal=7"}, "pass --per-study mean too"),
        ({"per_study": "max", "view_weights": "frontal=7"}, "pass --per-study mean too"),
        ({"per_study": "mean", "view_weights": "frontal=-1"}, "none negative"),
        ({"per_study": "mean", "view_weights": "frontal=0,lateral=0"}, "not all 0"),
        ({"per_study": "mean", "view_weights": "frontal=inf"}, "none negative"),
        ({"per_study": "mean", "view_weights": "frontal=many"}, "valid number"),
        ({"per_study": "mean", "view_weights": "frontal"}, "NAME=VALUE"),
        ({"per_study": "median"}, "mean"),
    ],
)
def test_what_makes_no_sense_is_told(given: dict[str, str], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        StudyOptions.model_validate(given)


def test_columns_are_called_as_data_import_calls_them() -> None:
    assert (StudyOptions().study_column, StudyOptions().view_column) == ("StudyID", "ViewPosition")
