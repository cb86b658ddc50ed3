from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cxrlt_cli.training.members import Member, side_by_side
from tests.conftest import run_options

JOINED = {"RANK": "0", "WORLD_SIZE": "4", "LOCAL_RANK": "0", "MASTER_ADDR": "node1"}


@pytest.mark.parametrize(
    ("num_processes", "num_members", "changes", "environment", "expected"),
    [
        (1, 5, {}, {}, False),
        (4, 5, {}, {}, True),
        (5, 5, {}, {}, True),
        (6, 5, {}, {}, False),
        (2, 1, {}, {}, False),
        (2, 5, {"frozen": True}, {}, False),
        (4, 5, {"nodes": 2, "rendezvous": "node1:29500"}, {}, False),
        (4, 5, {}, {**JOINED, "LOCAL_WORLD_SIZE": "4"}, True),
        (4, 5, {}, {**JOINED, "LOCAL_WORLD_SIZE": "2"}, False),
    ],
)
def test_members_are_trained_side_by_side_where_each_process_of_a_machine_has_one(
    num_processes: int, num_members: int, changes: Mapping[str, Any], environment: Mapping[str, str], expected: bool
) -> None:
    options = run_options(Path("labels.csv"), None).model_copy(update=changes)
    members: list[Any] = [Member] * num_members
    assert side_by_side(members, options, num_processes, environment) == expected
