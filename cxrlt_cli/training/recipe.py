"""``--preset auto``: head, loss and sampler by the labels, each with the measurement behind it.

Measured out of fold by patient on real films and on held-out phantoms (``python -m tests.benchmarks.long_tail``).
"""

from dataclasses import dataclass
from typing import Any, TypeVar

from cxrlt_cli.config import FinetuneOptions, TrainOptions
from cxrlt_cli.engine.reporter import Reporter, counted
from cxrlt_cli.tables.label_table import LabelTable

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
        taken.append(Choice("head", "linear", "csra was no better."))
    if "loss" not in given:
        taken.append(Choice("loss", "bce", "db and asl were worse."))
    if "sampler" not in given:
        taken.append(Choice("sampler", "uniform", "cas was worse."))
    loss = options.loss if "loss" in given else "bce"
    if fresh_head and loss == "bce" and not given & {"prior_bias", "logit_adjust"}:
        taken.append(Choice("prior_bias", True, "without it short runs learn shares first."))
    return tuple(taken)


def with_recipe(options: OptionsT, table: LabelTable, reporter: Reporter, *, fresh_head: bool = True) -> OptionsT:
    """Options with what ``--preset auto`` takes for training films ``table``, told one by one; others as they are."""
    if options.preset != "auto":
        return options
    taken = choices(options, fresh_head)
    if not taken:
        return options
    films, patients = counted(len(table), "film"), counted(table.num_patients, "patient")
    fewest = int(table.counts[table.counts > 0].min(initial=len(table)))
    reporter.note(f"--preset auto, for {films} of {patients}, the rarest finding with {counted(fewest, 'positive')}:")
    for choice in taken:
        reporter.note(f"  {choice}")
    return options.model_copy(update={choice.option: choice.value for choice in taken})
