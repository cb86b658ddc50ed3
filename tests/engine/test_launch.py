import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.distributed.elastic.rendezvous import RendezvousConnectionError

from cxrlt_cli.config import ComputeOptions, EnsembleOptions, InferOptions, OodOptions
from cxrlt_cli.engine.launch import launch
from cxrlt_cli.engine.reporter import Silent
from cxrlt_cli.errors import WorkerError
from cxrlt_cli.nets.classifier import Classifier
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.tables.embeddings import Embeddings
from cxrlt_cli.tables.label_table import read_ids
from cxrlt_cli.verbs.infer import infer
from cxrlt_cli.verbs.ood import ood
from cxrlt_cli.verbs.train import train
from tests.conftest import run_options
from tests.engine.workers import deal, fail, stop_together
from tests.helpers import Recorder, ensemble, write_csv


def launched(work: Callable[..., Any], num_processes: int, *arguments: object) -> Any:
    options = ComputeOptions(processes=num_processes, device="cpu", workers=0)
    return launch(work, options, Silent(), *arguments)


def test_every_film_is_held_once_whatever_the_number_of_processes() -> None:
    num_films = 7
    for number in (1, 3):
        films, total, ranks = launched(deal, number, num_films)
        assert films == list(range(num_films))
        assert total == sum(range(num_films))
        assert ranks == list(range(number))


@pytest.mark.soak
def test_sigusr1_ends_no_process_that_starts() -> None:
    """As SLURM sends it to all of a job: it asks for a state to be kept, and there is none yet."""
    before = set(children(os.getpid()))
    told: list[int] = []

    def tell() -> None:
        wait_for(lambda: len(set(children(os.getpid())) - before) == 2)
        for pid in (os.getpid(), *(set(children(os.getpid())) - before)):
            os.kill(pid, signal.SIGUSR1)
            told.append(pid)

    teller = threading.Thread(target=tell)
    teller.start()
    assert launched(deal, 2, 3)[0] == [0, 1, 2]
    teller.join()
    assert len(told) == 3


@pytest.mark.parametrize(
    ("how", "message", "hint"),
    [
        ("error", r"^Process 1 of 2: film 7 is gone\.", "Put it back."),
        ("bug", "^Process 1 of 2: ZeroDivisionError: by zero", "Traceback"),
        ("kill", r"^Process 1 of 2 was ended from outside \(SIGKILL\)", "memory"),
    ],
)
def test_a_worker_that_fails_ends_all_within_seconds(how: str, message: str, hint: str, tmp_path: Path) -> None:
    began, before = tmp_path / "began", set(children(os.getpid()))
    with pytest.raises(WorkerError, match=message) as caught:
        launched(fail, 2, how, began)
    assert hint in caught.value.hint
    assert caught.value.exit_code == 5
    assert time.time() - began.stat().st_mtime < 15, "the other sleeps for ten minutes"
    assert set(children(os.getpid())) <= before


def test_a_stop_that_one_worker_heard_is_a_stop_of_all(tmp_path: Path) -> None:
    """As of ``kill PID``, or where the system is short of memory; no failure, as their state is kept."""

    def stop() -> None:
        wait_for(lambda: len(list(tmp_path.iterdir())) == 2)
        os.kill(int(next(tmp_path.glob("1-*")).name[2:]), signal.SIGTERM)

    teller = threading.Thread(target=stop)
    teller.start()
    with pytest.raises(SystemExit) as caught:
        launched(stop_together, 2, tmp_path)
    teller.join()
    assert caught.value.code == 143


def children(parent: int) -> list[int]:
    """The workers of a process; what Python itself starts beside them, its resource tracker, ends with it."""
    found = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(parent)], capture_output=True, text=True, check=False
    )
    lines = found.stdout.splitlines()
    return [int(line.split()[0]) for line in lines if "python" in line and "resource_tracker" not in line]


def command(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "cxrlt_cli", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # signals to its group are for it alone
        env={**os.environ, **environment},
    )


TRAINING = {
    "backbone": "test_convnext",
    "image_size": 32,
    "warmup_epochs": 1,
    "epochs": 1,
    "ema_decay": 0,
    "sampler": "uniform",
    "head": "csra",
}
FLAGS = ["--weights=none", "--workers=0", "--device=cpu", "--val-fraction=0.3", "--drop-path=0"]
FLAGS += [f"--{name.replace('_', '-')}={value}" for name, value in TRAINING.items()]


def in_float64(*arguments: Any, **settings: Any) -> Classifier:
    return Classifier(*arguments, **settings).double()


@pytest.mark.parametrize(
    ("backbone", "made", "tolerance", "of_predictions"),
    [
        ("test_convnext", Classifier, 1e-4, 1e-4),
        pytest.param("test_efficientnet", in_float64, 1e-9, 1e-9, marks=pytest.mark.soak),
    ],
)
def test_training_with_the_same_global_batch_gives_the_same_weights(
    labels: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    backbone: str,
    made: Callable[..., Classifier],
    tolerance: float,
    of_predictions: float,
) -> None:
    """But for rounding, of which AdamW makes whole steps where a gradient is zero: in float64 little is left of it.

    test_efficientnet has batch norms, some of them with an activation in themselves.
    """
    monkeypatch.setattr("cxrlt_cli.training.preflight.Classifier", made)
    for number, batch in ((1, 8), (2, 4)):
        out, changes = tmp_path / str(number), {**TRAINING, "backbone": backbone, "image_size": 64}
        train(run_options(labels, out, **changes, processes=number, batch_size=batch), Recorder())
    one, two = (load_file(tmp_path / number / "last.safetensors") for number in ("1", "2"))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=0, atol=tolerance, msg=name)
    predicted = [Predictions.read(tmp_path / number / "val_predictions.csv") for number in ("1", "2")]
    np.testing.assert_allclose(predicted[0].probabilities, predicted[1].probabilities, atol=of_predictions)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.soak)]
)
def test_a_stop_of_several_processes_keeps_the_state(labels: Path, tmp_path: Path, number: int, code: int) -> None:
    """As a terminal and systemd send it: to all of them."""
    arguments = ("train", "--csv", labels, "--out", tmp_path / "run", "--processes", 2, *FLAGS, "--epochs", 500)
    process = command(*arguments)
    wait_for(lambda: (tmp_path / "run" / "history.jsonl").exists())
    workers = children(process.pid)
    assert len(workers) >= 2
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "Resume with --resume" in err
    content = torch.load(tmp_path / "run" / "resume.pt", weights_only=True)
    assert len(content["random"]) == 2
    assert content["position"]["num_epochs"] >= 1
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


@pytest.mark.soak
def test_a_killed_parent_leaves_no_orphans(labels: Path, tmp_path: Path) -> None:
    arguments = ("train", "--csv", labels, "--out", tmp_path / "run", "--processes", 2, *FLAGS, "--epochs", 500)
    process = command(*arguments)
    wait_for(lambda: (tmp_path / "run" / "history.jsonl").exists())
    workers = children(process.pid)
    process.kill()
    process.communicate()
    wait_for(lambda: not any(alive(pid) for pid in workers))


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().split(")")[1].split()[0] != "Z"


def wait_for(condition: Callable[[], bool], seconds: float = 90) -> None:
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds, "it never came"
        time.sleep(0.1)


@pytest.mark.parametrize(
    "name", ["infer", *(pytest.param(name, marks=pytest.mark.soak) for name in ("ood", "ensemble"))]
)
def test_predictions_do_not_depend_on_the_number_of_processes(
    name: str, run: Path, labels: Path, tmp_path: Path
) -> None:
    """48 films on several processes with batches of 10: no share divides; of one film, a process has none."""
    common: dict[str, Any] = {"csv": labels, "device": "cpu", "workers": 0, "batch_size": 10, "precision": "fp32"}
    members = [run / "best.safetensors", run / "last.safetensors"]

    def predicted(number: int) -> Predictions:
        out = tmp_path / f"{name}-{number}.csv"
        values = {**common, "processes": number, "out": out}
        if name == "infer":
            kept = {"tta": "flip", "embeddings": tmp_path / f"{number}.npz"}
            infer(InferOptions.model_validate({**values, "checkpoint": run, **kept}), Recorder())
        elif name == "ensemble":
            ensemble(EnsembleOptions.model_validate({**values, "members": members}), Recorder())
        else:
            kept = {"model": "phantom-clip", "features": tmp_path / "features"}
            ood(OodOptions.model_validate({**values, **kept}), Recorder())
        return Predictions.read(out)

    if name == "ensemble":
        common["csv"] = write_csv(tmp_path / "one.csv", ["ImageID"], [["film003.png"]])
        common["image_dir"] = labels.parent / "images"
    number = 3 if name == "infer" else 2
    many, one = predicted(number), predicted(1)
    assert one.ids.tolist() == many.ids.tolist() == read_ids(common["csv"]).tolist()
    np.testing.assert_allclose(many.probabilities, one.probabilities, atol=1e-5)
    if name == "infer":
        vectors, alone = (Embeddings.read(tmp_path / f"{count}.npz") for count in (number, 1))
        assert vectors.ids.tolist() == alone.ids.tolist() == many.ids.tolist()
        np.testing.assert_allclose(vectors.features, alone.features, atol=1e-4)


@pytest.mark.parametrize("met", [True, False])
def test_a_place_that_is_gone_is_told(met: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the machine that it was on; what a process of this one said goes first."""

    def agent(*_: object) -> Callable[[str], None]:
        def start(job: str) -> None:
            if met:
                Path(job).with_name("began-1").touch()
            raise RendezvousConnectionError("The connection to the C10d store has failed.")

        return start

    monkeypatch.setattr("cxrlt_cli.engine.launch.elastic_launch", agent)
    options = ComputeOptions(nodes=2, rendezvous="127.0.0.1:29500", device="cpu", workers=0)
    match = "^The other machines ended" if met else r"^The 2 machines did not meet at 127\.0\.0\.1:29500"
    with pytest.raises(WorkerError, match=match):
        launch(deal, options, Recorder(), 1)


@pytest.mark.soak
def test_torchrun_is_joined(run: Path, labels: Path, tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "cxrlt_cli"]
    arguments = ["infer", run, "--csv", labels, "--device", "cpu", "--workers", "0", "--out", tmp_path / "p.csv"]
    done = subprocess.run([*torchrun, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Wrote") == 1
    assert len(Predictions.read(tmp_path / "p.csv").ids) == 48


@pytest.mark.soak
def test_a_loss_that_is_not_finite_stops_all_processes(labels: Path, tmp_path: Path) -> None:
    options = run_options(
        labels, tmp_path / "run", **{**TRAINING, "loss": "bce"}, processes=2, batch_size=2, lr_head=1e38
    )
    with pytest.raises(WorkerError, match=r"^Process \d of 2: The loss is .* films film0") as caught:
        train(options, Recorder())
    assert caught.value.exit_code == 5
