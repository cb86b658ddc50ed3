"""``--preset auto``: a look at the labels, and the head, loss and sampler that won on such, each with its measurement.

Measured out of fold by patient on real films (``python -m tests.benchmarks.long_tail``), and in twelve worlds of
phantoms (``tests.benchmarks.worlds``), whose tails and numbers of films the real ones do not have.
"""

from dataclasses import dataclass
from typing import Any, TypeVar

from cxrlt_cli.config import FinetuneOptions, TrainOptions
from cxrlt_cli.engine.films import Division
from cxrlt_cli.engine.reporter import Reporter, counted

MEASURED_ON = "711 films of 15 findings at 96 px, from ImageNet weights"
FEW_EPOCHS = 12  # of everything, from pretrained weights, where films are not many
MANY_FILMS = 1300  # to learn from; from as many on, findings are drawn alike; on 711 real films that loses

OptionsT = TypeVar("OptionsT", TrainOptions, FinetuneOptions)


@dataclass(frozen=True)
class Look:
    """What the choice depends on: how many films there are, and how long the tail of their findings is."""

    num_films: int
    num_learned: int  # films that a member learns from
    num_patients: int
    most: tuple[str, int]  # the most frequent finding and its positive films
    least: tuple[str, int]  # the rarest that has any

    @classmethod
    def at(cls, division: Division) -> "Look":
        """At the films that some member learns from; the normal is no finding here."""
        table = division.learned
        names, counts = table.space.findings, table.counts.tolist()
        found = {name: count for name, count in zip(names, counts, strict=True) if count and name != table.space.normal}
        found = found or dict(zip(names, counts, strict=True))
        most, least = max(found, key=lambda name: found[name]), min(found, key=lambda name: found[name])
        num_learned = min(len(training.paths) for training, _ in division.pairs)
        return cls(len(table), num_learned, table.num_patients, (most, found[most]), (least, found[least]))

    @property
    def imbalance(self) -> float:
        return self.most[1] / max(1, self.least[1])

    def __str__(self) -> str:
        (most, many), (least, few) = self.most, self.least
        return (
            f"{counted(self.num_films, 'film')} of {counted(self.num_patients, 'patient')}; {many:,} with {most}, "
            f"{few:,} with {least}: {self.imbalance:,.0f} to 1"
        )


@dataclass(frozen=True)
class Choice:
    """The value of an option, and why."""

    option: str
    value: Any
    reason: str

    def __str__(self) -> str:
        value = self.value
        if isinstance(value, dict):
            value = ",".join(f"{name}={setting}" for name, setting in value.items())
        flag = "--" + self.option.replace("_", "-")
        return f"{flag if value is True else f'{flag} {value}'}: {self.reason}"


def choices(options: TrainOptions | FinetuneOptions, fresh_head: bool, look: Look) -> tuple[Choice, ...]:
    """What ``auto`` takes for the options of the method that were not given."""
    given = options.model_fields_set
    taken = []
    if not (isinstance(options, FinetuneOptions) or given & {"head", "csra_heads", "csra_lambda"}):
        taken.append(Choice("head", "linear", "AP 0.244, AUROC 0.803; csra 0.240, 0.756 (bce, prior bias, one seed)"))
    if "loss" not in given:
        taken.append(Choice("loss", "bce", "AP 0.251; asl 0.229, db 0.226 (linear, one seed)"))
    if "sampler" not in given:
        taken.append(_sampler(look))
        if taken[-1].value == "cas" and "sampler_options" not in given:
            taken.append(Choice("sampler_options", {"epoch_length": look.num_learned}, "an epoch of as many films"))
    if _are_few(options, look) and not given & {"epochs", "patience", "max_steps"}:
        reason = "AP 0.248 with 8 epochs, 0.247 with 16; 0.228 with 4, 0.232 with 32 (two seeds; of 32 one)"
        taken.append(Choice("epochs", FEW_EPOCHS, reason))
    loss = options.loss if "loss" in given else "bce"
    if fresh_head and loss == "bce" and not given & {"prior_bias", "logit_adjust"}:
        taken.append(Choice("prior_bias", True, "AP 0.246, AUROC 0.783; without it 0.238, 0.753 (three seeds)"))
    return tuple(taken)


def _are_few(options: TrainOptions | FinetuneOptions, look: Look) -> bool:
    """Whether everything is learned, from pretrained weights and as few films as more epochs were seen to harm."""
    starts = isinstance(options, TrainOptions) and options.weights != "none" and not options.frozen
    return starts and look.num_learned < MANY_FILMS


def _sampler(look: Look) -> Choice:
    if look.num_learned >= MANY_FILMS:
        reason = "in seven worlds of 1,350 to 4,500 training phantoms AP is 0.001 to 0.081 above uniform's"
        return Choice("sampler", "cas", reason)
    return Choice("sampler", "uniform", "AP 0.251; cas 0.223 (linear, bce, one seed)")


def with_recipe(options: OptionsT, division: Division, reporter: Reporter, *, fresh_head: bool = True) -> OptionsT:
    """Options with what ``--preset auto`` takes for the training films, told; others as they are."""
    look = Look.at(division)
    taken = choices(options, fresh_head, look) if options.preset == "auto" else ()
    if not taken:
        return options
    reporter.note(f"--preset auto, for {look}. Best out of fold on {MEASURED_ON}, unless stated otherwise:")
    for choice in taken:
        reporter.note(f"  {choice}.")
    return options.model_copy(update={choice.option: choice.value for choice in taken})
