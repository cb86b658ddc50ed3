import json
import signal
from pathlib import Path

import pytest
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from cxrlt_cli.engine.lost_workers import of_others_end, raise_first
from cxrlt_cli.engine.topology import Topology
from cxrlt_cli.errors import DataError, WorkerError

ONE, TWO = Topology("launch", 2), Topology("launch", 2, 2, "host:1")
OWN = {"echo": False, "message": "film 7 is gone.", "hint": "Put it back."}
ECHO = {"echo": True, "message": "gloo: Connection closed by peer [10.0.0.7]:4711", "hint": ""}


@pytest.mark.parametrize(
    ("plan", "told", "killed", "match"),
    [
        (ONE, {0: ECHO, 1: OWN}, {}, r"^Process 1 of 2: film 7 is gone\."),
        (ONE, {0: ECHO}, {1: signal.SIGKILL}, r"^Process 1 of 2 was ended from outside \(SIGKILL\)"),
        (ONE, {}, {0: signal.SIGTERM, 1: signal.SIGKILL}, r"^Process 1 of 2 was ended from outside \(SIGKILL\)"),
        (ONE, {}, {0: signal.SIGTERM, 1: signal.SIGTERM}, r"^Process 0 of 2 was ended from outside \(SIGTERM\)"),
        (ONE, {0: ECHO}, {1: signal.SIGTERM}, r"^Process 0 of 2 lost another one, at 10\.0\.0\.7"),
        (TWO, {2: ECHO, 3: OWN}, {}, r"^Process 3 of 4: film 7 is gone\."),
        (TWO, {2: ECHO, 3: ECHO}, {}, r"^Process 2 of 4 lost processes 0, 1 of another machine, at 10\.0\.0\.7"),
        (TWO, {3: ECHO}, {2: signal.SIGTERM}, r"^Process 3 of 4 lost processes 0, 1 of another machine"),
        (TWO, {}, {2: signal.SIGTERM, 3: signal.SIGTERM}, r"^Process 2 of 4 lost processes 0, 1 of another machine"),
        (TWO, {2: ECHO}, {3: signal.SIGKILL}, r"^Process 3 of 4 was ended from outside \(SIGKILL\)"),
    ],
)
def test_the_first_cause_is_told_and_echoes_point_to_another_machine(
    plan: Topology, told: dict[int, dict[str, object]], killed: dict[int, int], match: str, tmp_path: Path
) -> None:
    for rank, one in told.items():
        (tmp_path / f"error-{rank}.json").write_text(json.dumps({**one, "time": rank}))
    failures = {rank: ProcessFailure(rank, rank, -number, "none") for rank, number in killed.items()}
    with pytest.raises(WorkerError, match=match) as caught:
        raise_first(failures, tmp_path, plan)
    if "lost" in str(caught.value):
        assert "The output of its own command has the reason" in caught.value.hint


def test_where_nothing_is_known_nothing_is_raised(tmp_path: Path) -> None:
    raise_first({}, tmp_path, TWO)


def test_a_path_with_the_name_of_the_transport_is_no_lost_worker() -> None:
    assert of_others_end(RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer"))
    assert not of_others_end(DataError("/data/igloo/films/a.png cannot be read"))
    assert not of_others_end(RuntimeError("CUDA error: device-side assert triggered"))
