"""Films that a model learned from are recognised in a copy, in a part, and by their patients."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import yaml

from cxrlt_cli.engine.learned import learned_by
from cxrlt_cli.nets.checkpoints import Checkpoint
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.tables.label_table import read_labels
from tests.helpers import write_csv


def test_a_copy_and_a_part_of_the_training_films_are_recognised(run: Path, labels: Path, tmp_path: Path) -> None:
    checkpoint = Checkpoint.read(run / "best.safetensors")
    learned = learned_by(run / "best.safetensors", checkpoint)
    assert learned is not None
    assert learned == learned_by(run, checkpoint)
    held_out = set(Predictions.read(run / "val_predictions.csv").ids)
    frame = pd.read_csv(labels, dtype=str)
    number = len(frame) - len(held_out)
    frame.to_csv(tmp_path / "copy.csv", index=False)
    assert learned.number(read_labels(tmp_path / "copy.csv")) == number
    frame[~frame["ImageID"].isin(held_out)][:7].to_csv(tmp_path / "part.csv", index=False)
    assert learned.number(read_labels(tmp_path / "part.csv")) == 7
    frame[frame["ImageID"].isin(held_out)].to_csv(tmp_path / "held-out.csv", index=False)
    assert learned.number(read_labels(tmp_path / "held-out.csv")) == 0


def test_other_films_of_its_patients_are_recognised(run: Path, labels: Path, tmp_path: Path) -> None:
    """In a set with some of its films; elsewhere numbers alone do not say that patients are the same."""
    learned = learned_by(run, Checkpoint.read(run / "best.safetensors"))
    assert learned is not None
    (patient, *_), (film, *_) = sorted(learned.patients), sorted(learned.films)
    rows = [["new.png", f"00{patient}", 1], ["other.png", "nobody", 0]]
    for more, seen in (([], [False, False]), ([[film, "somebody", 0]], [True, False, True])):
        csv = write_csv(tmp_path / "new.csv", ["ImageID", "PatientID", "nodule"], [*rows, *more])
        table = read_labels(csv)
        assert learned.seen(list(table.ids), list(table.patients)) == seen
        assert learned.number_by_patient(table) == 1


def test_rows_that_were_not_taken_were_not_learned_from(run: Path, tmp_path: Path) -> None:
    rows = [[f"{number}.png", number, "train" if number < 6 else "test", number % 4, 1] for number in range(8)]
    csv = write_csv(tmp_path / "a.csv", ["ImageID", "PatientID", "Split", "Hospital", "nodule"], rows)
    without = write_csv(tmp_path / "x.csv", ["ImageID"], [["0.png"]])
    write_csv(tmp_path / "val_predictions.csv", ["ImageID", "nodule"], [["4.png", 0.5]])
    said = {"csv": str(csv), "split": ["train"], "where": "Hospital == 0 or Hospital == 1", "exclude": [str(without)]}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(said))
    learned = learned_by(tmp_path, Checkpoint.read(run / "best.safetensors"))
    assert learned is not None
    assert learned.films == {"1.png", "5.png"}
    assert learned.patients == {"1", "5"}


def test_it_is_not_told_where_the_csv_is_gone(run: Path, tmp_path: Path) -> None:
    """What is typed as a path in another folder is no file here."""
    checkpoint = Checkpoint.read(run / "best.safetensors")
    alone = replace(checkpoint, training={"options": {"csv": "labels.csv"}})
    assert learned_by(tmp_path, alone) is None
    assert learned_by(tmp_path, replace(checkpoint, training={})) is None
    changed = write_csv(tmp_path / "labels.csv", ["Film"], [["a"]])
    assert learned_by(tmp_path, replace(checkpoint, training={"options": {"csv": str(changed)}})) is None
