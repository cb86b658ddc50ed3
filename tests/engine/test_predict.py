import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.data.loading import Batch, FilmDataset, FilmFiles, ordered_loader
from cxrlt_cli.engine.predict import predict, preprocessings, read_checkpoint, rehearse, stretches
from cxrlt_cli.engine.process import Process
from cxrlt_cli.errors import DataError, FilmError, WorkerError
from cxrlt_cli.nets.checkpoints import Architecture
from cxrlt_cli.nets.classifier import Classifier
from cxrlt_cli.tta import VIEWS
from tests.helpers import Recorder, head_of

CPU = Process(torch.device("cpu"), torch.float32, 0)


def classifier(side: int = 64, seed: int = 0) -> Classifier:
    torch.manual_seed(seed)
    return Classifier(Architecture("test_convnext", "mlp"), ["a", "b"], Preprocessing(side)).eval()


def batches(films: torch.Tensor, *sides: int) -> Iterator[Batch]:
    """Three films at a time; as many kinds of them as there are sides, the corner of each film."""
    for rows in torch.tensor_split(torch.arange(len(films)), [3, 6]):
        yield Batch(rows, tuple(films[rows, :, :side, :side] for side in sides), ())


@pytest.fixture(scope="module")
def films() -> torch.Tensor:
    return torch.randint(0, 256, (7, 1, 96, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_each_model_sees_its_own_films_in_every_view(films: torch.Tensor) -> None:
    small, large = classifier(64), classifier(96, seed=1)
    advanced: list[int] = []
    with torch.inference_mode():
        outputs = predict([small, large], batches(films, 64, 96), CPU, advanced.append, VIEWS["flip"], features=True)
        for model, side, own in ((small, 64, outputs[0]), (large, 96, outputs[1])):
            levels = films[:, :, :side, :side].float()
            for number, view in enumerate(VIEWS["flip"]):
                logits, feature_map = model.logits_and_map(model.normalize(view.apply(levels)))
                torch.testing.assert_close(own.logits[number], logits, rtol=1e-4, atol=1e-5)
                if number == 0:
                    torch.testing.assert_close(own.features, feature_map.mean(dim=(2, 3)), rtol=1e-4, atol=1e-5)
    assert advanced == [3, 3, 1]


def test_features_are_kept_only_where_they_are_asked_for(films: torch.Tensor) -> None:
    (outputs,) = predict([classifier()], batches(films, 64), CPU, lambda _: None)
    assert outputs.features is None
    assert outputs.logits.shape == (1, 7, 2)


def test_every_film_that_cannot_be_read_is_told(films: torch.Tensor) -> None:
    faults = tuple(FilmError(Path(f"{name}.png"), "is damaged") for name in "xy")
    spoilt = [replace(batch, faults=faults[number : number + 1]) for number, batch in enumerate(batches(films, 64))]
    advanced: list[int] = []
    with pytest.raises(DataError, match=r"^2 films cannot be read") as told:
        predict([classifier()], spoilt, CPU, advanced.append)
    assert "x.png" in str(told.value)
    assert "y.png" in str(told.value)
    assert sum(advanced) == 9


def test_a_damaged_film_is_told_once_by_several_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an odd number of films, two processes have the last one twice, so that their shares are equal."""
    dataset = FilmDataset(FilmFiles([tmp_path / f"{name}.png" for name in "abc"], [Preprocessing(64)], 10**6))
    first, second = (
        ordered_loader(dataset, batch_size=2, num_workers=0, pin=False, rank=rank, num_processes=2) for rank in (0, 1)
    )
    theirs = [fault for batch in second for fault in batch.faults]
    assert [fault.path.name for fault in theirs] == ["b.png", "c.png"]
    monkeypatch.setattr(Process, "collected", lambda _, mine: [mine, (theirs, -1)])
    with pytest.raises(DataError, match=r"^3 films cannot be read") as told:
        predict([classifier()], first, CPU, lambda _: None)
    assert str(told.value).count("c.png") == 1


def test_outputs_that_are_no_numbers_are_an_error(films: torch.Tensor) -> None:
    model = classifier()
    with torch.no_grad():
        next(head_of(model).parameters()).fill_(torch.nan)
    with pytest.raises(WorkerError, match="14 outputs that are no finite numbers"):
        predict([model], batches(films, 64), CPU, lambda _: None)


def test_films_are_wanted_once_in_each_way() -> None:
    models = [classifier(64), classifier(96), classifier(64)]
    assert preprocessings(models) == [Preprocessing(64), Preprocessing(96)]


def test_a_rehearsal_is_one_batch(films: torch.Tensor) -> None:
    recorder = Recorder()
    left = batches(films, 64)
    rehearse([classifier()], left, VIEWS["none"], 70, CPU, recorder)
    assert recorder.results[0].startswith("Dry run: one batch went through")
    assert len(list(left)) == 2


def test_stretches_grow_to_about_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0, 10, 10, 30, 30, 75, 75, 175, 175])  # stretches that took 10, 20, 45 and 100 seconds
    monkeypatch.setattr("cxrlt_cli.engine.predict.time.monotonic", lambda: next(clock))
    assert list(islice(stretches(4, CPU), 5)) == [32, 64, 128, 128, 64]


def test_a_checkpoint_without_a_checksum_is_warned_of(run: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    assert read_checkpoint(run / "best.safetensors", recorder).checked
    assert recorder.warnings == []
    with safe_open(run / "best.safetensors", "pt") as file:
        header = json.loads(file.metadata()["cxrlt"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    header = {**{key: value for key, value in header.items() if key != "digest"}, "format": 1}
    save_file(tensors, tmp_path / "old.safetensors", {"cxrlt": json.dumps(header)})
    assert not read_checkpoint(tmp_path / "old.safetensors", recorder).checked
    assert recorder.warnings[0].startswith(f"{tmp_path / 'old.safetensors'} carries no checksum")
