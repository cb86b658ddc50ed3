from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch

from cxrlt_cli.config import OodOptions
from cxrlt_cli.data.image import read_film
from cxrlt_cli.data.table import read_ids
from cxrlt_cli.engine.ood import ood
from cxrlt_cli.errors import CheckpointError, ModelError, OptionError
from cxrlt_cli.labels import UNSEEN
from cxrlt_cli.nets.clip import load
from cxrlt_cli.predictions import Predictions
from cxrlt_cli.prompts import read
from tests.helpers import Recorder


def scored(labels: Path, folder: Path | str, out: Path, **changes: Any) -> Predictions:
    options = {"csv": labels, "model": str(folder), "out": out, "workers": 0, "device": "cpu", "precision": "fp32"}
    predictions = ood(OodOptions.model_validate({**options, **changes}), Recorder())
    assert predictions is not None
    return predictions


def test_ranks_are_those_of_open_clips_own_classifier(clip_folder: Path, labels: Path, tmp_path: Path) -> None:
    """A renormalised mean of the sentences ranks films as the mean of their cosines does."""
    encoder = load(clip_folder)
    ours = scored(labels, clip_folder, tmp_path / "p.csv")
    assert ours.findings == UNSEEN
    assert ours.ids.tolist() == read_ids(labels).tolist()
    model, _ = open_clip.create_model_from_pretrained(f"local-dir:{clip_folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{clip_folder}")
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


def test_prompts_anchor_and_views_change_the_scores(clip_folder: Path, labels: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("findings:\n  effusion: [fluid, a meniscus]\n  nodule: [a round spot]\nanchors: [a normal chest]\n")
    plain = scored(labels, clip_folder, tmp_path / "a.csv", prompts=own)
    assert plain.findings == ("effusion", "nodule")
    anchored = scored(labels, clip_folder, tmp_path / "b.csv", prompts=own, anchor="normal", findings="nodule")
    assert anchored.findings == ("nodule",)
    views = scored(labels, clip_folder, tmp_path / "c.csv", prompts=own, tta="flip")
    assert (views.probabilities != plain.probabilities).all()
    assert (anchored.probabilities[:, 0] != plain.probabilities[:, 1]).all()


def test_what_cannot_be_scored_is_told(
    clip_folder: Path, labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "p.csv"
    with pytest.raises(OptionError, match="no sentence describes Mass"):
        scored(labels, clip_folder, out, findings="Mass")
    with pytest.raises(OptionError, match="none of mean, max"):
        scored(labels, clip_folder, out, pool="best")
    bare = tmp_path / "bare.yaml"
    bare.write_text("findings: {x: [y]}")
    with pytest.raises(OptionError, match="have no 'anchors:'"):
        scored(labels, clip_folder, out, prompts=bare, anchor="normal")
    with pytest.raises(ModelError, match="WhyXrayCLIP") as caught:
        scored(labels, "auto", out)
    assert "hf download yyupenn/whyxrayclip" in caught.value.hint
    monkeypatch.chdir(tmp_path)
    clip_folder.rename(tmp_path / "whyxrayclip")
    assert len(scored(labels, "whyxrayclip", tmp_path / "own.csv").ids) == 48
    with pytest.raises(CheckpointError, match="is no folder"):
        scored(labels, tmp_path / "nowhere", out)
    assert not out.exists()
