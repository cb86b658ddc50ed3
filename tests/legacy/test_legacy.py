"""What released versions wrote is read for ever, or refused in words: a folder a version, written by that version.

``make`` writes such a folder, and what it writes now is read here too. 0.1.0's was written before there was ``make``,
on the films of ``tests.helpers.make_films``; it lacks what that version did not write.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from cxrlt_cli.cli.options import build, read_config
from cxrlt_cli.config import EnsembleOptions, EvaluateOptions, InferOptions, OodOptions, TrainOptions
from cxrlt_cli.data.feature_maps import NUM_VIEWS
from cxrlt_cli.data.features import FeatureCache
from cxrlt_cli.data.slots import ENTRY, INDEX, keys_of
from cxrlt_cli.errors import CxrltError
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.tables.embeddings import Embeddings
from cxrlt_cli.training import resume
from cxrlt_cli.verbs.ensemble import ensemble
from cxrlt_cli.verbs.evaluate import evaluate
from cxrlt_cli.verbs.infer import infer
from cxrlt_cli.verbs.ood import ood
from cxrlt_cli.verbs.train import train
from tests.helpers import Recorder
from tests.legacy.make import FROZEN, HERE, dated, make

FOLDERS = {path.name: path for path in Path(__file__).parent.iterdir() if path.name[0].isdigit()}
NOW = "now"
MOST = 300_000  # bytes of what ``make`` writes


@pytest.fixture(scope="module")
def written_now(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("legacy") / NOW
    make(folder)
    return folder


def each_with(name: str) -> pytest.MarkDecorator:
    """Every version whose folder has such a file, and this one."""
    return pytest.mark.parametrize("version", [*(key for key in FOLDERS if (FOLDERS[key] / name).exists()), NOW])


@pytest.fixture
def folder(version: str, request: pytest.FixtureRequest) -> Path:
    return FOLDERS.get(version) or Path(request.getfixturevalue("written_now"))


@pytest.fixture
def csv(folder: Path, labels: Path, tmp_path: Path) -> Path:
    """The labels of its films, which lie beside."""
    if not (folder / "films").exists():
        return labels
    return dated(shutil.copytree(folder / "films", tmp_path / "films") / "labels.csv")


@contextmanager
def another_version_may_refuse(folder: Path) -> Iterator[None]:
    """Its caches and states, if it says the way out; what it wrote itself it reads."""
    try:
        yield
    except CxrltError as error:
        if folder.name == NOW or not error.hint:
            raise


def inferred(folder: Path, csv: Path, out: Path, **changes: Any) -> Predictions:
    given = {"checkpoint": folder / "run" / "best.safetensors", "csv": csv, "out": out, **HERE, **changes}
    infer(InferOptions.model_validate(given), Recorder())
    return Predictions.read(out)


def assert_same(found: Predictions, expected: Path) -> None:
    then = Predictions.read(expected)
    found = found.rows(list(then.ids))
    assert found.findings == then.findings
    np.testing.assert_allclose(found.probabilities, then.probabilities, atol=1e-5)


def test_every_release_has_its_folder_and_make_writes_a_small_one(written_now: Path) -> None:
    assert "0.1.0" in FOLDERS
    assert sum(path.stat().st_size for path in written_now.rglob("*") if path.is_file()) < MOST
    assert not list(written_now.rglob("*.lock"))


@each_with("run/best.safetensors")
def test_a_checkpoint_predicts_what_it_did(folder: Path, csv: Path, tmp_path: Path) -> None:
    found = inferred(folder, csv, tmp_path / "p.csv")
    assert_same(found, folder / "run" / "val_predictions.csv")


@each_with("platt.csv")
def test_calibrations_of_a_checkpoint_are_applied(folder: Path, csv: Path, tmp_path: Path) -> None:
    assert_same(inferred(folder, csv, tmp_path / "p.csv", calibration="platt"), folder / "platt.csv")


@each_with("run/run.yaml")
def test_options_and_predictions_are_read(folder: Path, csv: Path) -> None:
    path = folder / "run" / "run.yaml"
    options = build(TrainOptions, {}, read_config(TrainOptions, path), path)
    written = yaml.safe_load(path.read_text())
    assert (options.backbone, options.head, options.loss) == (written["backbone"], written["head"], written["loss"])
    given = {"predictions": [path.with_name("val_predictions.csv")], "csv": csv, "bootstrap": 0, "missing": "leave-out"}
    scores = evaluate(EvaluateOptions.model_validate(given), Recorder())
    then = json.loads(path.with_name("metrics.json").read_text())
    assert scores.macro()["ap"] == pytest.approx(then["macro"]["ap"])


@each_with("fit.yaml")
def test_an_ensemble_that_was_fitted_is_the_same_again(folder: Path, csv: Path, tmp_path: Path) -> None:
    configured = read_config(EnsembleOptions, folder / "fit.yaml")
    members = [folder / "run" / "best.safetensors"] * len(configured["members"])  # a weight of 0 is 0.1.0's other
    typed: dict[str, Any] = {"members": members, "csv": csv, "out": tmp_path / "e.csv", **HERE}
    if (folder / "fit.json").exists():
        typed |= {"fitted": folder / "fit.json", "calibration": "platt"}
    ensemble(build(EnsembleOptions, typed, configured, folder / "fit.yaml"), Recorder())
    found = Predictions.read(tmp_path / "e.csv")
    assert_same(found, folder / ("fitted.csv" if (folder / "fit.json").exists() else "fit.csv"))


@each_with("local.json")
def test_what_was_fitted_to_a_place_is_applied(folder: Path, csv: Path, tmp_path: Path) -> None:
    changes = {"fitted": folder / "local.json", "calibration": "platt"}
    assert_same(inferred(folder, csv, tmp_path / "p.csv", **changes), folder / "local.csv")


@each_with("embeddings.npz")
def test_embeddings_are_read(folder: Path, csv: Path, tmp_path: Path) -> None:
    kept = Embeddings.read(folder / "embeddings.npz")
    inferred(folder, csv, tmp_path / "p.csv", embeddings=tmp_path / "e.npz")
    now = Embeddings.read(tmp_path / "e.npz")
    assert list(kept.ids) == list(now.ids)
    np.testing.assert_allclose(kept.features, now.features, atol=1e-5)


@each_with("cache")
def test_a_cache_is_read_or_refused_in_words(folder: Path, csv: Path, tmp_path: Path) -> None:
    cache = shutil.copytree(folder / "cache", tmp_path / "cache")
    if (folder / "films").exists():
        moved(cache, csv, folder)
    with another_version_may_refuse(folder):
        assert_same(inferred(folder, csv, tmp_path / "p.csv", cache=cache), folder / "predictions.csv")
        assert (cache / "films.u8").stat().st_size == (folder / "cache" / "films.u8").stat().st_size


@each_with("frozen-features")
def test_features_of_a_frozen_backbone_are_read_or_refused_in_words(folder: Path, csv: Path, tmp_path: Path) -> None:
    features = shutil.copytree(folder / "frozen-features", tmp_path / "features")
    moved(features, csv, folder)
    given = {**FROZEN, **HERE, "csv": csv, "out": tmp_path / "run", "frozen": True, "features": features}
    told = Recorder()
    with another_version_may_refuse(folder):
        train(TrainOptions.model_validate(given), told)
        assert f"--features {features} has 24 films already." in told.notes


@each_with("features")
def test_features_of_films_are_read_or_encoded_again(folder: Path, csv: Path, tmp_path: Path) -> None:
    features, told = shutil.copytree(folder / "features", tmp_path / "features"), Recorder()
    given = {"csv": csv, "model": "phantom-clip", "features": features, "out": tmp_path / "o.csv", **HERE}
    ood(OodOptions.model_validate(given), told)
    assert_same(Predictions.read(tmp_path / "o.csv"), folder / "ood.csv")
    if folder.name == NOW:
        assert f"--features {features} had 24 films already." in told.notes


@each_with("stopped/resume.pt")
def test_a_run_that_was_stopped_goes_on_or_is_refused_in_words(folder: Path, csv: Path, tmp_path: Path) -> None:
    """A state is bound to the path of its films; here they lie elsewhere."""
    run = shutil.copytree(folder / "stopped", tmp_path / "run")
    content = torch.load(run / "resume.pt", weights_only=True)
    content["options"]["csv"] = str(csv.resolve())
    torch.save(content, run / "resume.pt")
    resume._seal(run / "resume.pt")
    configured = read_config(TrainOptions, run / "run.yaml")
    with another_version_may_refuse(folder):
        train(build(TrainOptions, {"csv": csv, "out": run, "resume": True}, configured), Recorder())
        for name in ("val_predictions.csv", "metrics.json"):
            assert (run / name).read_bytes() == (folder / "run" / name).read_bytes()


def test_what_0_1_0_kept_without_checksums_is_named(run: Path, labels: Path, tmp_path: Path) -> None:
    then = FOLDERS["0.1.0"]
    with pytest.raises(CxrltError, match=r"cxrlt 0\.1\.0") as cache:
        inferred(then, labels, tmp_path / "p.csv", cache=then / "cache")
    folder = shutil.copytree(then / "run", tmp_path / "run")
    configured = read_config(TrainOptions, folder / "run.yaml")
    with pytest.raises(CxrltError, match="of format 1") as state:
        train(
            build(TrainOptions, {"csv": labels, "out": folder, "cache": None, "resume": True}, configured), Recorder()
        )
    assert cache.value.hint
    assert state.value.hint
    features = shutil.copytree(then / "features", tmp_path / "features")
    (key,) = features.glob("*/key.json")
    (told_of,) = FeatureCache(features, json.loads(key.read_text())).told
    assert "is of cxrlt 0.1.0, whose features carry no checksums: they are encoded again" in told_of


def moved(kept: Path, csv: Path, folder: Path) -> None:
    """Let a cache know its films by the paths that they have here; they lay in a folder that ``run.yaml`` names."""
    then = Path(yaml.safe_load((folder / "run" / "run.yaml").read_text())["csv"]).parent / "images"
    here = {}
    for film in (csv.parent / "images").iterdir():
        state = film.stat()
        for part in (None, *range(NUM_VIEWS)):
            told = [str(then / film.name), state.st_size, state.st_mtime_ns, *([] if part is None else [part])]
            key = blake2b(json.dumps(told).encode(), digest_size=ENTRY["key"].itemsize).digest()
            here[key.rstrip(b"\0")] = keys_of([film], part)[0]  # as NumPy reads bytes
    entries = np.fromfile(kept / INDEX, ENTRY)
    entries["key"] = [here[key] for key in entries["key"]]
    entries.tofile(kept / INDEX)
