import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save

from cxrlt_cli.config import ModelsListOptions, ModelsPullOptions, ModelsVerifyOptions
from cxrlt_cli.errors import CheckpointError, OptionError
from cxrlt_cli.nets.clip import PHANTOM_CLIP
from cxrlt_cli.verbs.models import list_models, pull_model, verify_model
from tests.helpers import Recorder
from tests.hub import serving, use


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def pull(name: str, out: Path | None = None) -> Recorder:
    reporter = Recorder()
    pull_model(ModelsPullOptions.model_validate({"name": name, "out": out}), reporter)
    return reporter


def verify(name: str) -> Recorder:
    reporter = Recorder()
    verify_model(ModelsVerifyOptions(name=name), reporter)
    return reporter


def whereabouts() -> dict[str, str]:
    reporter = Recorder()
    list_models(ModelsListOptions(), reporter)
    return {row[0]: row[-1] for row in reporter.texts[0][1:]}


def test_the_list_says_what_is_on_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert whereabouts()["phantom-clip"] == "in cxrlt"
    assert whereabouts()["whyxrayclip"] == "–"
    weights = save(load_file(PHANTOM_CLIP / "open_clip_model.safetensors"))
    config = (PHANTOM_CLIP / "open_clip_config.json").read_bytes()
    with serving({"open_clip_model.safetensors": weights, "open_clip_config.json": config}) as server:
        use(monkeypatch, server.url)
        assert "5967efc" in pull("whyxrayclip").results[0]
        told = pull("whyxrayclip", tmp_path / "whyxrayclip")
        assert f"Pass --model {tmp_path}" in told.results[0]
        assert told.next_steps[-1] == f"Next: cxrlt ood --csv FILMS.csv --model {tmp_path / 'whyxrayclip'}"
    assert whereabouts()["whyxrayclip"].endswith("models/whyxrayclip")
    assert "already in" in pull("whyxrayclip").results[0]
    assert "is complete: 2 files" in verify("whyxrayclip").results[0]
    assert "is complete: 2 files" in verify(str(tmp_path / "whyxrayclip")).results[0]


def test_faults_and_strangers_are_told(tmp_path: Path) -> None:
    assert "is complete" in verify("phantom-clip").results[0]
    copy = tmp_path / "copy"
    shutil.copytree(PHANTOM_CLIP, copy)
    (copy / "notes.txt").write_text("mine")
    assert "notes.txt" in verify(str(copy)).warnings[0]
    (copy / "open_clip_config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"open_clip_config\.json differs"):
        verify(str(copy))
    with pytest.raises(CheckpointError, match="is not on this machine"):
        verify("whyxrayclip")
    with pytest.raises(OptionError, match="no model that cxrlt knows"):
        verify("nosuch")
