"""Members of an ensemble: which findings they share, and how what they say of the same films is put together."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cxrlt_cli.config import EnsembleOptions
from cxrlt_cli.engine import blending
from cxrlt_cli.engine.blending import MemberOutputs, Members, said
from cxrlt_cli.errors import DataError, OptionError
from cxrlt_cli.scores.predictions import Predictions
from tests.helpers import Recorder

IDS = np.array(["1", "2"], object)


def options(*members: Path, **given: Any) -> EnsembleOptions:
    return EnsembleOptions.model_validate({"members": members or [Path("a.csv")], **given})


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two prediction CSVs, of which the second lacks a finding and has another."""
    paths = [tmp_path / "a.csv", tmp_path / "b.csv"]
    Predictions(IDS, ("x", "y"), np.array([[0.1, 0.2], [0.3, 0.4]])).write(paths[0])
    Predictions(IDS, ("x", "z"), np.array([[0.5, 0.6], [0.7, 0.8]])).write(paths[1])
    return paths


def test_findings_are_those_that_all_know_or_with_union_that_one_knows(files: list[Path]) -> None:
    members = Members.read(options(*files), Recorder())
    with pytest.raises(DataError):
        members.findings(options(*files))
    assert members.findings(options(*files, findings="x")) == ("x",)
    assert members.findings(options(*files, union=True)) == ("x", "y", "z")
    assert members.findings(options(*files, union=True, findings="z,x")) == ("z", "x")
    with pytest.raises(OptionError, match=r"b\.csv does not know y"):
        members.findings(options(*files, findings="x,y"))
    with pytest.raises(OptionError, match="no member knows q"):
        members.findings(options(*files, union=True, findings="q"))


def test_some_of_the_members_keep_their_order(files: list[Path]) -> None:
    members = Members.read(options(*files), Recorder()).only([1])
    assert members.paths == (files[1],)
    assert members.files[0].findings == ("x", "z")
    assert members.findings(options(*files)) == ("x", "z")


def test_options_on_films_are_refused_where_none_is_read(files: list[Path]) -> None:
    with pytest.raises(OptionError, match="--tta has no effect on prediction CSVs alone"):
        Members.read(options(*files, tta="flip"), Recorder())


def test_views_are_merged_before_members_are() -> None:
    """Two views of logits ln 3 and -ln 3 are 0.75 and 0.25; ranks are of members alone, whose views have their mean."""
    logit = float(np.log(3))
    logits = torch.tensor([[[logit], [logit]], [[-logit], [logit]]])
    file = Predictions(IDS, ("x", "y"), np.array([[0.5, 0.0], [0.25, 1.0]]))
    outputs = MemberOutputs(said([logits]), {1: file}, IDS, (("x",), ("x", "y")), ("x", "y"))
    for mode in ("mean", "rank"):
        first, second = outputs.merged(mode)
        np.testing.assert_allclose(first.probabilities, [[0.5], [0.75]], rtol=1e-6)
        assert second.findings == ("x", "y")
    blended = outputs.blended(None, options(weights="1,3"))
    np.testing.assert_allclose(blended.probabilities[:, 0], [0.5, (0.75 + 3 * 0.25) / 4], rtol=1e-6)
    np.testing.assert_allclose(blended.probabilities[:, 1], [0.0, 1.0])


@pytest.mark.parametrize(("num_bytes", "times"), [(1, 3), (2 * 4 * 2 * 8, 2), (2**24, 1)])
def test_members_are_asked_for_as_many_findings_as_fit(
    monkeypatch: pytest.MonkeyPatch, num_bytes: int, times: int
) -> None:
    """Four models, two films and three findings; all are blended alike, however many findings at a time."""
    torch.manual_seed(0)
    logits = [torch.randn(1, 2, 3) for _ in range(4)]
    asked: list[list[int]] = []

    def watched(mode: str, columns: Any) -> Any:
        asked.append(columns[0])
        return said(logits)(mode, columns)

    monkeypatch.setattr(blending, "BLENDED_BYTES", num_bytes)
    names = ("x", "y", "z")
    blended = MemberOutputs(watched, {}, IDS, (names,) * 4, names).blended(None, options(merge="mean"))
    assert len(asked) == times
    assert [column for columns in asked for column in columns] == [0, 1, 2]
    expected = torch.cat(logits).double().sigmoid().mean(dim=0).numpy()
    np.testing.assert_allclose(blended.probabilities, expected, rtol=1e-12)
