import re
from pathlib import Path

import pytest

from cxrlt_cli.config import DataPhantomOptions
from cxrlt_cli.errors import OptionError
from cxrlt_cli.phantom.folder import PhantomRecipe
from cxrlt_cli.verbs.data_phantom import draw_phantoms
from tests.helpers import Recorder, flipped


def test_films_of_somebody_else_are_not_drawn_over(tmp_path: Path) -> None:
    recorder = Recorder()
    draw_phantoms(DataPhantomOptions(directory=tmp_path / "a", films=10, size=64), recorder)
    draw_phantoms(DataPhantomOptions(directory=tmp_path / "a", films=10, size=64), recorder)
    assert recorder.results[0] == recorder.results[1]
    with pytest.raises(OptionError, match="holds other files"):
        draw_phantoms(DataPhantomOptions(directory=tmp_path / "a", films=12, size=64), recorder)
    assert len(list((tmp_path / "a" / "images").iterdir())) == 10
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    with pytest.raises(OptionError, match=r"a sheet is a \.png or a \.jpg"):
        draw_phantoms(DataPhantomOptions(directory=tmp_path / "b", films=10, sheet=tmp_path / "s.gif"), recorder)
    assert "29 of 29 findings are drawn more often than asked" in recorder.notes[0]
    (tmp_path / "file").touch()
    with pytest.raises(OptionError, match="is a file"):
        draw_phantoms(DataPhantomOptions(directory=tmp_path / "file", films=10), recorder)


def test_studies_tell_their_views_and_are_no_set_of_before(tmp_path: Path) -> None:
    recorder = Recorder()
    draw_phantoms(DataPhantomOptions(directory=tmp_path / "a", films=40, size=64, studies=True), recorder)
    numbers = re.search(r"40 phantom films \((\d+) PA, (\d+) AP, (\d+) L\)", recorder.results[0])
    assert numbers is not None
    assert sum(map(int, numbers.groups())) == 40
    for studies, hospital in ((False, 1), (True, 2)):
        options = DataPhantomOptions(directory=tmp_path / "a", films=40, size=64, studies=studies, hospital=hospital)
        with pytest.raises(OptionError, match="drawn with other options"):
            draw_phantoms(options, recorder)


def test_every_flipped_bit_of_a_recipe_is_noticed(tmp_path: Path) -> None:
    """Never a traceback, never films that are taken for others."""
    folder = tmp_path / "films"
    recipe = PhantomRecipe(films=40, size=64)
    (folder / "images").mkdir(parents=True)
    options = DataPhantomOptions(directory=folder, films=40, size=64)
    (folder / "phantom.json").write_text(recipe.to_json())
    draw_phantoms(options, Recorder())
    data = recipe.to_json().encode()
    for spoilt in [*flipped(data, 200), b"[" * 100_000, b"", b"[]", b"null", data.replace(b"3", b"99", 1)]:
        (folder / "phantom.json").write_bytes(spoilt)
        with pytest.raises(OptionError, match=r"holds other files already: (phantom\.json is|its films)"):
            draw_phantoms(options, Recorder())
    (folder / "phantom.json").write_bytes(data.replace(b'"version": 3', b'"version": 99'))
    with pytest.raises(OptionError, match="are of version 99, and this cxrlt draws version 3"):
        draw_phantoms(options, Recorder())
