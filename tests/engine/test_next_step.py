from pathlib import Path

from cxrlt_cli.config import InferOptions, TrainOptions
from cxrlt_cli.engine.next_step import ROWS, tell_next, tell_scoring, typed
from tests.helpers import Recorder, write_csv


def test_only_what_differs_from_a_default_is_typed_again() -> None:
    given = {"csv": "my labels.csv", "id_column": "ImageID", "exclude": ["a.csv", "b.csv"], "findings": "Mass,Edema"}
    options = TrainOptions.model_validate({**given, "image_size": 224, "dry_run": True})
    assert typed(options, ("csv", "findings", "dry_run", "id_column")) == [
        *("--csv", "my labels.csv", "--findings", "Mass,Edema", "--dry-run")
    ]
    assert typed(options, ROWS) == ["--csv", "my labels.csv", "--exclude", "a.csv", "--exclude", "b.csv"]


def test_the_line_can_be_typed_as_it_is() -> None:
    recorder = Recorder()
    tell_next(recorder, "train", "--csv", Path("my labels.csv"))
    assert recorder.next_steps == ["Next: cxrlt train --csv 'my labels.csv'"]


def test_scoring_is_next_where_the_films_are_labelled(tmp_path: Path) -> None:
    csv = write_csv(tmp_path / "a.csv", ("ImageID", "Mass"), [("a.png", 1)])
    recorder = Recorder()
    options = InferOptions.model_validate({"checkpoint": "a.safetensors", "csv": csv, "out": "p.csv"})
    assert tell_scoring(recorder, options, ["Mass", "Edema"])
    assert recorder.next_steps == [f"Next: cxrlt evaluate p.csv --csv {csv}"]
    assert not tell_scoring(recorder, options, ["Edema"])
    assert len(recorder.next_steps) == 1
