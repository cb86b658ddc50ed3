"""``--preset auto``: head, loss and sampler that won, each with the measurement behind it.

Measured out of fold by patient on real films (``python -m tests.benchmarks.long_tail``), and held against twelve worlds
of phantoms (``tests.benchmarks.worlds``): within 0.01 AP of the best of four recipes in ten of them, 0.011 below asl in
one, and 0.027 below csra, db and cas in that of most films and longest tail. So there is one recipe for all of them.
"""

from dataclasses import dataclass
from typing import Any, TypeVar

from cxrlt_cli.config import FinetuneOptions, TrainOptions
from cxrlt_cli.engine.reporter import Reporter

MEASURED_ON = "711 films of 15 findings at 96 px, from ImageNet weights"

OptionsT = TypeVar("OptionsT", TrainOptions, FinetuneOptions)


@dataclass(frozen=True)
class Choice:
    """The value of an option, and why."""

    option: str
    value: Any
    reason: str

    def __str__(self) -> str:
        flag = "--" + self.option.replace("_", "-")
        return f"{flag if self.value is True else f'{flag} {self.value}'}: {self.reason}"


def choices(options: TrainOptions | FinetuneOptions, fresh_head: bool) -> tuple[Choice, ...]:
    """What ``auto`` takes for the options of the method that were not given."""
    given = options.model_fields_set
    taken = []
    if not (isinstance(options, FinetuneOptions) or given & {"head", "csra_heads", "csra_lambda"}):
        taken.append(Choice("head", "linear", "AP 0.244, AUROC 0.803; csra 0.240, 0.756 (both bce, prior bias)"))
    if "loss" not in given:
        taken.append(Choice("loss", "bce", "AP 0.251; asl 0.229, db 0.226"))
    if "sampler" not in given:
        taken.append(Choice("sampler", "uniform", "AP 0.251; cas 0.223"))
    loss = options.loss if "loss" in given else "bce"
    if fresh_head and loss == "bce" and not given & {"prior_bias", "logit_adjust"}:
        taken.append(Choice("prior_bias", True, "AUROC 0.796, without it 0.754; AP 0.248, 0.241"))
    return tuple(taken)


def with_recipe(options: OptionsT, reporter: Reporter, *, fresh_head: bool = True) -> OptionsT:
    """Options with what ``--preset auto`` takes, told one by one; others as they are."""
    taken = choices(options, fresh_head) if options.preset == "auto" else ()
    if not taken:
        return options
    reporter.note(f"--preset auto takes what won out of fold on {MEASURED_ON}:")
    for choice in taken:
        reporter.note(f"  {choice}.")
    return options.model_copy(update={choice.option: choice.value for choice in taken})
