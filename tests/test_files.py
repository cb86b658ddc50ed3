import errno
from pathlib import Path

import pytest

from cxrlt_cli.errors import OptionError
from cxrlt_cli.files import replacing, write_text


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    write_text(path, "first")
    with pytest.raises(ValueError, match="stop"), replacing(path) as temporary:
        temporary.write_text("half")
        assert path.read_text() == "first"
        raise ValueError("stop")
    assert path.read_text() == "first"
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk_is_told_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "first")
    with pytest.raises(OptionError, match="No space left"), replacing(path) as temporary:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device", str(temporary))
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]
