import pytest
from pydantic import ValidationError

from cxrlt_cli import config
from cxrlt_cli.config import Options, shard_of


def test_a_part_is_read_as_it_is_typed() -> None:
    assert shard_of("3/16") == (3, 16)
    assert shard_of("1/1") == (1, 1)


@pytest.mark.parametrize("wrong", ["0/4", "5/4", "3", "3/", "/4", "a/4", "-1/4", "1.0/4", "3 / 16", "1/0", ""])
def test_another_part_is_told(wrong: str) -> None:
    with pytest.raises(ValueError, match="3/16"):
        shard_of(wrong)
    with pytest.raises(ValidationError, match="3/16"):
        config.DataCacheOptions.model_validate({"shard": wrong})


@pytest.mark.parametrize(
    ("model", "given", "said"),
    [
        (config.OodOptions, {"report": "r.html"}, "--report judges all films"),
        (config.EnsembleOptions, {"members": ["m"], "csv": "a.csv", "fit": True}, "--fit judges all films"),
        (config.EnsembleOptions, {"members": ["m"], "csv": "a.csv", "soup": "greedy"}, "--soup judges all films"),
        (config.EnsembleOptions, {"members": ["m"], "merge": "rank"}, "--merge rank ranks all films"),
    ],
)
def test_what_needs_all_films_goes_with_no_part(model: type[Options], given: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        model.model_validate({**given, "shard": "1/2"})
    model.model_validate(given)
