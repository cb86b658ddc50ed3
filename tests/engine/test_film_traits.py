from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cxrlt_cli.config import InferOptions
from cxrlt_cli.engine.film_traits import FilmTraits
from cxrlt_cli.engine.stated_views import StatedViews
from cxrlt_cli.nets.checkpoints import NOVELTY, Checkpoint
from cxrlt_cli.nets.novelty import Novelty
from cxrlt_cli.nets.view_classifier import ViewClassifier
from cxrlt_cli.scores.drift import CLASSIFIED, STATED, Reference
from cxrlt_cli.scores.predictions import OOD_SCORE
from tests.exports import dicom
from tests.helpers import write_csv

OPTIONS = InferOptions.model_validate({"checkpoint": "m", "csv": "a.csv"})


@pytest.fixture(scope="module")
def checkpoint(run: Path) -> Checkpoint:
    """That can tell views, which made-up films of one view do not teach."""
    plain = Checkpoint.read(run / "best.safetensors")
    width = plain.novelty[f"{NOVELTY}mean"].shape[0]
    features = torch.randn(60, width, generator=torch.Generator().manual_seed(0))
    features[:30, 0] += 9
    told = ViewClassifier.fit(features, ["LL"] * 30 + ["PA"] * 30)
    assert told is not None
    return replace(
        plain, novelty={**plain.novelty, **told.tensors()}, training={**plain.training, "views": told.to_json()}
    )


def test_all_that_is_known_is_told(checkpoint: Checkpoint) -> None:
    ids = np.array(["a", "b", "c"], object)
    stated = StatedViews({"a": "POSTERO_ANTERIOR", "b": "Frontal"}, None, 10**8)
    traits = FilmTraits.of(checkpoint, stated)
    features = torch.zeros(3, checkpoint.novelty[f"{NOVELTY}mean"].shape[0])
    features[0, 0] = 9
    found = traits.of_films(ids, features)
    assert found.ood_scores is not None
    np.testing.assert_allclose(found.ood_scores, Novelty.of(checkpoint.novelty).score(features).numpy())
    assert found.views == {STATED: ["PA", "frontal", ""], CLASSIFIED: ["LL", "PA", "PA"]}
    assert found.rows([2, 0]).views[STATED] == ["", "PA"]


def test_what_the_reference_does_not_have_is_not_told(checkpoint: Checkpoint) -> None:
    stated = StatedViews({}, None, 10**8)
    bare = FilmTraits.of(checkpoint, stated, Reference({}, {}, 30, 30.0))
    assert bare == FilmTraits(None, None, None)
    assert not bare.need_features
    assert bare.of_films(np.array(["a"], object), None).views == {}
    one = FilmTraits.of(checkpoint, stated, Reference({OOD_SCORE: [0.5]}, {OOD_SCORE: [0.5]}, 30, 30.0))
    assert one.need_features
    assert one.classifier is None
    forgetful = FilmTraits.of(replace(checkpoint, novelty={}), stated)
    assert (forgetful.novelty, forgetful.classifier) == (None, None)


def test_headers_say_views_where_no_column_does(tmp_path: Path) -> None:
    dicom(tmp_path / "a.dcm", ViewPosition="LL")
    (tmp_path / "b.png").write_bytes(b"no DICOM")
    csv = write_csv(tmp_path / "a.csv", ["ImageID"], [["a.dcm"], ["b.png"]])
    ids = np.array(["a.dcm", "b.png"], object)
    stated = StatedViews.of(ids, csv, lambda films: [tmp_path / film for film in films], OPTIONS)
    assert stated.comparable(ids) == ["L", ""]
    assert StatedViews.of(ids, csv, None, OPTIONS).comparable(ids) == ["", ""]
    write_csv(csv, ["ImageID", "ViewPosition"], [["a.dcm", "AP"], ["b.png", "n/a"]])
    assert StatedViews.of(ids, csv, None, OPTIONS).comparable(ids) == ["AP", ""]
