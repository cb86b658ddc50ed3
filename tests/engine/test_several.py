from pathlib import Path

import pytest

from cxrlt_cli.config import CalibrateOptions, EnsembleOptions
from cxrlt_cli.engine.several import members_in, out_of_fold, require_single, with_members
from cxrlt_cli.errors import CheckpointError
from cxrlt_cli.verbs.calibrate import calibrate
from tests.helpers import Recorder


def run_of(folder: Path, *members: str, ended: bool = True) -> Path:
    for member in members:
        (folder / member).mkdir(parents=True)
        (folder / member / "best.safetensors").touch()
    (folder / "tensorboard").mkdir()
    if ended:
        (folder / "metrics.json").touch()
    return folder


def options(*members: Path, **given: object) -> EnsembleOptions:
    return EnsembleOptions.model_validate({"members": members, **given})


def test_members_stand_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    folds = [f"fold-{number}" for number in range(1, 12)]
    assert members_in(run_of(tmp_path / "a", *reversed(folds))) == [tmp_path / "a" / name for name in folds]
    run = run_of(tmp_path / "b", "seed-10/fold-2", "seed-9/fold-2", "seed-9/fold-1")
    assert members_in(run) == [run / "seed-9/fold-1", run / "seed-9/fold-2", run / "seed-10/fold-2"]


@pytest.mark.parametrize("name", ["best.safetensors", "p.csv", "one"])
def test_what_is_one_member_stays(tmp_path: Path, name: str) -> None:
    one = run_of(tmp_path / "one", ".")
    given = options(one / name if name != "one" else one)
    assert with_members(given) is given
    require_single(given.members[0])


def test_the_weight_of_a_run_is_shared_out(tmp_path: Path) -> None:
    run, single = run_of(tmp_path / "run", "fold-1", "fold-2"), tmp_path / "p.csv"
    taken = with_members(options(run, single, weights="3,1"))
    assert taken.members == (run / "fold-1", run / "fold-2", single)
    assert taken.weights == (1.5, 1.5, 1.0)
    assert with_members(options(run, single, weights="1,2,3")).weights == (1, 2, 3), "one for each member"


def test_a_run_with_folds_is_fitted_as_one_member(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", "fold-1", "fold-2")
    assert out_of_fold(run) is None
    (run / "oof_predictions.csv").touch()
    assert out_of_fold(run) == run / "oof_predictions.csv"
    assert with_members(options(run, fit=True)).members == (run,)
    assert len(with_members(options(run)).members) == 2


def test_a_run_that_has_not_ended_is_no_member_and_several_are_not_one(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", "fold-1", "fold-2", ended=False)
    with pytest.raises(CheckpointError, match="has not ended"):
        with_members(options(run))
    with pytest.raises(CheckpointError, match="holds 2 members"):
        require_single(run)
    with pytest.raises(CheckpointError, match="holds 2 members") as caught:
        calibrate(CalibrateOptions.model_validate({"model": run, "csv": tmp_path / "local.csv"}), Recorder())
    assert f"cxrlt ensemble {run} --csv {tmp_path / 'local.csv'} --out all.csv" in caught.value.hint
    assert caught.value.hint.endswith(f"For one, name it: {run / 'fold-1'}.")
