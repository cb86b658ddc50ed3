from pathlib import Path

import numpy as np
import pytest
import torch

from cxrlt_cli.config import OodOptions
from cxrlt_cli.data.image import read_film
from cxrlt_cli.engine.encode import ImageEncoder
from cxrlt_cli.engine.process import Process
from cxrlt_cli.errors import DataError
from cxrlt_cli.nets.clip import load
from cxrlt_cli.tables.label_table import Texts, read_ids
from tests.helpers import Recorder


@pytest.fixture
def films(labels: Path) -> tuple[Texts, list[Path]]:
    ids = read_ids(labels)[:5]
    return ids, [labels.parent / "images" / film for film in ids]


def images(folder: Path, recorder: Recorder, **changes: object) -> ImageEncoder:
    options = OodOptions.model_validate({"workers": 0, "device": "cpu", "batch_size": 2, **changes})
    return ImageEncoder(load(folder), options, Process.of(options), recorder)


def test_features_are_those_of_each_film_alone(clip_folder: Path, films: tuple[Texts, list[Path]]) -> None:
    ids, paths = films
    encoder = load(clip_folder)
    done: list[int] = []
    found = images(clip_folder, Recorder()).features(ids, paths, done.append)
    with torch.inference_mode():
        levels = [
            torch.from_numpy(np.ascontiguousarray(encoder.prepare(read_film(path))))[None, None] for path in paths
        ]
        alone = [encoder.encode_images(film.float())[0] for film in levels]
    torch.testing.assert_close(torch.from_numpy(found), torch.stack(alone), rtol=1e-4, atol=1e-5)
    assert sum(done) == len(paths)


def test_views_are_averaged_and_brought_back_to_length_1(clip_folder: Path, films: tuple[Texts, list[Path]]) -> None:
    once, flipped = (
        images(clip_folder, Recorder(), tta=tta).features(*films, lambda _: None) for tta in ("none", "flip")
    )
    np.testing.assert_allclose(np.linalg.norm(flipped, axis=1), 1, rtol=1e-5)
    assert not np.allclose(once, flipped)


def test_kept_features_are_not_encoded_again(
    clip_folder: Path, films: tuple[Texts, list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = images(clip_folder, Recorder(), features=tmp_path / "kept").features(*films, lambda _: None)
    monkeypatch.setattr(ImageEncoder, "encode", None)
    recorder = Recorder()
    again = images(clip_folder, recorder, features=tmp_path / "kept")
    np.testing.assert_allclose(again.features(*films, lambda _: None), first, rtol=1e-6)
    again.report_cached()
    assert "had 5 films already" in recorder.notes[0]


def test_films_that_cannot_be_read_are_all_told(
    clip_folder: Path, films: tuple[Texts, list[Path]], tmp_path: Path
) -> None:
    ids, paths = films
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"no film")
    paths[1:3] = [tmp_path / "a.png", tmp_path / "b.png"]
    with pytest.raises(DataError, match=r"^2 films cannot be read"):
        images(clip_folder, Recorder()).features(ids, paths, lambda _: None)
