"""On real films, where CXRLT_FILMS names a folder with labels.csv and images/ (NIH ChestX-ray14's findings)."""

import os
from pathlib import Path

import numpy as np
import pytest

from cxrlt_cli.data.image import read_film
from cxrlt_cli.tables.label_table import read_labels
from cxrlt_cli.verbs.train import train
from tests.conftest import run_options
from tests.helpers import Recorder

FILMS = Path(os.environ.get("CXRLT_FILMS", ""))
pytestmark = pytest.mark.skipif("CXRLT_FILMS" not in os.environ, reason="CXRLT_FILMS names no folder of films")


def test_labels_and_films_are_read() -> None:
    table = read_labels(FILMS / "labels.csv")
    assert table.space.normal == "No Finding"
    assert "PatientAge" not in table.space.findings
    levels = [read_film(FILMS / "images" / film).mean() for film in table.ids[:50]]
    assert 60 < np.median(levels) < 200


def test_no_finding_is_told_from_finding(tmp_path: Path) -> None:
    options = run_options(
        FILMS / "labels.csv", tmp_path / "run", backbone="convnextv2_atto", image_size=96, epochs=2, batch_size=32
    )
    scores = train(options, Recorder())
    assert scores is not None
    auroc = {finding.name: finding.auroc for finding in scores.findings}["No Finding"]
    assert auroc is not None
    assert auroc > 0.6
