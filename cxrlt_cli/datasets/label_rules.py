"""From what a set says to labels: what -1 and a blank become, and each change counted."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from cxrlt_cli.datasets.records import BLANK, UNCERTAIN, UNLABELLED, Records
from cxrlt_cli.errors import OptionError
from cxrlt_cli.names import meant, shown

FATE = {"empty": UNLABELLED, "0": 0, "1": 1}
TOLD = {"empty": "emptied", "0": "to 0", "1": "to 1"}


def settled(records: Records, fates: Mapping[str, str], unmentioned: str) -> tuple[Records, dict[str, int]]:
    """Records whose states are 1, 0 and ``UNLABELLED`` alone, and how many cells each rule changed.

    ``fates``: what becomes of -1, by finding.
    """
    leaving = np.array([fates[name] == "leave-out" for name in records.findings], bool)
    doubtful = (records.states[:, leaving] == UNCERTAIN).any(axis=1)
    if doubtful.any():
        records = records.rows(~doubtful, "an uncertain label")
    states = records.states.copy()
    changed: dict[str, int] = {}
    for place, name in enumerate(records.findings):
        fate = "empty" if fates[name] == "leave-out" else fates[name]
        for state, what, how in ((UNCERTAIN, "-1", fate), (BLANK, "blank", unmentioned)):
            held = states[:, place] == state
            if number := int(held.sum()):
                rule = f"{what} {TOLD[how]}"
                changed[rule] = changed.get(rule, 0) + number
                states[held, place] = FATE[how]
    return replace(records, states=states), changed


def fates_of(uncertain: str, findings: tuple[str, ...]) -> Mapping[str, str]:
    """What becomes of -1, finding by finding; raises OptionError where one is named that the set does not have."""
    if "=" not in uncertain:
        return dict.fromkeys(findings, uncertain)
    given = {name.strip(): fate.strip() for name, _, fate in (part.rpartition("=") for part in uncertain.split(","))}
    others = given.pop("others", "empty")
    for name in given:
        if name not in findings:
            raise OptionError(f"--uncertain: the set has no finding {shown(name)}.{meant(name, findings)}")
    return {name: given.get(name, others) for name in findings}
