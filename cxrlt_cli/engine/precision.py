"""Which precision, and whether compiled: tried on this machine with this model, not assumed.

bf16 is twice as fast as float32 on some processors and slower on others, and ``torch.compile`` takes a minute before it
gains anything. What is chosen is written into the options of the run, so that the same is taken when it goes on.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor, nn

from cxrlt_cli.config import ComputeOptions, FitOptions
from cxrlt_cli.engine.process import DTYPES, Process
from cxrlt_cli.engine.reporter import Reporter
from cxrlt_cli.errors import OptionError
from cxrlt_cli.nets.classifier import Classifier
from cxrlt_cli.private_apis import cpu_computes_bf16

GAIN = 1.1  # times as fast: from here on a choice is more than noise
SHORT = 0.1  # seconds of a batch below which no choice matters
LONG = 20 * 60  # seconds of a run from which on compiling may pay
TRIED = 8  # films
FEW = 2048  # films and views that are predicted sooner than tried

NAMES = {dtype: name for name, dtype in DTYPES.items()}


def choose_for_training(
    options: FitOptions, process: Process, model: Classifier, num_films: int, reporter: Reporter
) -> tuple[FitOptions, Process]:
    """Options with ``precision`` and ``compile`` chosen for a run whose backbone learns from ``num_films`` in all.

    All processes choose alike. Raises OptionError where ``--compile`` fails.
    """
    trial = _Trial(model, process, min(options.batch_size, TRIED), learns=True)
    dtype = _precision(options, process, trial, reporter)
    process = replace(process, dtype=dtype)
    compiles = options.compile
    if compiles and not options.dry_run:  # which compiles the model itself
        try:
            trial.compiled_seconds(dtype)
        except RuntimeError as error:
            raise compile_error(error) from error
    elif compiles is None:
        compiles = _pays(trial, dtype, num_films, process, reporter)
    return options.model_copy(update={"precision": NAMES[dtype], "compile": compiles}), process


def choose_for_predicting(
    options: ComputeOptions, process: Process, model: Classifier, num_passes: int, reporter: Reporter
) -> Process:
    """The process with the precision for ``num_passes`` films and views; all processes choose alike."""
    if num_passes < FEW:
        return process
    trial = _Trial(model, process, min(options.batch_size, TRIED), learns=False)
    return replace(process, dtype=_precision(options, process, trial, reporter))


class _Trial:
    """Passes of a copy of the model over made-up films."""

    def __init__(self, model: Classifier, process: Process, num_films: int, learns: bool) -> None:
        self._model, self._process, self._learns = model, process, learns
        self.num_films = num_films

    def seconds(self, dtype: torch.dtype) -> float:
        """Of one pass."""
        return self._timed(self._copy(), dtype)

    def compiled_seconds(self, dtype: torch.dtype) -> float:
        """The same for the backbone compiled; raises RuntimeError where that fails."""
        copy = self._copy()
        compile_backbone(copy)
        return self._timed(copy, dtype)

    def _copy(self) -> Classifier:
        return deepcopy(self._model).to(self._process.device).train(self._learns)

    def _timed(self, model: Classifier, dtype: torch.dtype) -> float:
        """The faster of two passes, after one that does not count; random generators are left as they were."""
        device = self._process.device
        once = self._learning if self._learns else self._predicting
        times = []
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            films = torch.randint(0, 256, (self.num_films, 1, *model.image_shape), dtype=torch.uint8).to(device)
            for _ in range(3):
                start = time.perf_counter()
                once(model, model.normalize(films), replace(self._process, dtype=dtype))
                self._process.wait()
                times.append(time.perf_counter() - start)
        return min(times[1:])

    @staticmethod
    def _learning(model: nn.Module, images: Tensor, process: Process) -> None:
        with process.autocast():
            logits = model(images)
        logits.sum().backward()
        model.zero_grad()

    @staticmethod
    def _predicting(model: nn.Module, images: Tensor, process: Process) -> None:
        with torch.inference_mode(), process.autocast():
            model(images)


def compile_backbone(model: Classifier) -> None:
    """From now on its backbone is compiled when it is first called, for each shape anew."""
    model.backbone.compile(dynamic=False)


@contextmanager
def uncompiled() -> Iterator[None]:
    """A context in which nothing is compiled: each batch of another shape, or without gradients, would be anew."""
    with torch.compiler.set_stance("force_eager"):
        yield


def compile_error(error: RuntimeError) -> OptionError:
    """What is told where ``--compile`` fails with this error."""
    return OptionError(f"--compile: the model cannot be compiled here ({_reason(error)}).", "Leave it out.")


def _precision(options: ComputeOptions, process: Process, trial: _Trial, reporter: Reporter) -> torch.dtype:
    """bf16 where ``--precision auto`` is asked, a CPU has instructions for it, and they gain something."""
    if options.precision != "auto":
        return DTYPES[options.precision]
    if process.device.type != "cpu" or not cpu_computes_bf16():
        return process.dtype
    single = process.collected(trial.seconds(torch.float32))[0]
    if single < SHORT:
        return torch.float32
    gain = process.collected(single / trial.seconds(torch.bfloat16))[0]
    dtype = torch.bfloat16 if gain >= GAIN else torch.float32
    reporter.note(f"Tried on {trial.num_films} films: bf16 is {gain:.2g} times as fast as fp32; {NAMES[dtype]} it is.")
    return dtype


def _pays(trial: _Trial, dtype: torch.dtype, num_films: int, process: Process, reporter: Reporter) -> bool:
    """Whether a run over so many films is long enough for compiling, and compiling gains something."""
    eager = process.collected(trial.seconds(dtype))[0]
    if eager / trial.num_films * num_films < LONG:
        return False
    reporter.note("The run is long: trying whether torch.compile pays.")
    try:
        gain = eager / trial.compiled_seconds(dtype)
        told = f"compiled, it is {gain:.1f} times as fast"
    except RuntimeError as error:  # no compiler, or one that fails
        gain, told = 0.0, f"it cannot be compiled here ({_reason(error)})"
    pays = process.collected(gain >= GAIN)
    reporter.note(f"Tried on {trial.num_films} films: {told}; it is {'' if all(pays) else 'not '}compiled.")
    return all(pays)


def _reason(error: RuntimeError) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
