from pathlib import Path

from cxrlt_cli.training.out_of_fold import page_of
from tests.helpers import write_csv


def test_the_next_step_is_by_view_where_films_are_of_several(tmp_path: Path) -> None:
    header, predictions = ["ImageID", "ViewPosition"], Path("oof.csv")
    two = write_csv(tmp_path / "a.csv", header, [["x", "PA"], ["y", "AP"]])
    assert page_of(predictions, two) == f"cxrlt evaluate oof.csv --csv {two} --by ViewPosition --report page.html"
    one = write_csv(tmp_path / "b.csv", header, [["x", "PA"], ["y", ""], ["z", "PA"]])
    none = write_csv(tmp_path / "c.csv", ["ImageID", "View"], [["x", "PA"], ["y", "AP"]])
    for csv in (one, none):
        assert page_of(predictions, csv) == f"cxrlt evaluate oof.csv --csv {csv} --report page.html"
