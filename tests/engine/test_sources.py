from pathlib import Path

import pytest

from cxrlt_cli.config import DataCacheOptions, InferOptions, OodOptions
from cxrlt_cli.errors import DataError, OptionError
from cxrlt_cli.verbs.data_cache import build_cache
from cxrlt_cli.verbs.infer import infer
from cxrlt_cli.verbs.ood import ood
from cxrlt_cli.verbs.train import train
from tests.conftest import run_options
from tests.engine.test_launch import command
from tests.helpers import Recorder, ensemble, make_films
from tests.verbs.test_ensemble import options as ensemble_options


def build(labels: Path, folder: Path, **changes: object) -> Recorder:
    recorder = Recorder()
    options = {"csv": labels, "cache": folder, "image_size": 64, **changes}
    build_cache(DataCacheOptions.model_validate(options), recorder)
    return recorder


def test_a_cache_is_built_once(labels: Path, tmp_path: Path) -> None:
    first, second = build(labels, tmp_path / "kept"), build(labels, tmp_path / "kept")
    assert first.advanced == second.advanced == {"Keeping films": 48}
    assert "keeps 48 films of 64 px (48 new ones): 197 kB" in first.results[-1]
    assert "(0 new ones)" in second.results[-1]


def test_what_is_missing_is_asked_for(labels: Path) -> None:
    with pytest.raises(OptionError, match="--cache is missing"):
        build_cache(DataCacheOptions(csv=labels), Recorder())
    with pytest.raises(OptionError, match="--csv is missing"):
        build_cache(DataCacheOptions(cache=Path("kept")), Recorder())


def test_training_learns_the_same_by_way_of_a_cache(run: Path, labels: Path, tmp_path: Path) -> None:
    train(run_options(labels, tmp_path / "run", cache=tmp_path / "kept", workers=1), Recorder())
    assert (tmp_path / "run" / "best.safetensors").read_bytes() == (run / "best.safetensors").read_bytes()
    assert (tmp_path / "kept" / "films.u8").stat().st_size == 48 * 64**2


def test_predictions_are_the_same_by_way_of_a_cache(run: Path, labels: Path, tmp_path: Path) -> None:
    def predict(name: str, **changes: object) -> bytes:
        given = {"checkpoint": run, "csv": labels, "out": tmp_path / name, "device": "cpu", "workers": 0}
        infer(InferOptions.model_validate({**given, **changes}), Recorder())
        return (tmp_path / name).read_bytes()

    plain = predict("plain.csv")
    assert predict("first.csv", cache=tmp_path / "kept") == plain
    assert predict("again.csv", cache=tmp_path / "kept", workers=1) == plain
    ensemble(ensemble_options([run, run], tmp_path / "both.csv", csv=labels, cache=tmp_path / "kept"), Recorder())
    assert (tmp_path / "both.csv").read_bytes() == plain


def test_zero_shot_scores_are_the_same_by_way_of_a_cache(labels: Path, tmp_path: Path) -> None:
    given = {"csv": labels, "model": "phantom-clip", "device": "cpu", "workers": 0}
    for name, cache in (("plain", None), ("kept", tmp_path / "kept"), ("again", tmp_path / "kept")):
        ood(OodOptions.model_validate({**given, "out": tmp_path / f"{name}.csv", "cache": cache}), Recorder())
    plain, first, again = ((tmp_path / f"{name}.csv").read_bytes() for name in ("plain", "kept", "again"))
    assert plain == first == again


def test_a_damaged_film_is_decoded_again_and_told_once(run: Path, labels: Path, tmp_path: Path) -> None:
    """By a command of its own, with readers; the next one finds nothing."""
    kept, first = tmp_path / "kept", tmp_path / "first.csv"
    given = ["infer", run, "--csv", labels, "--device=cpu", "--precision=fp32"]
    for name in ("first", "second", "third"):
        if name == "second":
            films = bytearray((kept / "films.u8").read_bytes())
            films[5 * 64**2 + 7] ^= 8
            (kept / "films.u8").write_bytes(films)
        process = command(*given, "--out", tmp_path / f"{name}.csv", "--cache", kept, "--workers=2")
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert (tmp_path / f"{name}.csv").read_bytes() == first.read_bytes()
        assert err.count("film005.png was damaged in --cache") == (name == "second")


def test_a_dry_run_keeps_nothing(labels: Path, tmp_path: Path) -> None:
    train(run_options(labels, tmp_path / "run", cache=tmp_path / "kept", dry_run=True), Recorder())
    assert list(tmp_path.iterdir()) == []


def test_a_cache_of_another_size_is_refused(labels: Path, tmp_path: Path) -> None:
    build(labels, tmp_path / "kept", image_size=96)
    with pytest.raises(OptionError, match="image_size 96, not 64"):
        train(run_options(labels, tmp_path / "run", cache=tmp_path / "kept"), Recorder())
    assert not (tmp_path / "run").exists()


def test_films_that_cannot_be_read_are_told_together(tmp_path: Path) -> None:
    labels = make_films(tmp_path / "set", 12)
    for name in ("film001.png", "film007.png"):
        (labels.parent / "images" / name).write_bytes(b"no film")
    with pytest.raises(DataError, match="2 of 12 films cannot be read"):
        build(labels, tmp_path / "kept")
    assert (tmp_path / "kept" / "films.u8").stat().st_size == 10 * 64**2
