import copy
from pathlib import Path

import pytest
import torch
import yaml

from cxrlt_cli.config import EvaluateOptions, InferOptions, TrainOptions
from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.engine import precision
from cxrlt_cli.engine.process import Process
from cxrlt_cli.errors import OptionError
from cxrlt_cli.nets.checkpoints import Architecture
from cxrlt_cli.nets.classifier import Classifier
from cxrlt_cli.training.schedule import num_films_learned
from cxrlt_cli.verbs.evaluate import evaluate
from cxrlt_cli.verbs.infer import infer
from cxrlt_cli.verbs.train import train
from tests.conftest import run_options
from tests.helpers import Recorder

CPU = Process(torch.device("cpu"), torch.float32, 0)


@pytest.fixture
def model() -> Classifier:
    torch.manual_seed(0)
    return Classifier(Architecture("test_convnext", "mlp"), ["a", "b"], Preprocessing(64), drop_path=0.1)


def choice(model: Classifier, times: dict[str, float], monkeypatch: pytest.MonkeyPatch, **changes: object) -> Recorder:
    """With passes that take so many seconds; the recorder knows what was chosen."""

    def seconds(_: object, dtype: torch.dtype) -> float:
        return times[precision.NAMES[dtype]]

    def compiled_seconds(_: object, dtype: torch.dtype) -> float:
        if "compiled" not in times:
            raise RuntimeError("no C++ compiler\nand more")
        return times["compiled"]

    monkeypatch.setattr(precision._Trial, "seconds", seconds)
    monkeypatch.setattr(precision._Trial, "compiled_seconds", compiled_seconds)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    recorder = Recorder()
    options = run_options(Path("x.csv"), None, **{"precision": "auto", **changes}).resolved()
    chosen, process = precision.choose_for_training(options, CPU, model, num_films_learned(options, 10), recorder)
    assert process.dtype == {"fp32": torch.float32, "bf16": torch.bfloat16}[chosen.precision]
    recorder.results += [chosen.precision, f"compile={chosen.compile}"]
    return recorder


@pytest.mark.parametrize(
    ("fp32", "bf16", "chosen"), [(1.0, 0.5, "bf16"), (1.0, 0.95, "fp32"), (1.0, 3.0, "fp32"), (0.01, 0.001, "fp32")]
)
def test_auto_takes_bf16_where_it_is_faster(
    model: Classifier, monkeypatch: pytest.MonkeyPatch, fp32: float, bf16: float, chosen: str
) -> None:
    told = choice(model, {"fp32": fp32, "bf16": bf16}, monkeypatch, compile=False)
    assert told.results == [chosen, "compile=False"]
    assert len(told.notes) == (fp32 > precision.SHORT)


def test_what_is_asked_for_is_not_tried(model: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    told = choice(model, {"fp32": 0.001}, monkeypatch, precision="fp32")
    assert told.results == ["fp32", "compile=False"]
    assert told.notes == []


def test_a_long_run_is_compiled_where_that_pays(model: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    long = {"precision": "fp32", "epochs": 1000}  # of 10 batches of 8 films, at 8 films in 0.5 s: 83 minutes
    for compiled, pays in ((0.2, True), (0.49, False)):
        told = choice(model, {"fp32": 0.5, "compiled": compiled}, monkeypatch, **long)
        assert told.results[-1] == f"compile={pays}"
    assert choice(model, {"fp32": 0.5, "compiled": 0.2}, monkeypatch, precision="fp32", epochs=100).notes == []
    told = choice(model, {"fp32": 0.5}, monkeypatch, **long)
    assert told.results[-1] == "compile=False"
    assert "cannot be compiled here (no C++ compiler); it is not compiled" in told.notes[-1]
    with pytest.raises(OptionError, match="--compile: the model cannot be compiled here"):
        choice(model, {"fp32": 0.5}, monkeypatch, precision="fp32", compile=True)


def test_a_trial_leaves_the_model_and_the_random_numbers_as_they_were(model: Classifier) -> None:
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    for learns in (True, False):
        assert precision._Trial(model, CPU, 4, learns).seconds(torch.float32) > 0
    assert torch.equal(torch.get_rng_state(), state)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.soak
def test_a_compiled_run_learns_what_an_eager_one_does(labels: Path, run: Path, tmp_path: Path) -> None:
    train(run_options(labels, tmp_path / "run", compile=True, max_steps=4), Recorder())
    told = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())
    assert (told["compile"], told["precision"]) == (True, "fp32")
    train(run_options(labels, tmp_path / "eager", compile=False, max_steps=4), Recorder())
    ours, theirs = (
        [line.split(",")[1:] for line in (tmp_path / name / "val_predictions.csv").read_text().splitlines()[1:]]
        for name in ("run", "eager")
    )
    difference = torch.tensor([[float(v) for v in row] for row in ours]) - torch.tensor(
        [[float(v) for v in row] for row in theirs]
    )
    assert difference.abs().max() < 1e-3


def test_what_was_chosen_is_taken_when_a_run_goes_on(labels: Path, tmp_path: Path, run: Path) -> None:
    told = yaml.safe_load((run / "run.yaml").read_text())
    assert told["precision"] in ("fp32", "bf16")
    assert told["compile"] is False
    options: TrainOptions = run_options(labels, tmp_path / "run", precision="bf16", epochs=1)
    train(options, Recorder())
    recorder = Recorder()
    train(run_options(labels, tmp_path / "run", precision="auto", epochs=1, resume=True), recorder)
    assert "is finished" in recorder.results[0]


def test_bf16_predicts_almost_what_float32_does(run: Path, labels: Path, tmp_path: Path) -> None:
    scores = {}
    for name in ("fp32", "bf16"):
        out = tmp_path / f"{name}.csv"
        given = {"checkpoint": run, "csv": labels, "out": out, "device": "cpu", "precision": name, "workers": 0}
        infer(InferOptions.model_validate(given), Recorder())
        scores[name] = evaluate(EvaluateOptions(predictions=(out,), csv=labels, bootstrap=0), Recorder()).macro()
    ours, theirs = scores["bf16"]["ap"], scores["fp32"]["ap"]
    assert ours is not None
    assert theirs is not None
    assert abs(ours - theirs) < 0.01
