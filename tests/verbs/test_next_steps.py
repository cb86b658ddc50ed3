"""Each command ends by naming the next one, which parses as it stands."""

import shlex
import shutil
from pathlib import Path

import pytest

from cxrlt_cli.config import (
    DataCacheOptions,
    DataCheckOptions,
    DataPhantomOptions,
    EnsembleOptions,
    EvaluateOptions,
    InferOptions,
    OodOptions,
    Options,
)
from cxrlt_cli.verbs.data_cache import build_cache
from cxrlt_cli.verbs.data_check import check
from cxrlt_cli.verbs.data_phantom import draw_phantoms
from cxrlt_cli.verbs.ensemble import ensemble
from cxrlt_cli.verbs.evaluate import evaluate
from cxrlt_cli.verbs.infer import infer
from cxrlt_cli.verbs.ood import ood
from cxrlt_cli.verbs.train import train
from tests.conftest import run_options
from tests.helpers import Recorder, make_films, write_csv
from tests.test_readme import check_cxrlt


def next_of(recorder: Recorder) -> list[str]:
    """The words of the next command, which parses; none where there is none."""
    told = recorder.next_steps
    assert len(told) <= 1
    if not told:
        return []
    words = shlex.split(told[0])[2:]
    check_cxrlt(list(words))
    return words


def after(command: object, kind: type[Options], /, **given: object) -> list[str]:
    recorder = Recorder()
    command(kind.model_validate(given), recorder)  # type: ignore[operator]
    return next_of(recorder)


@pytest.fixture
def films(tmp_path: Path) -> Path:
    return make_films(tmp_path / "films", 12)


def test_a_run_is_scored_on_its_validation_films_and_those_of_a_run_of_folds_out_of_fold(
    labels: Path, tmp_path: Path
) -> None:
    recorder = Recorder()
    train(run_options(labels, tmp_path / "run", epochs=1, warmup_epochs=0), recorder)
    scored = tmp_path / "run" / "val_predictions.csv"
    words = next_of(recorder)
    assert words == [
        *("evaluate", str(scored), "--csv", str(labels), "--report", "page.html", "--missing", "leave-out")
    ]
    page = tmp_path / "page.html"
    evaluate(EvaluateOptions(predictions=(scored,), csv=labels, missing="leave-out", report=page), Recorder())
    assert page.exists()


def test_data_goes_from_the_check_to_the_training(labels: Path, tmp_path: Path) -> None:
    given = {"csv": labels, "image_dir": labels.parent / "images"}
    learn = ["--csv", str(labels), "--image-dir", str(labels.parent / "images")]
    assert after(check, DataCheckOptions, **given) == ["train", *learn]
    fix = tmp_path / "exclude.csv"
    assert after(check, DataCheckOptions, **given, fix=fix) == ["train", *learn, "--exclude", str(fix)]
    kept = tmp_path / "cache"
    assert after(build_cache, DataCacheOptions, **given, cache=kept, image_size=32) == [
        *("train", *learn, "--cache", str(kept), "--image-size", "32")
    ]
    bare = write_csv(tmp_path / "bare.csv", ["ImageID"], [["film000.png"]])
    given["csv"] = bare
    assert after(build_cache, DataCacheOptions, **given, cache=kept, image_size=32) == []


def test_phantoms_are_for_training(tmp_path: Path) -> None:
    words = after(draw_phantoms, DataPhantomOptions, directory=tmp_path / "p", films=10, size=64)
    assert words[:3] == ["train", "--csv", str(tmp_path / "p" / "train.csv")]
    assert words[-2:] == ["--preset", "phantom"]


def test_predictions_of_labelled_films_are_scored(run: Path, films: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.csv"
    given = {"checkpoint": run / "best.safetensors", "out": out, "device": "cpu", "workers": 0}
    score = ["evaluate", str(out), "--csv", str(films)]
    assert after(infer, InferOptions, csv=films, **given) == score
    assert after(infer, InferOptions, csv=films, **given, dry_run=True) == []
    bare = write_csv(films.parent / "bare.csv", ["ImageID"], [["film000.png"]])
    shutil.copy(out, tmp_path / "other.csv")
    assert after(infer, InferOptions, csv=bare, **given) == []
    members = (tmp_path / "other.csv",)
    blend = {"members": members, "out": out}
    assert after(ensemble, EnsembleOptions, **blend, csv=films) == score
    assert after(ensemble, EnsembleOptions, **blend) == []


def test_an_ensemble_of_unlabelled_films_is_checked_as_a_submission(run: Path, films: Path, tmp_path: Path) -> None:
    bare = write_csv(films.parent / "bare.csv", ["ImageID"], [["film000.png"], ["film003.png"]])
    out = tmp_path / "s.csv"
    given = {"members": (run,), "csv": bare, "out": out, "device": "cpu", "workers": 0}
    check_it = ["data", "check", "--csv", str(bare), "--submission", str(out)]
    assert after(ensemble, EnsembleOptions, **given) == check_it
    check(DataCheckOptions(csv=bare, submission=out), Recorder())


def test_zero_shot_scores_join_those_of_a_classifier(films: Path, tmp_path: Path) -> None:
    out = tmp_path / "u.csv"
    given = {"csv": films, "model": "phantom-clip", "out": out, "device": "cpu", "workers": 0}
    words = after(ood, OodOptions, **given)
    assert words == ["ensemble", "CHECKPOINT", str(out), "--csv", str(films), "--union", "--out", "UNION.csv"]


def test_scores_have_a_page_where_none_was_asked_for(run: Path, labels: Path, tmp_path: Path) -> None:
    given = {"predictions": [run / "val_predictions.csv"], "csv": labels, "missing": "leave-out", "bootstrap": 20}
    words = after(evaluate, EvaluateOptions, **given, by=["ViewPosition", "Age:2"])
    assert words[-2:] == ["--report", "page.html"]
    assert words.count("--by") == 2
    assert {"--missing", "leave-out", "--bootstrap", "20"} < set(words)
    assert after(evaluate, EvaluateOptions, **given, report=tmp_path / "page.html") == []
