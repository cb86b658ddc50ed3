import errno
from pathlib import Path

import pytest

from cxrlt_cli.errors import OptionError
from cxrlt_cli.files import replacing, require_file, write_text


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    write_text(path, "first")
    with pytest.raises(ValueError, match="stop"), replacing(path) as temporary:
        temporary.write_text("half")
        assert path.read_text() == "first"
        raise ValueError("stop")
    assert path.read_text() == "first"
    assert list(path.parent.iterdir()) == [path]


def test_files_have_the_usual_mode(tmp_path: Path) -> None:
    write_text(tmp_path / "usual", "x")
    with replacing(tmp_path / "private") as temporary:
        temporary.touch(0o600)
    assert (tmp_path / "private").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_what_is_read_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").touch()
    (tmp_path / "link.csv").symlink_to(tmp_path / "labels.csv")
    with pytest.raises(OptionError, match="reads"):
        require_file(tmp_path / "link.csv", "--out", [None, tmp_path / "labels.csv"])
    require_file(tmp_path / "p.csv", "--out", [tmp_path / "labels.csv"])


def test_a_path_that_cannot_be_is_told() -> None:
    with pytest.raises(OptionError, match=r"cannot be written|Permission|does not exist"):
        write_text(Path("/proc/nothing/x.csv"), "x")


def test_a_full_disk_is_told_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "first")
    with pytest.raises(OptionError, match="No space left"), replacing(path) as temporary:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device", str(temporary))
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]
