"""The winner's road, whole: MIMIC's tables, stage 1, the challenge's films, a submission."""

import csv
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cxrlt_cli.cli.app import app
from cxrlt_cli.labels import CXR_LT_2026
from cxrlt_cli.nets.checkpoints import Checkpoint
from cxrlt_cli.scores.predictions import Predictions
from tests.datasets.sets import drawn

SMALL = "--image-size 32 --batch-size 4 --workers 0 --device cpu --precision fp32 --no-compile --track none"
SHORT = "--warmup-epochs 1 --epochs 1"


def cxrlt(line: str) -> str:
    done = CliRunner().invoke(app, line.split(), env={"COLUMNS": "300"})
    assert done.exit_code == 0, done.output
    return done.output


def test_from_mimic_to_a_submission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn("mimic-cxr-jpg", tmp_path)
    monkeypatch.chdir(tmp_path)
    cxrlt("data import mimic mimic-cxr-jpg --out mimic.csv")
    told = cxrlt(
        f"train --preset stage1 --csv mimic.csv --image-dir mimic-cxr-jpg --split train --backbone test_convnext "
        f"--weights none {SMALL} {SHORT} --out runs/stage1"
    )
    assert "loss asl with logit adjustment 1, sampler uniform" in told
    cxrlt("data phantom challenge --films 60 --size 64 --seed 1")
    told = cxrlt(
        f"finetune runs/stage1 --preset challenge --csv challenge/train.csv --exclude challenge/Removal.csv {SMALL} "
        f"{SHORT} --out runs/challenge"
    )
    assert "Labels that the checkpoint was trained on: mimic; uncertain: empty; unmentioned: 0" in told
    assert "Starting from scratch in the head: Normal, aortic elongation" in told
    assert "loss db, sampler cas" in told
    cxrlt(
        "ensemble runs/challenge --csv challenge/test_task1.csv --tta flip_scale --workers 0 --device cpu --out s.csv"
    )

    first, second = (Checkpoint.read(Path("runs") / name / "best.safetensors") for name in ("stage1", "challenge"))
    assert (first.architecture.head, second.architecture.head) == ("mlp", "csra")
    assert len(first.findings) == 14
    submission = Predictions.read(Path("s.csv"))
    with Path("challenge/test_task1.csv").open() as file:
        assert submission.ids.tolist() == [row["ImageID"] for row in csv.DictReader(file)]
    assert submission.findings == tuple(CXR_LT_2026)
    assert ((submission.probabilities > 0) & (submission.probabilities < 1)).all()
