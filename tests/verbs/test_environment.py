from importlib.metadata import version
from pathlib import Path

import pytest

from cxrlt_cli import __version__
from cxrlt_cli.config import EnvOptions
from cxrlt_cli.verbs.environment import packages, show_environment
from tests.helpers import Recorder


def test_what_a_bug_report_needs_is_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    recorder = Recorder()
    show_environment(EnvOptions(), recorder)
    machine = {row[0]: row[1] for row in recorder.texts[0]}
    assert machine["cxrlt"] == __version__
    assert str(tmp_path / "cxrlt") in machine["cache"]
    assert "SLURM_JOB_ID=17" in machine["environment"]
    assert machine["cores"].partition(" ")[0].isdecimal()


def test_every_package_that_is_asked_for_is_there_with_its_version_and_licence() -> None:
    rows = {name: (asked, here, licence) for name, asked, here, licence in packages()}
    assert rows["torch"][1] == version("torch")
    assert rows["timm"][2]
    assert "pytest" not in rows
    assert rows["onnx"][0].endswith("(extra)")
