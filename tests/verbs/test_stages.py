"""The winner's road, whole: MIMIC's tables, stage 1, the challenge's films, a submission."""

import csv
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cxrlt_cli.cli.app import app
from cxrlt_cli.labels import CXR_LT_2026, UNSEEN
from cxrlt_cli.nets.checkpoints import Checkpoint
from cxrlt_cli.scores.predictions import Predictions
from tests.datasets.sets import drawn

SMALL = "--image-size 32 --batch-size 4 --workers 0 --device cpu --precision fp32 --no-compile --track none"
SHORT = "--warmup-epochs 1 --epochs 1"
PAGE = Path(__file__).parents[2] / "cxrlt_cli" / "guide" / "challenge.md"
TINY = {  # what makes the README's commands small
    "train": f"--backbone test_convnext --weights none {SMALL} {SHORT}",
    "finetune": f"{SMALL} {SHORT}",
    "ensemble": "--workers 0 --device cpu",
    "ood": "--model phantom-clip --workers 0 --device cpu",
}


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
    assert "New head from scratch: 30 findings, because the head is csra and was mlp." in told
    assert "loss db, sampler cas" in told
    cxrlt(
        "ensemble runs/challenge --csv challenge/test_task1.csv --tta flip_scale --workers 0 --device cpu --out s.csv"
    )

    told = cxrlt(
        f"finetune runs/stage1 --csv challenge/train.csv {SMALL} {SHORT} --preset challenge --head mlp --dry-run"
    )
    assert "Kept from the checkpoint's head: Support Devices, Pneumothorax." in told
    assert "cardiomegaly for Cardiomegaly, pleural effusion for Pleural Effusion" in told
    assert "does not have: Consolidation, Edema, Enlarged Cardiomediastinum, Lung Lesion" in told

    first, second = (Checkpoint.read(Path("runs") / name / "best.safetensors") for name in ("stage1", "challenge"))
    assert (first.architecture.head, second.architecture.head) == ("mlp", "csra")
    assert len(first.findings) == 14
    check_submission(Path("s.csv"), Path("challenge/test_task1.csv"))


def check_submission(path: Path, films: Path) -> None:
    submission = Predictions.read(path)
    with films.open() as file:
        assert submission.ids.tolist() == [row["ImageID"] for row in csv.DictReader(file)]
    assert submission.findings == tuple(CXR_LT_2026)
    assert ((submission.probabilities > 0) & (submission.probabilities < 1)).all()


@pytest.mark.soak
def test_the_readmes_road_ends_in_both_submissions(tmp_path: Path) -> None:
    """Its commands as they stand there, made small, each in a process of its own."""
    section = PAGE.read_text()
    (block,) = re.findall(r"```bash\n(.*?)```", section, re.DOTALL)
    lines = block.replace("\\\n", " ").splitlines()
    assert [line.split()[1] for line in lines if "train" in line.split() or "ood" in line] == ["train", "ood"]
    run("cxrlt data phantom . --films 60 --size 64 --seed 1", tmp_path)
    drawn("mimic-cxr-jpg", tmp_path).rename(tmp_path / "MIMIC-CXR-JPG")
    given = {"train": "CXRLT_2026_training", "test_task1": "CXRLT_2026_TEST_ALL_TASK1"}
    for name, called in {**given, "test_task2": "CXRLT_2026_TEST_ALL_TASK2"}.items():
        (tmp_path / f"{name}.csv").rename(tmp_path / f"{called}.csv")
    for line in lines:
        run(f"{line} {TINY.get(line.split()[1], '')}", tmp_path)
    check_submission(tmp_path / "task1.csv", tmp_path / "CXRLT_2026_TEST_ALL_TASK1.csv")
    assert Predictions.read(tmp_path / "task2.csv").findings == UNSEEN


def run(line: str, folder: Path) -> None:
    words = [sys.executable, "-m", "cxrlt_cli", *shlex.split(line)[1:]]
    done = subprocess.run(words, cwd=folder, env={**os.environ, "COLUMNS": "300"}, capture_output=True, text=True)
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
