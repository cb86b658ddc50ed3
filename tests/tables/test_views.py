import pytest

from cxrlt_cli.tables.views import kind_of, view_of


@pytest.mark.parametrize(
    ("cell", "view", "kind"),
    [
        ("PA", "PA", "frontal"),
        ("ap", "AP", "frontal"),
        ("antero-posterior", "AP", "frontal"),
        ("L", "L", "lateral"),
        ("LL", "L", "lateral"),
        ("left lateral", "L", "lateral"),
        ("Frontal", "", "frontal"),
        ("other", "", "other"),
        ("oblique", "", "other"),
        ("AP LLD", "AP", "frontal"),
        ("", "", ""),
    ],
)
def test_how_a_film_was_taken(cell: str, view: str, kind: str) -> None:
    assert (view_of(cell), kind_of(cell)) == (view, kind)
