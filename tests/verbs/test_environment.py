import json
from email.message import Message
from importlib.metadata import version
from pathlib import Path

import pytest

from cxrlt_cli import __version__
from cxrlt_cli.config import EnvOptions
from cxrlt_cli.errors import OptionError
from cxrlt_cli.verbs import environment
from cxrlt_cli.verbs.environment import Package, packages, show_environment
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


def test_json_has_what_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "requires", lambda _: ["torch>=2.9", "no-such-package>=1", "pytest; extra == 'x'"])
    recorder = Recorder()
    show_environment(EnvOptions.model_validate({"json": tmp_path / "env.json"}), recorder)
    written = json.loads((tmp_path / "env.json").read_text())
    assert written["machine"] == {row[0]: row[1] for row in recorder.texts[0][1:]}
    torch, none, unbound = written["packages"]
    assert torch == {**torch, "name": "torch", "requires": ">=2.9", "extra": False, "version": version("torch")}
    assert none == {"name": "no-such-package", "requires": ">=1", "extra": False, "version": None, "licence": None}
    assert (unbound["requires"], unbound["extra"], unbound["version"]) == (None, True, version("pytest"))
    assert [row[1:3] for row in recorder.texts[1][2:]] == [(">=1", "–"), ("(extra)", version("pytest"))]
    assert recorder.results == [f"Wrote {tmp_path / 'env.json'}."]
    with pytest.raises(OptionError, match=r"--json .* is a folder"):
        show_environment(EnvOptions.model_validate({"json": tmp_path}), Recorder())


def test_every_package_that_is_asked_for_is_there_with_its_version_and_licence() -> None:
    rows = {one.name: one for one in packages()}
    assert rows["torch"].version == version("torch")
    assert rows["timm"].licence
    assert "pytest" not in rows
    assert rows["onnx"].extra
    assert rows["onnx"].cells()[1].endswith(" (extra)")


def test_what_no_package_states_is_words_in_the_table_alone() -> None:
    assert Package("a", None, False, "1.0", None).cells() == ("a", "", "1.0", "not stated")


def test_a_licence_that_metadata_calls_unknown_is_not_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    about = Message()
    about["Version"], about["License"] = "1.0", "UNKNOWN"
    monkeypatch.setattr(environment, "requires", lambda _: ["odd>=1"])
    monkeypatch.setattr(environment, "metadata", lambda _: about)
    (odd,) = packages()
    assert (odd.version, odd.licence) == ("1.0", None)
