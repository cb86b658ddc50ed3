import shutil
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from pydantic import ValidationError
from sklearn.metrics import average_precision_score

from cxrlt_cli.config import OodOptions
from cxrlt_cli.data.image import read_film
from cxrlt_cli.engine.encode import ImageEncoder
from cxrlt_cli.errors import CheckpointError, DataError, ModelError, OptionError
from cxrlt_cli.labels import UNSEEN
from cxrlt_cli.nets import hub
from cxrlt_cli.nets.clip import PHANTOM_CLIP, ClipEncoder, load
from cxrlt_cli.phantom.folder import PhantomRecipe, write
from cxrlt_cli.prompts import read
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.tables.label_table import read_ids, read_labels
from cxrlt_cli.verbs.ood import ood
from tests.helpers import Recorder, write_csv
from tests.hub import use


@pytest.fixture(autouse=True)
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    use(monkeypatch, "http://127.0.0.1:9")


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantoms") / "p"
    write(folder, PhantomRecipe(200, 96, seed=3), 2, lambda _: None)
    return folder


def options(labels: Path, out: Path, **changes: Any) -> OodOptions:
    values = {"csv": labels, "model": "phantom-clip", "out": out, "workers": 0, "device": "cpu", "precision": "fp32"}
    return OodOptions.model_validate({**values, **changes})


def scored(labels: Path, out: Path, reporter: Recorder | None = None, **changes: Any) -> Predictions:
    ood(options(labels, out, **changes), reporter or Recorder())
    return Predictions.read(out)


def test_ranks_are_those_of_open_clips_own_classifier(labels: Path, tmp_path: Path) -> None:
    """A renormalised mean of the sentences ranks films as the mean of their cosines does."""
    encoder = load(PHANTOM_CLIP)
    ours = scored(labels, tmp_path / "p.csv")
    assert ours.findings == UNSEEN
    assert ours.ids.tolist() == read_ids(labels).tolist()
    model, _ = open_clip.create_model_from_pretrained(f"local-dir:{PHANTOM_CLIP}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{PHANTOM_CLIP}")
    films = [read_film(labels.parent / "images" / film) for film in ours.ids]
    images = encoder.encode_images(
        torch.stack([torch.from_numpy(encoder.prepare(film))[None] for film in films]).float()
    )
    for column, sentences in enumerate(read().findings.values()):
        templates = [lambda _, sentence=sentence: sentence for sentence in sentences]
        with torch.inference_mode():
            weights = open_clip.build_zero_shot_classifier(model.eval(), tokenizer, ["x"], templates)
        theirs = (images @ weights)[:, 0].numpy()
        assert np.argsort(theirs).tolist() == np.argsort(ours.probabilities[:, column]).tolist()


def test_prompts_anchor_and_views_change_the_scores(labels: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("findings:\n  effusion: [fluid, a meniscus]\n  nodule: [a round spot]\nanchors: [a normal chest]\n")
    plain = scored(labels, tmp_path / "a.csv", prompts=own)
    assert plain.findings == ("effusion", "nodule")
    anchored = scored(labels, tmp_path / "b.csv", prompts=own, anchor="normal", findings="nodule")
    assert anchored.findings == ("nodule",)
    views = scored(labels, tmp_path / "c.csv", prompts=own, tta="flip")
    assert (views.probabilities != plain.probabilities).all()
    assert (anchored.probabilities[:, 0] != plain.probabilities[:, 1]).all()


def test_unseen_findings_of_phantoms_are_scored_above_chance(phantoms: Path, tmp_path: Path) -> None:
    """As typed: no model is named, there is no network, and the CSV has ids alone."""
    reporter = Recorder()
    predictions = scored(phantoms / "test_task2.csv", tmp_path / "s.csv", reporter, model="auto")
    assert (tmp_path / "s.csv").read_text().splitlines()[
        0
    ] == "ImageID,Scoliosis,Osteopenia,Bulla,Infarction,Adenopathy,goiter"
    assert "DEMONSTRATION" in reporter.plans[-1]["model"]
    assert any("DEMONSTRATION" in warning for warning in reporter.warnings)
    truth = read_labels(phantoms / "test_task2_truth.csv").select(UNSEEN)
    assert truth.ids.tolist() == predictions.ids.tolist()
    counted = [c for c in range(6) if truth.targets[:, c].any()]
    lift = [average_precision_score(truth.targets[:, c], predictions.probabilities[:, c]) for c in counted]
    assert np.mean(lift) > 3 * truth.targets[:, counted].mean()


def test_real_films_are_never_given_to_the_demonstration(labels: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="whyxrayclip") as caught:
        scored(labels, tmp_path / "p.csv", model="auto")
    assert "cxrlt models pull whyxrayclip --out whyxrayclip" in caught.value.hint
    assert "--model whyxrayclip" in caught.value.hint
    assert not (tmp_path / "p.csv").exists()


def test_a_model_on_this_machine_is_found_by_its_name(
    labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = hub.home(hub.WHYXRAYCLIP)
    shutil.copytree(PHANTOM_CLIP, home)
    assert len(scored(labels, tmp_path / "auto.csv", model="auto").ids) == 48
    (home / "open_clip_config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="is not what was fetched"):
        scored(labels, tmp_path / "p.csv", model="whyxrayclip")
    shutil.rmtree(home)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(PHANTOM_CLIP, tmp_path / "whyxrayclip")
    assert len(scored(labels, tmp_path / "own.csv", model="whyxrayclip").ids) == 48


def test_features_are_kept_and_other_sentences_cost_no_film(
    labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = scored(labels, tmp_path / "plain.csv")
    first = scored(labels, tmp_path / "first.csv", features=tmp_path / "features")
    np.testing.assert_allclose(first.probabilities, plain.probabilities, atol=1e-3)

    def no_film(*_: object) -> None:
        raise AssertionError("no film is read")

    own = tmp_path / "own.yaml"
    own.write_text("findings:\n  nodule: [a round spot]\n")
    with monkeypatch.context() as patched:
        patched.setattr(ClipEncoder, "encode_images", no_film)
        again = scored(labels, tmp_path / "again.csv", features=tmp_path / "features")
        scored(labels, tmp_path / "other.csv", features=tmp_path / "features", prompts=own)
    np.testing.assert_allclose(again.probabilities, first.probabilities, rtol=1e-6)
    with pytest.raises(AssertionError), monkeypatch.context() as patched:
        patched.setattr(ClipEncoder, "encode_images", no_film)
        scored(labels, tmp_path / "flip.csv", features=tmp_path / "features", tta="flip")


def test_what_was_encoded_before_a_stop_is_not_encoded_again(
    labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = ImageEncoder.encode
    calls: list[int] = []

    def stopping(looking: Any, batch: Any) -> Any:
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(len(batch.indices))
        return encode(looking, batch)

    values: dict[str, Any] = {"features": tmp_path / "features", "batch_size": 10}
    with pytest.raises(KeyboardInterrupt), monkeypatch.context() as patched:
        patched.setattr(ImageEncoder, "encode", stopping)
        scored(labels, tmp_path / "p.csv", **values)
    assert not (tmp_path / "p.csv").exists()
    reporter = Recorder()
    scored(labels, tmp_path / "p.csv", reporter, **values)
    assert any("had 20 films already" in note for note in reporter.notes)
    assert (tmp_path / "p.csv").exists()


def test_sentences_are_judged_where_there_are_labels(phantoms: Path, tmp_path: Path) -> None:
    reporter = Recorder()
    truth = phantoms / "test_task2_truth.csv"
    scored(truth, tmp_path / "p.csv", reporter, image_dir=phantoms / "images", report=tmp_path / "lab.html")
    (table,) = reporter.texts
    assert table[0] == ("sentence", "AP", "without", "adds", "alike")
    named = [row for row in table[1:] if not row[0].startswith("  ")]
    assert len(table) - 1 == 14 * len(named)
    page = (tmp_path / "lab.html").read_text()
    assert page.count("<table") == len(named)
    assert "Hampton hump" in page or "goiter" in page
    ids = write_csv(tmp_path / "ids.csv", ["ImageID"], [[name] for name in read_ids(truth)])
    with pytest.raises(OptionError, match="has no labels"):
        scored(ids, tmp_path / "p2.csv", image_dir=phantoms / "images", report=tmp_path / "no.html")
    assert not (tmp_path / "p2.csv").exists()


def test_what_cannot_be_scored_is_told(labels: Path, clip_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.csv"
    with pytest.raises(OptionError, match="no sentence describes Mass"):
        scored(labels, out, findings="Mass")
    for pool in ("best", "topk", "topk:0", "topk:x"):
        with pytest.raises(ValidationError, match="none of mean, max"):
            scored(labels, out, pool=pool)
    few = tmp_path / "few.yaml"
    few.write_text("findings: {Mass: [x, z], Nodule: [a, b, c]}")
    with pytest.raises(OptionError, match=r"--pool topk:3: Mass have fewer sentences"):
        scored(labels, out, prompts=few, pool="topk:3")
    named = tmp_path / "named.yaml"
    named.write_text("findings: {ImageID: [x, z]}")
    with pytest.raises(OptionError, match="as the ids' column is called"):
        scored(labels, out, prompts=named)
    bare = tmp_path / "bare.yaml"
    bare.write_text("findings: {x: [y]}")
    with pytest.raises(OptionError, match="have no 'anchors:'"):
        scored(labels, out, prompts=bare, anchor="normal")
    with pytest.raises(CheckpointError, match="is no folder"):
        scored(labels, out, model=str(tmp_path / "nowhere"))
    with pytest.raises(CheckpointError, match="its weights look random"):
        scored(labels, out, model=str(clip_folder))
    with pytest.raises(ModelError, match="org/name"):
        scored(labels, out, model="hf-hub:org/name")
    with pytest.raises(OptionError, match="are both"):
        scored(labels, out, report=out)
    assert not out.exists()


@pytest.mark.parametrize("kept", [False, True])
def test_a_film_that_cannot_be_read_is_told(labels: Path, tmp_path: Path, kept: bool) -> None:
    (tmp_path / "images").mkdir()
    for film in read_ids(labels)[:6]:
        shutil.copy(labels.parent / "images" / film, tmp_path / "images" / film)
    (tmp_path / "images" / "film003.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    csv = write_csv(tmp_path / "six.csv", ["ImageID"], [[film] for film in read_ids(labels)[:6]])
    with pytest.raises(DataError, match=r"^1 film cannot be read"):
        scored(csv, tmp_path / "p.csv", features=tmp_path / "features" if kept else None)
    assert not (tmp_path / "p.csv").exists()


def test_a_dry_run_writes_nothing(labels: Path, tmp_path: Path) -> None:
    reporter = Recorder()
    ood(options(labels, tmp_path / "p.csv", dry_run=True), reporter)
    assert "Dry run" in reporter.results[0]
    assert not (tmp_path / "p.csv").exists()
