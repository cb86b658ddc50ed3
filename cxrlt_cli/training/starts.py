"""What a run starts from: a backbone, or a checkpoint. Of several runs of one command each is started anew."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from cxrlt_cli.config import FitOptions
from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.engine.films import LabelledFilms
from cxrlt_cli.engine.reporter import counted
from cxrlt_cli.errors import listed
from cxrlt_cli.labels import plain_name
from cxrlt_cli.nets.checkpoints import Architecture, Checkpoint
from cxrlt_cli.nets.classifier import Classifier, from_checkpoint
from cxrlt_cli.nets.encoders import ENCODERS
from cxrlt_cli.nets.normalization import Normalization
from cxrlt_cli.scores.metrics import prevalence
from cxrlt_cli.training.preflight import new_model


@dataclass(frozen=True)
class Started:
    """A model that has learned nothing of its training films yet."""

    model: Classifier
    before: Classifier | None = None  # what it starts from, where that can be scored on the same findings
    notes: tuple[str, ...] = ()  # what the user may want to know of it


class Start(Protocol):
    """Picklable."""

    @property
    def architecture(self) -> Architecture: ...

    @property
    def preprocessing(self) -> Preprocessing: ...

    @property
    def facts(self) -> Mapping[str, str]:
        """What the plan says of it."""

    def __call__(self, training: LabelledFilms, options: FitOptions) -> Started:
        """A model for these films, drawn from ``--seed``; torch's random generator is left where that ends."""


def films_seen_by(checkpoint: Checkpoint) -> dict[str, str]:
    """What the plan says of a checkpoint that started from the weights of an encoder of the registry."""
    options = checkpoint.training.get("options", {})
    encoder = ENCODERS.get(str(options.get("backbone")))
    return {} if encoder is None or options.get("weights") == "none" else {"films seen": encoder.told_of_films}


@dataclass(frozen=True)
class FromBackbone:
    architecture: Architecture
    preprocessing: Preprocessing
    weights: Mapping[str, Tensor] | None
    normalization: Normalization
    facts: Mapping[str, str]

    def __call__(self, training: LabelledFilms, options: FitOptions) -> Started:
        model = new_model(self.architecture, training, self.preprocessing, options, self.weights)
        model.set_normalization(*self.normalization)
        if options.prior_bias:
            model.start_at(torch.from_numpy(prevalence(training.table.targets)), model.findings)
        return Started(model)


@dataclass(frozen=True)
class FromCheckpoint:
    architecture: Architecture
    preprocessing: Preprocessing
    checkpoint: Checkpoint
    path: Path
    fresh_head: bool

    @property
    def facts(self) -> Mapping[str, str]:
        return films_seen_by(self.checkpoint)

    def __call__(self, training: LabelledFilms, options: FitOptions) -> Started:
        model = new_model(self.architecture, training, self.preprocessing, options)
        fresh = model.carry_over(self.checkpoint, head=not self.fresh_head)
        if self.architecture.prior_bias and options.prior_bias is not False and not options.logit_adjust:
            model.start_at(torch.from_numpy(prevalence(training.table.targets)), fresh)
        known = set(self.checkpoint.findings)
        same = set(model.findings) <= known and model.preprocessing == self.checkpoint.preprocessing
        before = from_checkpoint(self.checkpoint, self.path) if self.fresh_head and same else None
        return Started(model, before, tuple(self._notes(model.findings, fresh)))

    def _notes(self, findings: tuple[str, ...], fresh: tuple[str, ...]) -> Iterator[str]:
        """What becomes of the checkpoint's findings, and which of ``findings`` are ``fresh``."""
        known, before = self.checkpoint.findings, self.checkpoint.architecture.head
        if self.architecture.head != before:
            whole = counted(len(findings), "finding")
            yield f"New head from scratch: {whole}, because the head is {self.architecture.head} and was {before}."
            return
        if fresh:
            yield f"From scratch in the head: {listed(fresh, 40)}."
        if fresh and (carried := [name for name in findings if name not in fresh]):
            yield f"Kept from the checkpoint's head: {listed(carried, 40)}."
        spelled = {plain_name(name): name for name in known if name not in findings}
        respelled = {name: spelled.pop(plain_name(name)) for name in fresh if plain_name(name) in spelled}
        if respelled and not self.fresh_head:
            pairs = listed([f"{name} for {theirs}" for name, theirs in respelled.items()], 40)
            yield f"Not kept, because the spelling differs: {pairs}."
        if dropped := [name for name in known if name not in findings and name not in respelled.values()]:
            yield f"Findings of the checkpoint that the CSV does not have: {listed(dropped, 40)}."
