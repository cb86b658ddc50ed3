"""``cxrlt models export``: a checkpoint as ONNX, for programs that have no PyTorch.

The graph holds all that comes after the resize: levels to images, the normalisation of the checkpoint, backbone, head
and sigmoid. What it gives is held against PyTorch before the file gets its name.

Letters: N films, C findings, S side of a film.
"""

import importlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cxrlt_cli import __version__
from cxrlt_cli.config import ModelsExportOptions
from cxrlt_cli.engine.locks import lock_outputs
from cxrlt_cli.engine.predict import read_checkpoint
from cxrlt_cli.engine.reporter import Reporter, counted, size
from cxrlt_cli.errors import CheckpointError, InstallError
from cxrlt_cli.files import replacing, require_file
from cxrlt_cli.nets.classifier import Classifier, from_checkpoint

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
LARGEST_DIFFERENCE = 1e-4  # between probabilities; float32 alone makes 1e-6
ONNX_LIMIT = 2 * 10**9  # bytes of a protobuf message, and so of weights in one file


class _Exported(nn.Module):
    """uint8 films ``[N, 1, S, S]`` to probabilities ``[N, C]``."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, films: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.classifier.normalize(films))
        return logits.sigmoid()


def export_model(options: ModelsExportOptions, reporter: Reporter) -> None:
    """Write a checkpoint as one ONNX file: ``films``, uint8 ``[N, 1, S, S]``, to ``probabilities`` ``[N, C]``.

    Findings, size and preprocessing stand in the file's metadata. Raises InstallError where a package is missing,
    CheckpointError where PyTorch and ONNX Runtime differ by more than ``LARGEST_DIFFERENCE``; no file is left then.
    """
    onnx, _, onnxruntime = (_package(name) for name in PACKAGES)
    require_file(options.out, "--out", [options.checkpoint])
    with lock_outputs(("--out", options.out)):
        _export(options, onnx, onnxruntime, reporter)


def _export(options: ModelsExportOptions, onnx: Any, onnxruntime: Any, reporter: Reporter) -> None:
    classifier = from_checkpoint(read_checkpoint(options.checkpoint, reporter), options.checkpoint)
    num_bytes = sum(tensor.numel() * tensor.element_size() for tensor in classifier.state_dict().values())
    if num_bytes > ONNX_LIMIT:
        raise CheckpointError(
            f"{options.checkpoint} has {size(num_bytes)} of weights; one ONNX file holds {size(ONNX_LIMIT)}.",
            "Export a smaller backbone.",
        )
    model = _Exported(classifier).eval()
    graph = _graph(model, classifier.image_shape, options.checkpoint)
    onnx.helper.set_model_props(graph, _metadata(classifier))
    onnx.checker.check_model(graph)
    with replacing(options.out) as temporary:
        onnx.save(graph, temporary)
        difference = _difference(model, onnxruntime, temporary, options.checkpoint)
        if not difference <= LARGEST_DIFFERENCE:  # nor NaN
            raise CheckpointError(
                f"{options.checkpoint}: as ONNX its probabilities differ by up to {difference:.1g} from PyTorch's "
                f"(at most {LARGEST_DIFFERENCE:g} is accepted). Nothing was written.",
                "Predict with cxrlt infer, or update onnx, onnxscript and onnxruntime.",
            )
    reporter.result(
        f"Wrote {options.out} ({size(num_bytes)} of weights): {counted(len(classifier.findings), 'finding')}, "
        f"{classifier.preprocessing.told}; at most {difference:.1g} from PyTorch's probabilities."
    )


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:  # it is there, and lacks something itself
            raise
        raise InstallError(
            f"models export needs the package {name}, which is not installed.", 'pip install "cxrlt[onnx]"'
        ) from error


def _graph(model: _Exported, image_shape: tuple[int, int], path: Path) -> Any:
    """The model as an ONNX message, N left open.

    ``torch.export`` is called here and not by ``torch.onnx``, which tries other ways after it, some of which fix N.
    """
    films = torch.zeros(2, 1, *image_shape, dtype=torch.uint8)  # of 2: torch.export takes 1 for fixed
    try:
        with _warnings_alone("torch.export"), _warnings_alone("onnxscript"):
            program = torch.export.export(model, (films,), dynamic_shapes={"films": {0: torch.export.Dim("N")}})
            exported = torch.onnx.export(
                program, input_names=["films"], output_names=["probabilities"], dynamo=True, verbose=False
            )
    except (RuntimeError, ValueError) as error:  # what torch and onnxscript raise of operators that they do not know
        what = model.classifier.architecture
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(
            f"{path}: {what.backbone} with {what.head} cannot be written as ONNX ({reason[:300]}).",
            "Predict with cxrlt infer, or train another --backbone.",
        ) from error
    assert exported is not None, "it is made of a program, and not written"
    return exported.model_proto


@contextmanager
def _warnings_alone(name: str) -> Iterator[None]:
    """As long as this lasts, a library logs warnings and errors, not what it skips in passing."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _metadata(classifier: Classifier) -> dict[str, str]:
    return {
        "findings": json.dumps(list(classifier.findings), ensure_ascii=False),
        "image_size": json.dumps(classifier.preprocessing.to_json()["image_size"]),
        "preprocessing": json.dumps(classifier.preprocessing.to_json()),
        "cxrlt": __version__,
        "notice": "research software, not a medical device",
    }


def _difference(model: _Exported, onnxruntime: Any, file: Path, path: Path) -> float:
    """The largest difference of a probability between PyTorch and ONNX Runtime: noise, black, grey, white; N 4 and 1.

    Raises CheckpointError where ONNX Runtime cannot run the file.
    """
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (1, 1, *model.classifier.image_shape), dtype=torch.uint8, generator=generator)
    films = torch.cat([noise, *(torch.full_like(noise, level) for level in (0, 128, 255))])
    try:
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        theirs = [torch.from_numpy(session.run(None, {"films": batch.numpy()})[0]) for batch in (films, noise)]
    except RuntimeError as error:
        raise CheckpointError(f"{path}: ONNX Runtime cannot run what was exported ({error}).") from error
    with torch.inference_mode():
        ours = [model(batch) for batch in (films, noise)]
    return max(float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True))
