"""``ensemble --by-view``: each film is predicted by the members for its view, and by no other."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cxrlt_cli.config import EnsembleOptions
from cxrlt_cli.engine.routing import Route, shares, with_routes
from cxrlt_cli.errors import DataError, OptionError
from cxrlt_cli.scores.predictions import Predictions
from tests.helpers import Recorder, ensemble

IDS = np.array(["a", "b", "c", "d"], object)
VIEWS = np.array(["PA", "LL", "AP", "oblique"], object)


def options(*members: str, by_view: tuple[str, ...] = (), **given: Any) -> EnsembleOptions:
    return EnsembleOptions(members=tuple(map(Path, members)), by_view=by_view, **given)


def test_members_are_named_as_they_are_typed(tmp_path: Path) -> None:
    """``--by-view frontal=a lateral=b``: the first is the option's, the others are members."""
    for given in (options("lateral=b", "frontal=c", by_view=("frontal=a",)),
                  options("lateral=b", by_view=("frontal=a", "frontal=c")),
                  options(by_view=("frontal=a", "frontal=c", "lateral=b"))):  # fmt: skip
        taken, routes = with_routes(given)
        assert {route.view: [str(taken.members[place]) for place in route.members] for route in routes} == {
            "frontal": ["a", "c"],
            "lateral": ["b"],
        }
    assert with_routes(options("a", "b")) == (options("a", "b"), ())
    with pytest.raises(ValueError, match=r"MEMBERS is missing\."):
        options()
    with pytest.raises(OptionError, match="the member b has no view"):
        with_routes(options("b", by_view=("frontal=a",)))
    with pytest.raises(OptionError, match="--weights does not go with --by-view"):
        with_routes(options(by_view=("frontal=a",), weights=(1.0,)))
    with pytest.raises(OptionError, match="--merge rank ranks the films of each view apart"):
        with_routes(options(by_view=("frontal=a",), merge="rank"))


def test_a_view_by_name_goes_before_its_kind() -> None:
    routes = (Route("frontal", (0,)), Route("AP", (1,)), Route("lateral", (2,)), Route("other", (3,)))
    assert [mine.tolist() for mine in shares(IDS, VIEWS, routes)] == [["a"], ["c"], ["b"], ["d"]]
    with pytest.raises(DataError, match="no member is for the view LL, oblique, of 2 films such as b, d"):
        shares(IDS, VIEWS, routes[:2])


def test_films_are_predicted_by_the_members_of_their_view(run: Path, labels: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(labels, dtype=str)
    frame["ViewPosition"] = ["LL" if row % 3 == 0 else "PA" for row in range(len(frame))]
    frame.to_csv(tmp_path / "views.csv", index=False)
    lateral = frame["ImageID"][frame["ViewPosition"] == "LL"]
    model = Predictions(lateral.to_numpy(object), ("Normal", "effusion", "nodule"), np.full((len(lateral), 3), 0.25))
    model.write(tmp_path / "lateral.csv")
    given: dict[str, Any] = {"image_dir": labels.parent / "images", "device": "cpu", "workers": 0}
    ensemble(options(str(run), csv=labels, out=tmp_path / "all.csv", **given), Recorder())
    recorder = Recorder()
    both = ensemble(
        options(f"lateral={tmp_path / 'lateral.csv'}", by_view=(f"frontal={run}",), csv=tmp_path / "views.csv",
                out=tmp_path / "p.csv", **given),
        recorder,
    )  # fmt: skip
    assert both is not None
    assert "frontal: 32 films." in recorder.notes
    alone = Predictions.read(tmp_path / "all.csv")
    assert both.ids.tolist() == alone.ids.tolist() == frame["ImageID"].tolist()
    is_lateral = (frame["ViewPosition"] == "LL").to_numpy()
    np.testing.assert_array_equal(both.probabilities[is_lateral], 0.25)
    np.testing.assert_allclose(both.probabilities[~is_lateral], alone.probabilities[~is_lateral], atol=1e-6)


def test_nothing_says_the_view(tmp_path: Path) -> None:
    for name in "ab":
        Predictions(IDS, ("nodule",), np.full((4, 1), 0.5)).write(tmp_path / f"{name}.csv")
    with pytest.raises(OptionError, match="nothing says how the films of prediction CSVs were taken"):
        ensemble(options(f"lateral={tmp_path / 'b.csv'}", by_view=(f"frontal={tmp_path / 'a.csv'}",)), Recorder())


@pytest.fixture
def two_views(labels: Path, tmp_path: Path) -> Path:
    frame = pd.read_csv(labels, dtype=str)
    frame["ViewPosition"] = ["LL" if row % 3 == 0 else "PA" for row in range(len(frame))]
    frame.to_csv(tmp_path / "views.csv", index=False)
    return tmp_path / "views.csv"


def test_a_dry_run_goes_through_every_route(run: Path, labels: Path, two_views: Path, tmp_path: Path) -> None:
    recorder, out = Recorder(), tmp_path / "p.csv"
    given: dict[str, Any] = {"image_dir": labels.parent / "images", "device": "cpu", "workers": 0, "dry_run": True}
    routed = options(by_view=(f"frontal={run}", f"lateral={run}"), csv=two_views, out=out, **given)
    assert ensemble(routed, recorder) is None
    assert {"frontal: 32 films.", "lateral: 16 films."} <= set(recorder.notes)
    assert not out.exists()


def test_a_member_without_films_is_told(run: Path, labels: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    given: dict[str, Any] = {"image_dir": labels.parent / "images", "device": "cpu", "workers": 0}
    routed = options(by_view=(f"frontal={run}", f"lateral={run}"), csv=labels, out=tmp_path / "p.csv", **given)
    ensemble(routed, recorder)
    assert "--by-view: no film has the view lateral, so its members predict none." in recorder.warnings


@pytest.mark.soak
def test_processes_that_torchrun_started_go_through_all_routes(
    run: Path, labels: Path, two_views: Path, tmp_path: Path
) -> None:
    given = [f"--by-view=frontal={run}", f"--by-view=lateral={run}", "--csv", two_views, "--image-dir",
             labels.parent / "images", "--device", "cpu", "--workers", 0, "--precision", "fp32"]  # fmt: skip
    alone = [sys.executable, "-m", "cxrlt_cli", "ensemble"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "cxrlt_cli", "ensemble"]
    for start, out in ((alone, "1.csv"), (torchrun, "2.csv")):
        words = [*start, *map(str, given), "--out", str(tmp_path / out)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
    one, two = (Predictions.read(tmp_path / name).probabilities for name in ("1.csv", "2.csv"))
    np.testing.assert_allclose(one, two, atol=1e-6)
