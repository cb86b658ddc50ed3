from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from cxrlt_cli import tta
from cxrlt_cli.config import EnsembleOptions, InferOptions
from cxrlt_cli.data import loading
from cxrlt_cli.data.image import Preprocessing, read_film
from cxrlt_cli.data.loading import FilmDataset, FilmFiles, ordered_loader
from cxrlt_cli.errors import DataError, OptionError
from cxrlt_cli.nets.classifier import load
from cxrlt_cli.scores.predictions import Predictions, blend, normal_gating
from cxrlt_cli.tables.label_table import read_ids, read_labels
from cxrlt_cli.verbs.infer import infer
from cxrlt_cli.verbs.train import train
from tests.conftest import run_options
from tests.helpers import FINDINGS, Recorder, ensemble, write_csv

LOCAL = {"workers": 0, "device": "cpu", "batch_size": 20}


@pytest.fixture(scope="module")
def other(labels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second member: another head, other films in its validation, another size."""
    out = tmp_path_factory.mktemp("runs") / "second"
    train(run_options(labels, out, head="linear", seed=5, image_size=96, loss="bce"), Recorder())
    return out


def options(members: list[Path], out: Path, **changes: Any) -> EnsembleOptions:
    return EnsembleOptions.model_validate({"members": members, "out": out, **LOCAL, **changes})


def inferred(run: Path, labels: Path, out: Path, **changes: Any) -> Predictions:
    values = {"checkpoint": run / "best.safetensors", "csv": labels, "out": out, **LOCAL, **changes}
    infer(InferOptions.model_validate(values), Recorder())
    return Predictions.read(out)


def test_views_are_merged_from_their_logits(run: Path, labels: Path, tmp_path: Path) -> None:
    model, ids = load(run / "best.safetensors"), read_ids(labels)
    loader = ordered_loader(
        FilmDataset(FilmFiles([labels.parent / "images" / film for film in ids], [Preprocessing(64)], 10**6)),
        batch_size=48,
        num_workers=0,
        pin=False,
    )
    (batch,) = loader
    levels = batch.films[0].float()
    with torch.inference_mode():
        logits = torch.stack([model(model.normalize(view.apply(levels))) for view in tta.VIEWS["heavy"]])
    for mode in ("mean", "gmean", "logit_mean"):
        ours = inferred(run, labels, tmp_path / "p.csv", tta="heavy", merge=mode)
        np.testing.assert_allclose(ours.probabilities, tta.merge(logits, mode), rtol=1e-4, atol=1e-6)
    with pytest.raises(OptionError, match="--merge rank blends members"):
        inferred(run, labels, tmp_path / "p.csv", merge="rank")


def test_gating_is_by_name_and_last(run: Path, labels: Path, tmp_path: Path) -> None:
    plain = inferred(run, labels, tmp_path / "p.csv")
    gated = inferred(run, labels, tmp_path / "g.csv", postprocess="normal_gating", alpha=1, findings="nodule")
    expected = normal_gating(plain, 1.0, "Normal").select(["nodule"])
    np.testing.assert_allclose(gated.probabilities, expected.probabilities)
    by_name = inferred(run, labels, tmp_path / "g.csv", postprocess="normal_gating", normal="effusion")
    np.testing.assert_array_equal(by_name.probabilities[:, 1], plain.probabilities[:, 1])
    with pytest.raises(OptionError, match="does not know Healthy"):
        inferred(run, labels, tmp_path / "g.csv", postprocess="normal_gating", normal="Healthy")


@pytest.mark.parametrize("mode", ["mean", "logit_mean", "gmean", "median", "max", "rank"])
def test_members_are_blended_whatever_they_are(run: Path, other: Path, labels: Path, tmp_path: Path, mode: str) -> None:
    """Checkpoints of two sizes and a CSV whose films and findings stand in another order."""
    of_views = {"tta": "flip_scale", "merge": "mean" if mode == "rank" else mode}
    first = inferred(run, labels, tmp_path / "a.csv", **of_views)
    second = inferred(other, labels, tmp_path / "b.csv", **of_views)
    shuffled = Predictions(second.ids[::-1], second.findings[::-1], second.probabilities[::-1, ::-1])
    shuffled.write(tmp_path / "c.csv")
    paths = [run / "best.safetensors", tmp_path / "c.csv", other / "best.safetensors"]
    changes = {"weights": "1,0.5,2", "merge": mode, "tta": "flip_scale"}
    ours = ensemble(options(paths, tmp_path / "out.csv", csv=labels, **changes), Recorder())
    assert ours is not None
    expected = blend([first, second, second], [1, 0.5, 2], mode)
    np.testing.assert_allclose(ours.probabilities, expected.probabilities, rtol=1e-6, atol=1e-9)
    written = Predictions.read(tmp_path / "out.csv")
    assert written.ids.tolist() == read_ids(labels).tolist()
    assert written.findings == FINDINGS


def test_each_film_is_read_once_for_all_members(
    run: Path, other: Path, labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Path] = []

    def watched(path: Path, *, max_pixels: int) -> Any:
        seen.append(path)
        return read_film(path, max_pixels=max_pixels)

    monkeypatch.setattr(loading, "read_film", watched)
    members = [run / "best.safetensors", other / "best.safetensors", run / "last.safetensors"]
    ensemble(options(members, tmp_path / "out.csv", csv=labels, tta="flip_scale"), Recorder())
    assert len(seen) == len(set(seen)) == 48


def test_prediction_files_alone_need_no_films(run: Path, labels: Path, tmp_path: Path) -> None:
    first = inferred(run, labels, tmp_path / "a.csv")
    ours = ensemble(options([tmp_path / "a.csv", tmp_path / "a.csv"], tmp_path / "out.csv"), Recorder())
    assert ours is not None
    np.testing.assert_allclose(ours.probabilities, first.probabilities)
    with pytest.raises(OptionError, match="--tta has no effect"):
        ensemble(options([tmp_path / "a.csv"], tmp_path / "out.csv", tta="flip"), Recorder())


def test_members_that_do_not_go_together_are_told(run: Path, labels: Path, tmp_path: Path) -> None:
    first = inferred(run, labels, tmp_path / "a.csv")
    first.rows(list(first.ids[1:])).write(tmp_path / "b.csv")
    first.select(FINDINGS[:2]).write(tmp_path / "c.csv")
    out = tmp_path / "out.csv"
    with pytest.raises(DataError, match=r"b\.csv lacks the films film000\.png"):
        ensemble(options([tmp_path / "a.csv", tmp_path / "b.csv"], out), Recorder())
    with pytest.raises(DataError, match=r"b\.csv lacks the films film000\.png of .*labels\.csv"):
        ensemble(options([run / "best.safetensors", tmp_path / "b.csv"], out, csv=labels), Recorder())
    gone = write_csv(tmp_path / "gone.csv", ["ImageID"], [["film000.png"]])
    both = [run / "best.safetensors", tmp_path / "b.csv"]
    ours = ensemble(options(both, out, csv=labels, exclude=[gone]), Recorder())
    assert ours is not None
    assert len(ours.ids) == 47
    few = write_csv(tmp_path / "few.csv", ["ImageID"], [[film] for film in first.ids[[7, 3]]])
    ours = ensemble(options([tmp_path / "a.csv", tmp_path / "b.csv"], out, csv=few), Recorder())
    assert ours is not None
    assert ours.ids.tolist() == first.ids[[7, 3]].tolist()
    with pytest.raises(DataError, match=r"c\.csv lacks the findings nodule"):
        ensemble(options([tmp_path / "a.csv", tmp_path / "c.csv"], out), Recorder())
    ensemble(options([tmp_path / "a.csv", tmp_path / "c.csv"], out, findings="effusion,Normal"), Recorder())
    assert Predictions.read(out).findings == ("effusion", "Normal")
    doubled = (tmp_path / "a.csv").read_text().splitlines()
    (tmp_path / "d.csv").write_text("\n".join([*doubled, doubled[1]]) + "\n")
    with pytest.raises(DataError, match=r"d\.csv: Predictions hold a film more than once: film000\.png"):
        ensemble(options([tmp_path / "a.csv", tmp_path / "d.csv"], out), Recorder())
    for weights in ("-1", "0", "nan", "inf"):
        with pytest.raises(OptionError, match="none may be negative"):
            ensemble(options([tmp_path / "a.csv"], out, weights=weights), Recorder())
    with pytest.raises(OptionError, match="2 numbers for 1 members"):
        ensemble(options([tmp_path / "a.csv"], out, weights="1,2"), Recorder())
    with pytest.raises(OptionError, match="--csv is missing"):
        ensemble(options([run / "best.safetensors"], out), Recorder())


def test_a_dry_run_writes_nothing(run: Path, labels: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    members = [run / "best.safetensors"] * 2
    assert ensemble(options(members, tmp_path / "out.csv", csv=labels, dry_run=True, tta="flip"), recorder) is None
    assert "Nothing was written" in recorder.results[0]
    assert "identity, hflip" in recorder.plans[0]["views"]
    assert not (tmp_path / "out.csv").exists()


def test_labels_are_no_members(labels: Path, tmp_path: Path) -> None:
    table = read_labels(labels)
    Predictions(table.ids, FINDINGS, table.targets.astype(float)).write(tmp_path / "bare.csv")
    with pytest.raises(OptionError, match="is named as predictions and as --csv"):
        ensemble(options([tmp_path / "bare.csv"] * 2, tmp_path / "p.csv", csv=tmp_path / "bare.csv"), Recorder())
    recorder = Recorder()
    ensemble(options([tmp_path / "bare.csv"] * 2, tmp_path / "p.csv"), recorder)
    assert "bare.csv holds only 0 and 1, as labels do" in " ".join(recorder.warnings)


def test_gating_comes_before_findings_are_left_out(run: Path, labels: Path, tmp_path: Path) -> None:
    members = [run / "best.safetensors"]
    gate = {"csv": labels, "postprocess": "normal_gating"}
    whole = ensemble(options(members, tmp_path / "a.csv", **gate), Recorder())
    part = ensemble(options(members, tmp_path / "b.csv", findings="nodule", **gate), Recorder())
    assert whole is not None
    assert part is not None
    np.testing.assert_array_equal(part.probabilities, whole.select(["nodule"]).probabilities)
    with pytest.raises(OptionError, match="normal_gating needs probabilities"):
        ensemble(options(members, tmp_path / "b.csv", merge="rank", **gate), Recorder())


def test_a_union_is_blended_of_those_that_know_each_finding(run: Path, labels: Path, tmp_path: Path) -> None:
    """A classifier and zero-shot scores of other findings become one submission."""
    classified = inferred(run, labels, tmp_path / "classified.csv")
    rng = np.random.default_rng(0)
    words = Predictions(classified.ids[::-1], ("goiter", "nodule"), rng.random((len(classified.ids), 2)))
    words.write(tmp_path / "words.csv")
    members = [run / "best.safetensors", tmp_path / "words.csv"]
    with pytest.raises(DataError, match="--union"):
        ensemble(options(members, tmp_path / "no.csv", csv=labels), Recorder())
    union = ensemble(options(members, tmp_path / "u.csv", csv=labels, weights="3,1", union=True), Recorder())
    assert union is not None
    assert union.findings == (*FINDINGS, "goiter")
    for name in ("Normal", "effusion"):
        np.testing.assert_array_equal(
            union.select([name]).probabilities, classified.select([name]).probabilities
        )  # fmt: skip
    words = words.rows(list(union.ids))
    np.testing.assert_array_equal(union.select(["goiter"]).probabilities, words.select(["goiter"]).probabilities)
    both = 0.75 * classified.select(["nodule"]).probabilities + 0.25 * words.select(["nodule"]).probabilities
    np.testing.assert_allclose(union.select(["nodule"]).probabilities, both)
    chosen = ensemble(
        options(members, tmp_path / "c.csv", csv=labels, union=True, findings="goiter,Normal"), Recorder()
    )  # fmt: skip
    assert chosen is not None
    assert chosen.findings == ("goiter", "Normal")
    gated = ensemble(
        options(members, tmp_path / "g.csv", csv=labels, union=True, postprocess="normal_gating"), Recorder()
    )  # fmt: skip
    assert gated is not None
    assert (gated.select(["goiter"]).probabilities < words.select(["goiter"]).probabilities).all()
    with pytest.raises(OptionError, match="no member knows"):
        ensemble(options(members, tmp_path / "no.csv", csv=labels, union=True, findings="Mass"), Recorder())
    with pytest.raises(OptionError, match="leave --union out"):
        ensemble(options(members, tmp_path / "no.csv", csv=labels, union=True, fit=True), Recorder())


def test_views_of_what_is_chosen_are_those_that_were_chosen(
    run: Path, other: Path, labels: Path, tmp_path: Path
) -> None:
    members, recorder = [run / "best.safetensors", other / "best.safetensors"], Recorder()
    ensemble(options(members, tmp_path / "out.csv", csv=labels, fit=True, tta="heavy"), recorder)
    content = yaml.safe_load((tmp_path / "out.yaml").read_text())
    assert content["tta"] == "heavy"
    (warning, _) = recorder.warnings
    assert f"was trained on 34 of the 48 films of {labels}" in warning
    assert "train with --folds" in warning
