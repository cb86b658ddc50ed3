import pytest

from cxrlt_cli.engine.reporter import Silent, WarningsAlone, counted, duration, tell_exclusions
from tests.helpers import Recorder


@pytest.mark.parametrize(("seconds", "text"), [(4.4, "4 s"), (89, "89 s"), (600, "10 min"), (11_100, "3 h 05 min")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_counts_agree_with_their_noun() -> None:
    assert [counted(number, "film") for number in (0, 1, 1200)] == ["0 films", "1 film", "1,200 films"]
    assert counted(2, "batch", "batches") == "2 batches"


def test_exclusions_are_told_and_those_that_miss_are_warned_of() -> None:
    recorder = Recorder()
    tell_exclusions(recorder, set(), ["a", "b"])
    assert not recorder.notes
    tell_exclusions(recorder, {"a", "b"}, ["a", "b", "c"])
    assert recorder.notes == ["Left out by --exclude: 2 films."]
    assert not recorder.warnings
    tell_exclusions(recorder, {"a", "x", "y"}, ["a"])
    assert recorder.warnings == ["2 ids of --exclude are not among the films."]


def test_of_runs_side_by_side_warnings_are_told_with_their_name(capsys: pytest.CaptureFixture[str]) -> None:
    class Printing(Silent):
        def warn(self, message: str) -> None:
            print(message)

    reporter = WarningsAlone(Printing, "fold-2")
    reporter.note("not this")
    reporter.result("nor this")
    reporter.warn("Stopped")
    assert capsys.readouterr().out == "fold-2: Stopped\n"
