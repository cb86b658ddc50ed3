import pytest

from cxrlt_cli.config import DataImportOptions


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"uncertain": "0.6"}, "'0.6' is none of empty, 0, 1, leave-out"),
        ({"uncertain": "Edema=1,0"}, "each is written NAME=VALUE"),
        ({"id_column": "x"}, "--id-column: for KIND table alone"),
        ({"append": "a.csv", "out": "b.csv"}, "pass one of them"),
        ({"kind": "table", "separator": ";"}, "pass that too"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        DataImportOptions.model_validate({"kind": "nih", "sources": ["x"], **options})


@pytest.mark.parametrize("text", ["empty", "0", 1, "leave-out", "Edema=1", "Edema=1,others=0", "a=b=empty"])
def test_fates_of_uncertain_labels(text: object) -> None:
    given = {"kind": "chexpert", "sources": ["x"], "uncertain": text}
    assert DataImportOptions.model_validate(given).uncertain == str(text)
