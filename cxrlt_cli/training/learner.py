"""One phase of training: a model, and what changes it a batch at a time."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import islice
from typing import Any

import torch
from timm.utils import ModelEmaV3  # type: ignore[attr-defined]
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from cxrlt_cli.config import FitOptions
from cxrlt_cli.data.image import report_faults
from cxrlt_cli.data.loading import Batch, on_device
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporter import Advance
from cxrlt_cli.errors import WorkerError, listed
from cxrlt_cli.losses import Criterion
from cxrlt_cli.nets.classifier import Classifier, parameter_groups
from cxrlt_cli.private_apis import multiply_all
from cxrlt_cli.training.schedule import Phase, lr_factor

LEAST_SCALE = 2.0**-10  # in fp16 each step that overflows halves it; below, no scale is the reason
UNIT = 1024.0  # labelled entries; keeps summed losses in a range that fp16 can hold


class Learner:
    """The model of a phase with its optimizer, its learning rate and its averaged weights.

    In phase ``head`` the backbone is frozen and in eval mode: nothing of it changes, its batch-norm statistics and
    its stochastic depth included.
    """

    def __init__(
        self,
        model: Classifier,
        criterion: Criterion,
        phase: Phase,
        *,
        num_steps: int,
        weight_decay: float,
        layer_decay: float,
        clip_grad: float,
        accumulate: int,
        process: Process,
    ) -> None:
        assert criterion.findings in (None, model.findings), "class weights belong to names"
        self._model = model
        self._criterion = criterion
        self._phase = phase
        self._num_steps = num_steps
        self._clip_grad = clip_grad or math.inf
        self._accumulate = accumulate
        self._process = process
        self._step = 0
        model.backbone.requires_grad_(phase.trains == "all")
        self._network: Callable[[Tensor], Tensor] = model
        if process.num_processes > 1:  # frozen first: what is wrapped has no parameter without a gradient
            self._network = DistributedDataParallel(model)
        groups = parameter_groups(model, phase.lr_head, phase.lr_backbone, weight_decay, layer_decay)
        self._optimizer = torch.optim.AdamW(groups, fused=True)
        self._peaks = [group["lr"] for group in groups]
        self._scaler = torch.amp.GradScaler(process.device.type, enabled=process.dtype == torch.float16)
        self._ema = ModelEmaV3(model, decay=phase.ema_decay, use_warmup=True) if phase.ema_decay else None
        self._average: ModelEmaV3 | None = None
        self._num_averaged = 0

    @classmethod
    def of(
        cls,
        options: FitOptions,
        model: Classifier,
        criterion: Criterion,
        phase: Phase,
        *,
        num_steps: int,
        process: Process,
    ) -> "Learner":
        """With the settings of these options; each of ``num_steps`` steps has ``--accumulate`` batches."""
        return cls(
            model,
            criterion,
            phase,
            num_steps=num_steps,
            weight_decay=options.weight_decay,
            layer_decay=options.layer_decay,
            clip_grad=options.clip_grad,
            accumulate=options.accumulate,
            process=process,
        )

    @property
    def num_averaged(self) -> int:
        """Epochs whose weights are in the ``average``."""
        return self._num_averaged

    @property
    def variants(self) -> dict[str, Classifier]:
        """Models to choose from: the ``raw`` weights, their ``ema``, and the ``average`` of the last epochs."""
        models = {"raw": self._model}
        if self._ema is not None:
            models["ema"] = self._ema.module
        if self._average is not None:
            models["average"] = self._average.module
        return models

    def state(self) -> dict[str, Any]:
        """All that decides what is learned next; for ``restore``."""
        modules = {"ema": self._ema, "average": self._average}
        return {
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "step": self._step,
            "num_averaged": self._num_averaged,
            **{name: module.module.state_dict() for name, module in modules.items() if module is not None},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Be as the learner of the same phase was that gave ``state``."""
        self._model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        self._step, self._num_averaged = state["step"], state["num_averaged"]
        if self._ema is not None:
            self._ema.module.load_state_dict(state["ema"])
        if "average" in state:
            self._average = ModelEmaV3(self._model)
            self._average.module.load_state_dict(state["average"])

    def average(self) -> None:
        """Take the weights as they stand, the smoothed ones where there are any, into the plain mean of epochs."""
        newest = self._model if self._ema is None else self._ema.module
        if self._average is None:
            self._average, self._num_averaged = ModelEmaV3(newest), 1
            return
        self._num_averaged += 1
        self._average.decay = 1 - 1 / self._num_averaged  # at which a moving average is the plain one
        self._average.update(newest)

    @property
    def ema_decay(self) -> float:
        """Decay of the moving average of the weights at the last step, at most ``--ema-decay``; 0 without one."""
        return 0.0 if self._ema is None else float(self._ema.get_decay(self._step))

    @property
    def rates(self) -> dict[str, float]:
        """The learning rates of the last step, for ``head`` and, where it learns, the topmost layer of ``backbone``."""
        groups = self._optimizer.param_groups
        parts = {group["part"] for group in groups}
        return {part: max(group["lr"] for group in groups if group["part"] == part) for part in parts}

    def epoch(
        self,
        batches: Iterable[Batch],
        numbers: range,
        targets: Tensor,
        ids: Sequence[str],
        advance: Advance,
        after_step: Callable[[int, Callable[[], tuple[float, int]]], None],
        so_far: tuple[float, int] = (0.0, 0),
    ) -> tuple[float, int]:
        """Learn from the batches of an epoch that have these ``numbers``; give the summed loss of all its films.

        And how many those are, on all processes. ``so_far``: summed loss and number of the films before these batches.
        ``after_step`` is told after each step how many batches are done, and what gives the same sums then.

        ``targets [N, C]`` and ``ids [N]`` are those of all training films. Raises DataError where a film cannot be read
        any more, WorkerError with the films where the loss of a batch or the gradient of a step is not finite.
        """
        self._model.train()
        if self._phase.trains == "head":
            self._model.backbone.eval()
        (total, num_films), num_labels = so_far, 0
        waiting: list[Callable[[], float]] = []  # what gives the loss of a batch, once all is well with it
        seen: list[Tensor] = []  # films of a step
        mine = on_device(islice(batches, len(numbers)), self._process.device)
        for number, batch in zip(numbers, mine, strict=False):
            if batch.faults:
                raise report_faults(batch.faults, len(ids))
            labels = targets[batch.indices]
            steps = (number + 1) % self._accumulate == 0 or number == numbers[-1]
            loss, labelled = self._add_gradient(batch, labels, last=steps)
            num_labels += labelled
            seen.append(batch.indices)
            total += sum(checked() for checked in waiting)  # a batch late: the device has this one to do
            waiting = [partial(self._checked_loss, loss, batch.indices, self._step + 1, ids)]
            num_films += len(batch.indices)
            if steps:
                norm = self._update(num_labels)
                waiting.append(partial(self._checked_norm, norm, torch.cat(seen), self._step, ids))
                num_labels, seen = 0, []
                after_step(number + 1, lambda: (total + sum(checked() for checked in waiting), num_films))  # noqa: B023
            advance(len(batch.indices) * self._process.num_processes)
        total += sum(checked() for checked in waiting)
        total, num_films = self._process.summed(torch.tensor([total, num_films], dtype=torch.float64)).tolist()
        return total, int(num_films)

    def _add_gradient(self, batch: Batch, labels: Tensor, last: bool) -> tuple[Callable[[], float], int]:
        """Add the gradient of the loss summed over the labelled entries, in units of ``UNIT``; give mean and number.

        The ``last`` before a step adds those of the other processes.
        """
        images = self._model.normalize(batch.films[0])
        network = self._network
        with nullcontext() if last or not isinstance(network, DistributedDataParallel) else network.no_sync():
            return self._backward(images, labels)

    def _backward(self, images: Tensor, labels: Tensor) -> tuple[Callable[[], float], int]:
        with self._process.autocast():
            logits = self._network(images)
        loss: Tensor = self._criterion(logits, labels.to(logits.device, non_blocking=True))
        value = _to_host(loss.detach())
        labelled = int((~torch.isnan(labels)).sum())
        self._scaler.scale(loss * (labelled / UNIT)).backward()  # type: ignore[no-untyped-call]
        return value, labelled

    def _update(self, num_labels: int) -> Callable[[], float]:
        """A step down the mean loss of all entries that were labelled since the last one, on whichever process.

        Gives the norm of its gradient.
        """
        num_labels = int(self._process.summed(torch.tensor(num_labels)))
        factor = lr_factor(self._phase, self._step, self._num_steps)
        for group, peak in zip(self._optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * factor
        self._scaler.unscale_(self._optimizer)
        parameters = [parameter for group in self._optimizer.param_groups for parameter in group["params"]]
        mean = UNIT * self._process.num_processes / max(1, num_labels)  # what is there is the processes' mean
        multiply_all([p.grad for p in parameters if p.grad is not None], mean)
        norm = _to_host(torch.nn.utils.clip_grad_norm_(parameters, self._clip_grad))
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)
        self._step += 1
        if self._ema is not None:
            self._ema.update(self._model, step=self._step)
        return norm

    def _checked_loss(self, loss: Callable[[], float], indices: Tensor, step: int, ids: Sequence[str]) -> float:
        """The loss of a batch times its films."""
        value = loss()
        if not math.isfinite(value):
            raise self._diverged(f"The loss is {value}", indices.tolist(), step, ids)
        return value * len(indices)

    def _checked_norm(self, norm: Callable[[], float], indices: Tensor, step: int, ids: Sequence[str]) -> float:
        """Nothing to add to the loss, where the gradient of a step was finite, or the step left out for its scale."""
        value = norm()
        if math.isfinite(value) or (self._scaler.is_enabled() and self._scaler.get_scale() >= LEAST_SCALE):
            return 0.0
        films = [film for share in self._process.collected(indices.tolist()) for film in share]  # any may be at fault
        raise self._diverged(f"The gradient is {'infinite' if math.isinf(value) else value}", films, step, ids)

    def _diverged(self, what: str, films: Sequence[int], step: int, ids: Sequence[str]) -> WorkerError:
        flags = {"head": "--lr-warmup", "retrain": "--lr-head", "frozen": "--lr-head"}.get(
            self._phase.name, "--lr-head and --lr-backbone"
        )
        return WorkerError(
            f"{what} in phase '{self._phase.name}', step {step}; films {listed([ids[film] for film in films], 8)}.",
            f"Lower {flags}, or pass --precision fp32.",
        )


def _to_host(loss: Tensor) -> Callable[[], float]:
    """What gives a scalar of the device: it is copied without waiting, and whoever asks waits for that copy alone."""
    if loss.device.type != "cuda":
        return loss.item
    copy, copied = torch.empty((), dtype=loss.dtype, pin_memory=True), torch.cuda.Event()  # type: ignore[no-untyped-call]
    copy.copy_(loss, non_blocking=True)
    copied.record()

    def value() -> float:
        copied.synchronize()
        return float(copy)

    return value
