"""``ensemble --soup``: several checkpoints averaged to one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cxrlt_cli.config import EnsembleOptions, InferOptions
from cxrlt_cli.errors import CheckpointError, DataError, OptionError
from cxrlt_cli.nets.batch_norm import norms_of
from cxrlt_cli.nets.checkpoints import Checkpoint
from cxrlt_cli.nets.classifier import load
from cxrlt_cli.scores.metrics import score
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.tables.label_table import read_labels
from cxrlt_cli.verbs.infer import infer
from cxrlt_cli.verbs.train import train
from tests.conftest import run_options
from tests.helpers import FINDINGS, Recorder, ensemble, make_films

LOCAL = {"workers": 0, "device": "cpu", "batch_size": 16, "precision": "fp32"}


@pytest.fixture(scope="module")
def seeds(labels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Members of one split, with a batch norm each."""
    out = tmp_path_factory.mktemp("soup") / "run"
    train(run_options(labels, out, seeds=3, head="csra-winner", image_size=32, epochs=1), Recorder())
    return out


def members_of(run: Path) -> list[Path]:
    return [run / f"seed-{seed}" for seed in (42, 43, 44)]


def soup(members: list[Path], out: Path, labels: Path, kind: str = "greedy", **changes: Any) -> Recorder:
    recorder = Recorder()
    given = {"members": members, "out": out, "csv": labels, "soup": kind, **LOCAL, **changes}
    assert ensemble(EnsembleOptions.model_validate(given), recorder) is None
    return recorder


def predicted(checkpoint: Path, labels: Path, out: Path, **changes: Any) -> Predictions:
    given = {"checkpoint": checkpoint, "csv": labels, "out": out, **LOCAL, **changes}
    infer(InferOptions.model_validate(given), Recorder())
    return Predictions.read(out)


def ap_of(predictions: Predictions, labels: Path, films: list[str]) -> float:
    table = read_labels(labels)
    row = {film: index for index, film in enumerate(table.ids)}
    targets = table.targets[[row[film] for film in films]]
    ap = score(targets, predictions.rows(films).probabilities, FINDINGS).macro()["ap"]
    assert ap is not None
    return ap


def test_a_greedy_soup_is_no_worse_than_its_best_member_on_films_that_none_learned_from(
    seeds: Path, labels: Path, tmp_path: Path
) -> None:
    out = tmp_path / "one.safetensors"
    recorder = soup([seeds], out, labels)
    held_out = Predictions.read(seeds / "seed-42" / "val_predictions.csv").ids.tolist()
    assert recorder.plans[0]["films"].startswith(f"{len(held_out)} of ")
    aps = [ap_of(Predictions.read(member / "val_predictions.csv"), labels, held_out) for member in members_of(seeds)]
    assert [float(row[1]) for row in recorder.texts[0][1:]] == pytest.approx(aps, abs=5e-4)
    mine = ap_of(predicted(out, labels, tmp_path / "p.csv"), labels, held_out)
    assert mine >= max(aps)
    assert f"macro AP {mine:.3f}, {mine - max(aps):+.3f} against the best member" in recorder.results[0]
    made = Checkpoint.read(out)
    chosen = [
        str(member) for member, row in zip(members_of(seeds), recorder.texts[0][1:], strict=True) if row[2] == "yes"
    ]
    assert sorted(made.training["soup"]["members"]) == chosen, "the best first"
    assert made.training["val_ap"] == pytest.approx(mine)
    assert made.training["options"]["head"] == "csra-winner"
    predicted(out, labels, tmp_path / "p.csv", calibration="platt", decisions=tmp_path / "d.csv")


def test_a_uniform_soup_has_the_mean_weights_and_statistics_of_its_own(
    seeds: Path, labels: Path, tmp_path: Path
) -> None:
    out = tmp_path / "one.safetensors"
    recorder = soup(members_of(seeds), out, labels, "uniform")
    made, parts = Checkpoint.read(out), [Checkpoint.read(member).tensors for member in members_of(seeds)]
    statistics = {"bn.running_mean", "bn.running_var", "bn.num_batches_tracked"}
    for name, tensor in made.tensors.items():
        mean = torch.stack([part[name].double() for part in parts]).mean(dim=0)
        assert (name in statistics) != torch.allclose(tensor.double(), mean, atol=1e-7), name
    assert len(norms_of(load(out))) == 1
    assert "epoch" not in made.training
    assert not made.novelty
    assert "--ood-score" in recorder.results[-1]
    again = soup(members_of(seeds), tmp_path / "again.safetensors", labels, "uniform")
    assert out.read_bytes() == (tmp_path / "again.safetensors").read_bytes()
    assert again.results[0] == recorder.results[0]


def test_a_soup_of_the_same_is_the_same(run: Path, tmp_path: Path) -> None:
    others = make_films(tmp_path / "others", num_films=20, first=100)
    out = tmp_path / "one.safetensors"
    soup([run, run / "best.safetensors"], out, others, "uniform")
    made, member = Checkpoint.read(out), Checkpoint.read(run)
    assert all(torch.equal(made.tensors[name], tensor) for name, tensor in member.tensors.items())
    mine, its = (predicted(path, others, tmp_path / "p.csv").probabilities for path in (out, run))
    np.testing.assert_array_equal(mine, its)


def test_members_that_saw_each_others_films_are_refused(run: Path, seeds: Path, labels: Path, tmp_path: Path) -> None:
    train(run_options(labels, tmp_path / "run", folds=2, image_size=32, max_steps=1), Recorder())
    out = tmp_path / "one.safetensors"
    with pytest.raises(DataError, match=r"no film of .* that no member learned from") as caught:
        soup([tmp_path / "run"], out, labels)
    assert "films of other patients" in caught.value.hint
    soup([tmp_path / "run"], out, make_films(tmp_path / "others", num_films=20, first=100), dry_run=True)
    assert not out.exists()
    with pytest.raises(CheckpointError, match="differ in backbone and head, image size"):
        soup([run, seeds / "seed-42"], out, labels)
    lone = tmp_path / "lone.safetensors"
    lone.write_bytes((run / "best.safetensors").read_bytes())
    with pytest.raises(DataError, match="that no member learned from") as caught:
        soup([lone, run], out, labels)
    assert "val_predictions.csv" in caught.value.hint, "nothing beside it says what it held out"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"weights": "1,2"}, "--weights is of predictions"),
        ({"tta": "flip", "fit": True}, "--tta and --fit is of predictions"),
        ({"out": Path("a.csv")}, r"a\.csv: --soup writes a checkpoint"),
        ({"members": ["a.csv", "b.csv"]}, "no predictions"),
        ({"members": ["a"]}, "there is one"),
        ({"csv": None}, "needs labelled films"),
    ],
)
def test_options_that_do_not_go_with_a_soup(changes: dict[str, Any], said: str) -> None:
    given = {"members": ["a", "b"], "csv": "l.csv", "out": "one.safetensors", "soup": "greedy", **LOCAL, **changes}
    with pytest.raises(OptionError, match=said):
        ensemble(EnsembleOptions.model_validate(given), Recorder())
