import json
import sys
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch

from cxrlt_cli import __version__
from cxrlt_cli.config import ModelsExportOptions
from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.errors import CheckpointError, InstallError
from cxrlt_cli.nets.checkpoints import Architecture
from cxrlt_cli.nets.classifier import Classifier, load
from cxrlt_cli.verbs import models_export
from cxrlt_cli.verbs.models_export import export_model
from tests.helpers import Recorder, head_of

FINDINGS = ("No Finding", "épanchement", "a,b")


def checkpoint(folder: Path, backbone: str = "test_convnext", head: str = "linear") -> Path:
    """With weights, a normalisation and a scale that are nobody's default."""
    torch.manual_seed(0)
    model = Classifier(Architecture(backbone, head, logit_scale=3.0), FINDINGS, Preprocessing(64))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim <= 1 or name.endswith("grn.weight"):
                parameter.add_(0.3 * torch.randn_like(parameter))  # norms and biases start at nothing
    model.set_normalization((0.2, 0.4, 0.6), (0.3, 0.2, 0.1))
    model.checkpoint().write(folder / "best.safetensors")
    return folder / "best.safetensors"


@pytest.mark.parametrize(
    ("backbone", "head"),
    [
        pytest.param(*("test_convnext", "linear"), marks=pytest.mark.soak),
        pytest.param(*("test_convnext", "mlp"), marks=pytest.mark.soak),
        pytest.param(*("test_convnext", "csra-winner"), marks=pytest.mark.soak),
        pytest.param(*("test_convnext", "mldecoder"), marks=pytest.mark.soak),
        ("convnextv2_atto", "csra"),  # its response norm is ours
        ("test_vit", "linear"),
    ],
)
def test_onnx_runtime_gives_the_same_probabilities(tmp_path: Path, backbone: str, head: str) -> None:
    path, out, recorder = checkpoint(tmp_path, backbone, head), tmp_path / "model.onnx", Recorder()
    export_model(ModelsExportOptions(checkpoint=path, out=out), recorder)
    assert recorder.results[0].startswith(f"Wrote {out} (")
    assert {file.name for file in tmp_path.iterdir()} == {path.name, out.name}

    model = load(path)
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    for num_films in (1, 2, 5):
        films = torch.randint(0, 256, (num_films, 1, 64, 64), dtype=torch.uint8)
        with torch.inference_mode():
            expected = model(model.normalize(films)).sigmoid()
        (found,) = session.run(["probabilities"], {"films": films.numpy()})
        torch.testing.assert_close(torch.from_numpy(found), expected, rtol=0, atol=1e-5)


def test_the_file_says_what_is_needed_to_use_it(tmp_path: Path) -> None:
    path, out = checkpoint(tmp_path), tmp_path / "folder" / "model.onnx"
    export_model(ModelsExportOptions(checkpoint=path, out=out), Recorder())
    model = onnx.load(out)
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(said["findings"]) == list(FINDINGS)
    assert said["image_size"] == "64"
    assert json.loads(said["preprocessing"]) == Preprocessing(64).to_json()
    assert said["cxrlt"] == __version__
    assert said["notice"] == "research software, not a medical device"
    (films,), (probabilities,) = model.graph.input, model.graph.output
    assert (films.name, films.type.tensor_type.elem_type) == ("films", onnx.TensorProto.UINT8)
    assert films.type.tensor_type.shape.dim[0].dim_param, "any number of films"
    assert [d.dim_value for d in films.type.tensor_type.shape.dim] == [0, 1, 64, 64]
    assert probabilities.name == "probabilities"
    assert [d.dim_value for d in probabilities.type.tensor_type.shape.dim] == [0, 3]


def test_a_file_that_differs_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, out = checkpoint(tmp_path), tmp_path / "model.onnx"
    monkeypatch.setattr(models_export, "_difference", lambda *_: float("nan"))
    with pytest.raises(CheckpointError, match="differ by up to nan"):
        export_model(ModelsExportOptions(checkpoint=path, out=out), Recorder())
    monkeypatch.setattr(models_export, "_difference", lambda *_: 2e-4)
    with pytest.raises(CheckpointError, match=r"differ by up to 0\.0002"):
        export_model(ModelsExportOptions(checkpoint=path, out=out), Recorder())
    assert list(tmp_path.iterdir()) == [path]


def test_a_difference_is_seen(tmp_path: Path) -> None:
    path, out = checkpoint(tmp_path), tmp_path / "model.onnx"
    export_model(ModelsExportOptions(checkpoint=path, out=out), Recorder())
    other = load(path)
    with torch.no_grad():
        head_of(other).classifier.bias += 0.01
    assert 1e-4 < models_export._difference(models_export._Exported(other), onnxruntime, out, path) < 0.01


@pytest.mark.parametrize("name", models_export.PACKAGES)
def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InstallError, match=rf'package {name}, .*\n.*"cxrlt\[onnx\]"'):
        export_model(ModelsExportOptions(checkpoint=tmp_path / "x", out=tmp_path / "y"), Recorder())


def test_an_operator_that_onnx_lacks_is_the_users_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise NotImplementedError("no such operator\nand more")  # as PyTorch does

    monkeypatch.setattr(torch.onnx, "export", refused)
    with pytest.raises(CheckpointError, match=r"cannot be written as ONNX \(no such operator\)"):
        export_model(ModelsExportOptions(checkpoint=checkpoint(tmp_path), out=tmp_path / "m.onnx"), Recorder())
