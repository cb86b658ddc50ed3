import numpy as np
import pytest

from cxrlt_cli.datasets.label_rules import fates_of, settled
from cxrlt_cli.datasets.raw_table import texts
from cxrlt_cli.datasets.records import BLANK, UNCERTAIN, UNLABELLED, Records
from cxrlt_cli.errors import OptionError

STATES = np.array([[1, UNCERTAIN], [BLANK, UNCERTAIN], [0, BLANK], [UNCERTAIN, 1], [UNLABELLED, 0]], np.int8)
EMPTY = UNLABELLED
FINDINGS = ("Edema", "Atelectasis")


def records() -> Records:
    return Records(texts("abcde"), FINDINGS, STATES)


@pytest.mark.parametrize(
    ("uncertain", "unmentioned", "states", "changed"),
    [
        ("empty", "0", [[1, EMPTY], [0, EMPTY], [0, 0], [EMPTY, 1], [EMPTY, 0]], {"-1 emptied": 3, "blank to 0": 2}),
        ("0", "empty", [[1, 0], [EMPTY, 0], [0, EMPTY], [0, 1], [EMPTY, 0]], {"-1 to 0": 3, "blank emptied": 2}),
        ("Atelectasis=1,others=0", "0", [[1, 1], [0, 1], [0, 0], [0, 1], [EMPTY, 0]],
         {"-1 to 1": 2, "-1 to 0": 1, "blank to 0": 2}),
        ("Atelectasis=1", "0", [[1, 1], [0, 1], [0, 0], [EMPTY, 1], [EMPTY, 0]],
         {"-1 to 1": 2, "-1 emptied": 1, "blank to 0": 2}),
    ],
)  # fmt: skip
def test_what_becomes_of_uncertain_and_blank(
    uncertain: str, unmentioned: str, states: list[list[int]], changed: dict[str, int]
) -> None:
    done, told = settled(records(), fates_of(uncertain, FINDINGS), unmentioned)
    assert done.states.tolist() == states
    assert told == changed


def test_films_with_an_uncertain_label_leave() -> None:
    done, _ = settled(records(), fates_of("leave-out", FINDINGS), "0")
    assert (list(done.films), done.left_out) == (["c", "e"], {"an uncertain label": 3})
    done, told = settled(records(), fates_of("Edema=leave-out,others=1", FINDINGS), "0")
    assert (list(done.films), done.left_out) == (["a", "b", "c", "e"], {"an uncertain label": 1})
    assert told["-1 to 1"] == 2


def test_a_finding_that_the_set_lacks_is_an_error() -> None:
    with pytest.raises(OptionError, match=r"no finding 'Edma'\. Did you mean Edema\?"):
        settled(records(), fates_of("Edma=1,others=0", FINDINGS), "0")
