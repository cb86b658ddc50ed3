import random
import re
from pathlib import Path

import pytest

from cxrlt_cli.report.cards import AUTHORS
from cxrlt_cli.report.number_check import Deviation, deviations
from cxrlt_cli.report.paper_files import made_again

NUMBER = re.compile(r"(?<![\w.])\d+(?:[.,]\d+)*")


def test_a_number_is_told_with_its_line_and_both_values() -> None:
    computed = "AP 0.412 (0.380 to 0.447)\non 1,200 films\n"
    assert deviations("a.md", computed, computed) == []
    assert deviations("a.md", computed, computed.replace("0.380", "0.390")) == [Deviation("a.md", 1, "0.390", "0.380")]
    assert deviations("a.md", computed, computed.replace("1,200", "1,201")) == [Deviation("a.md", 2, "1,201", "1,200")]
    assert deviations("a.md", computed, computed.replace("films", "patients"))[0].computed == "films"
    assert deviations("a.csv", "a,362,50.9\n", "a,363,50.9\n") == [Deviation("a.csv", 1, "363", "362")]


def test_lines_that_are_gone_or_added_are_told() -> None:
    computed = "one 1\ntwo 2\nthree 3\n"
    (gone,) = deviations("a.md", computed, "one 1\nthree 3\n")
    assert (gone.line, gone.printed, gone.computed) == (2, "", "two 2")
    (added,) = deviations("a.md", computed, f"{computed}four 4\n")
    assert added.printed == "four 4"
    assert deviations("a.md", computed, computed.replace("\n", "\r\n")) == []
    assert len(deviations("a.md", computed, computed.replace("two 2", "two  2"))) == 1


def test_authors_may_write_in_their_part_alone() -> None:
    computed = f"license: unknown # {AUTHORS}\nAP 0.4\n## {AUTHORS}\n- 44 Funding:\n"
    written = "license: mit\nAP 0.4\n" + f"## {AUTHORS}\n- 44 Funding: grant 0815\nand more\n"
    assert deviations("c.md", computed, written, AUTHORS) == []
    assert len(deviations("c.md", computed, written.replace("0.4", "0.5"), AUTHORS)) == 1
    assert deviations("c.md", computed, written.replace("AP 0.4\n", ""), AUTHORS)
    assert deviations("c.md", computed, written)
    assert deviations("c.md", computed, f"## {AUTHORS}\n", AUTHORS)


def places(files: dict[str, str]) -> list[tuple[str, int, int]]:
    """Every number of a report, but those in what authors write."""
    found = []
    for name, text in files.items():
        own = text.find(f"## {AUTHORS}") if name.startswith("cards/") else -1
        for match in NUMBER.finditer(text[: own if own >= 0 else len(text)]):
            line = text[text.rfind("\n", 0, match.start()) + 1 : text.find("\n", match.start())]
            if AUTHORS not in line:
                found.append((name, match.start(), match.end()))
    return found


@pytest.mark.parametrize("kind", ["digit", "moved", "gone"])
def test_of_100_planted_edits_all_are_found_and_nothing_else(reported: Path, kind: str) -> None:
    made = made_again(reported)
    assert all((reported / name).read_text() == text for name, text in made.items())
    rng = random.Random(7)
    chosen = rng.sample(places(made), 100)
    assert {name.rpartition(".")[2] for name, _, _ in chosen} >= {"html", "csv", "json", "svg"}
    for name, begin, end in chosen:
        text = made[name]
        digit = rng.randrange(begin, end)
        while not text[digit].isdigit():
            digit = rng.randrange(begin, end)
        new = {
            "digit": text[begin:digit] + str((int(text[digit]) + rng.randint(1, 9)) % 10) + text[digit + 1 : end],
            "moved": text[begin:end] + "1",
            "gone": "",
        }[kind]
        authors = AUTHORS if name.startswith("cards/") else None
        found = deviations(name, text, text[:begin] + new + text[end:], authors)
        assert len(found) == 1, (name, text[begin:end], new)
        assert found[0].line == text.count("\n", 0, begin) + 1
        for other, whole in made.items():
            assert other == name or deviations(other, whole, (reported / other).read_text(), authors) == []
