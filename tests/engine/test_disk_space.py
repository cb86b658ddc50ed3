from pathlib import Path

import pytest
from torch import nn

from cxrlt_cli.config import DataCacheOptions, InferOptions, TrainOptions
from cxrlt_cli.engine import disk_space
from cxrlt_cli.engine.disk_space import free_bytes, require_room_for_rows
from cxrlt_cli.errors import OptionError
from cxrlt_cli.training.run_folder import require_room_for_run
from cxrlt_cli.verbs.data_cache import build_cache
from cxrlt_cli.verbs.infer import infer
from cxrlt_cli.verbs.train import train
from tests.conftest import run_options
from tests.helpers import Recorder


def leave(monkeypatch: pytest.MonkeyPatch, num_bytes: int) -> None:
    monkeypatch.setattr(disk_space, "free_bytes", lambda _: num_bytes)


def test_the_disk_is_that_of_the_first_folder_that_is_there(tmp_path: Path) -> None:
    free = free_bytes(tmp_path / "new" / "run")
    assert free is not None
    assert 0 < free < 2**60


@pytest.mark.parametrize(
    ("changes", "times"),
    [({}, 2 + 2 * 4), ({"ema_decay": 0.0}, 2 + 2 * 3), ({"epochs": 0}, 2 + 2 * 1), ({"average_last": 2}, 2 + 2 * 5)],
)
def test_a_run_takes_its_weights_several_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], times: int
) -> None:
    options = TrainOptions.model_validate({"csv": "x.csv", "out": tmp_path, **changes}).resolved()
    model = nn.Linear(999, 1000)  # 4 MB
    leave(monkeypatch, times * 4_000_000)
    require_room_for_run(model, options, 0, tmp_path / "new")
    leave(monkeypatch, times * 4_000_000 - 1)
    with pytest.raises(
        OptionError, match=r"--out .*new: the weights and the state .* take about .* MB, and the disk has"
    ):
        require_room_for_run(model, options, 0, tmp_path / "new")
    (tmp_path / "resume.pt").write_bytes(b"x")
    require_room_for_run(model, options.model_copy(update={"resume": True}), 0, tmp_path)


def test_a_full_disk_is_told_before_anything_is_learned_or_decoded(
    labels: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(monkeypatch, 100)
    recorder = Recorder()
    with pytest.raises(OptionError, match=r"--out .*the disk has"):
        train(run_options(labels, tmp_path / "run"), recorder)
    with pytest.raises(OptionError, match=r"--cache .*48 films of 64 px take about .* the disk has"):
        build_cache(DataCacheOptions(csv=labels, cache=tmp_path / "kept", image_size=64), recorder)
    options = {"checkpoint": run, "csv": labels, "out": tmp_path / "p.csv", "device": "cpu", "workers": 0}
    with pytest.raises(OptionError, match=r"--out .*predictions of 48 films take about .* the disk has"):
        infer(InferOptions.model_validate(options), recorder)
    assert list(tmp_path.iterdir()) == []
    assert recorder.epochs == []


def test_rows_that_a_stop_left_have_their_room_already(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(monkeypatch, 60)
    with pytest.raises(OptionError, match=r"logits take about .*, and the disk has"):
        require_room_for_rows("--out", tmp_path / "p.csv", 100, "logits")
    (tmp_path / ".p.csv.partial").write_bytes(bytes(40))
    require_room_for_rows("--out", tmp_path / "p.csv", 100, "logits")
    with pytest.raises(OptionError, match="the disk has"):
        require_room_for_rows("--out", tmp_path / "p.csv", 101, "logits")
