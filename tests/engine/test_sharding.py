import io
import json
import re
import subprocess
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrlt_cli.config import DataCacheOptions, EnsembleOptions, InferOptions, OodOptions
from cxrlt_cli.engine.sharding import named_by_shard, part_of, told_of_parts
from cxrlt_cli.errors import OptionError
from cxrlt_cli.tables.label_table import read_ids
from cxrlt_cli.verbs.data_cache import build_cache
from cxrlt_cli.verbs.infer import infer
from cxrlt_cli.verbs.ood import ood
from tests.helpers import Recorder, ensemble, write_csv

COMMON: dict[str, Any] = {
    "device": "cpu",
    "workers": 0,
    "precision": "fp32",
    "batch_size": 8,
}  # which divides the parts
PARTS = 3


@pytest.mark.parametrize("number", [3, 16, 17, 48, 100])
@pytest.mark.parametrize("parts", [1, 2, 3])
def test_parts_are_disjoint_and_the_whole(number: int, parts: int) -> None:
    things = list(range(number))
    taken = [things[part_of(number, f"{part}/{parts}")] for part in range(1, parts + 1)]
    assert list(chain.from_iterable(taken)) == things
    assert max(map(len, taken)) - min(map(len, taken)) <= 1


def test_a_part_without_films_is_told() -> None:
    with pytest.raises(OptionError, match=r"^--shard 1/4: there are 3 films\."):
        part_of(3, "1/4")


def test_files_are_named_after_their_part() -> None:
    options = InferOptions.model_validate({"checkpoint": "m", "out": "a/p.csv", "decisions": "/dev/stdout"})
    assert named_by_shard(options, ("out",)) is options
    named = named_by_shard(options.model_copy(update={"shard": "3/16"}), ("out", "decisions", "nearest"))
    assert (named.out, named.decisions, named.nearest) == (Path("a/p-03-of-16.csv"), Path("/dev/stdout"), None)
    assert "a/p-*-of-16.csv > a/p.csv" in told_of_parts(named.out, "3/16")
    assert told_of_parts(Path("p-3-of-4.parquet"), "3/4").endswith("p-*-of-4.parquet are the whole.")


def in_parts(verb: Callable[[Any, Recorder], object], options: Any, out: Path, **values: Any) -> tuple[bytes, bytes]:
    """What one command writes, and what its parts do, put together as they say."""
    whole = out / "whole.csv"
    verb(options.model_validate({**values, "out": whole}), Recorder())
    for part in range(1, PARTS + 1):
        reporter = Recorder()
        verb(options.model_validate({**values, "out": out / "p.csv", "shard": f"{part}/{PARTS}"}), reporter)
    found = re.search(r"awk .*", reporter.notes[-1])
    assert found is not None
    subprocess.run(found[0], shell=True, check=True)
    return whole.read_bytes(), (out / "p.csv").read_bytes()


def test_predictions_of_parts_are_those_of_the_whole(run: Path, labels: Path, tmp_path: Path) -> None:
    values = {**COMMON, "checkpoint": run, "csv": labels}
    whole, parts = in_parts(infer, InferOptions, tmp_path, **values, decisions=tmp_path / "d.csv")
    assert parts == whole
    assert len(list(tmp_path.glob("d-*-of-3.csv"))) == PARTS


def test_films_of_a_folder_are_shared(run: Path, labels: Path, tmp_path: Path) -> None:
    whole, parts = in_parts(infer, InferOptions, tmp_path, **COMMON, checkpoint=run, films=(labels.parent / "images",))
    assert parts == whole


@pytest.mark.parametrize("members", ["checkpoint", "predictions"])
def test_studies_stay_whole(run: Path, labels: Path, tmp_path: Path, members: str) -> None:
    """Their films stand apart in the CSV."""
    ids = read_ids(labels).tolist()
    csv = write_csv(
        tmp_path / "s.csv", ["ImageID", "StudyID"], [(film, f"s{row % 11}") for row, film in enumerate(ids)]
    )
    values = {**COMMON, "csv": csv, "per_study": "mean"}
    if members == "checkpoint":
        values["image_dir"] = labels.parent / "images"
        whole, parts = in_parts(infer, InferOptions, tmp_path, **values, checkpoint=run)
    else:
        infer(
            InferOptions.model_validate({**COMMON, "csv": labels, "checkpoint": run, "out": tmp_path / "f.csv"}),
            Recorder(),
        )
        whole, parts = in_parts(ensemble, EnsembleOptions, tmp_path, **values, members=(tmp_path / "f.csv",))
    one, other = (np.genfromtxt(io.BytesIO(text), delimiter=",", skip_header=1) for text in (whole, parts))
    np.testing.assert_allclose(other[:, 1:], one[:, 1:], atol=1e-6)  # batches are of other films
    assert [line.split(b",")[0] for line in parts.splitlines()] == [line.split(b",")[0] for line in whole.splitlines()]
    assert len(whole.splitlines()) == 1 + 11


def test_an_ensemble_is_shared(run: Path, labels: Path, tmp_path: Path) -> None:
    members = (run / "best.safetensors", run / "last.safetensors")
    whole, parts = in_parts(ensemble, EnsembleOptions, tmp_path, **COMMON, csv=labels, members=members)
    assert parts == whole


def test_zero_shot_scores_are_shared(labels: Path, tmp_path: Path) -> None:
    values = {**COMMON, "csv": labels, "model": "phantom-clip", "features": tmp_path / "features"}
    whole, parts = in_parts(ood, OodOptions, tmp_path, **values)
    assert parts == whole


def test_a_part_that_was_stopped_goes_on_alone(run: Path, labels: Path, tmp_path: Path) -> None:
    values = {**COMMON, "checkpoint": run, "csv": labels, "out": tmp_path / "p.csv", "shard": "2/3"}

    partial = tmp_path / ".p-2-of-3.csv.partial.json"
    before: list[int] = []

    def keep(*_: Any, **__: Any) -> None:
        before.append(json.loads(partial.read_text())["num_films"])
        raise InterruptedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cxrlt_cli.engine.partial.finish_table", keep)
        with pytest.raises(InterruptedError):
            infer(InferOptions.model_validate(values), Recorder())
    again = Recorder()
    infer(InferOptions.model_validate(values), again)
    assert before == [16]
    assert any("Going on after 16 films" in note for note in again.notes)
    assert read_ids(tmp_path / "p-2-of-3.csv").tolist() == read_ids(labels).tolist()[16:32]


def test_a_cache_is_filled_in_parts(labels: Path, tmp_path: Path) -> None:
    told = []
    for part in (1, 2):
        reporter = Recorder()
        values = {"csv": labels, "cache": tmp_path / "cache", "image_size": 32, "shard": f"{part}/2"}
        build_cache(DataCacheOptions.model_validate(values), reporter)
        told.append(reporter.results[0])
    assert "keeps 24 films" in told[0]
    assert "keeps 48 films" in told[1]
