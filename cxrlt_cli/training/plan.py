"""What a run is about to do: its plan in words, and a dry run of one batch."""

import time
from collections import Counter
from collections.abc import Mapping
from itertools import islice

from cxrlt_cli.data.feature_maps import NUM_VIEWS
from cxrlt_cli.engine.precision import compile_error, uncompiled
from cxrlt_cli.engine.predict import predict
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporter import counted, duration, size
from cxrlt_cli.errors import explain
from cxrlt_cli.labels import BANDS, band
from cxrlt_cli.scores.metrics import prevalence
from cxrlt_cli.training.run import Run
from cxrlt_cli.training.schedule import Phase
from cxrlt_cli.training.seen import FrozenFeatures


def plan_of(run: Run, phases: tuple[Phase, ...]) -> dict[str, str]:
    model, training, validation, options = run.model, run.training, run.validation, run.options
    bands = Counter(band(frequency) for frequency in prevalence(training.table.targets))
    tail = ", ".join(f"{bands[name]} {name}" for name in BANDS if bands[name])
    stop = f"; stops after {counted(options.max_steps, 'step')}" if options.max_steps else ""
    if options.patience:
        patience = counted(options.patience, "epoch")
        stop += f"; early stopping: a phase ends when validation AP has not risen for {patience}"
    stretches = {
        "head": "{1} of the head alone at learning rate {0.lr_head:g}",
        "all": "{1} of the whole network at {0.lr_head:g} (head) and {0.lr_backbone:g} (backbone)",
    }
    return {
        "films": f"{len(training.paths):,} for training, {len(validation.paths):,} for validation, from "
        f"{training.table.num_patients:,} and {validation.table.num_patients:,} patients",
        **_labels(training.table.policy, validation.table.policy),
        "findings": f"{len(model.findings)} ({tail}): {', '.join(model.findings)}",
        "model": f"{model.architecture.backbone} and {model.architecture.head}, "
        f"{model.num_parameters / 1e6:.1f} M parameters, {model.preprocessing.told}",
        "method": f"loss {_with(options.loss, options.loss_options)}{_adjusted(options.logit_adjust)}"
        f"{', prior bias' if options.prior_bias else ''}, sampler {_with(options.sampler, options.sampler_options)}",
        **({"features": f"{NUM_VIEWS} views of each film, from {options.features}"} if options.frozen else {}),
        "schedule": ", then ".join(
            stretches[phase.trains].format(phase, counted(phase.num_epochs, "epoch")) for phase in phases
        )
        + f"; {counted(len(run.draws), 'batch', 'batches')} of {_batch(run)} an epoch{stop}",
        "process": str(run.process),
    }


def _batch(run: Run) -> str:
    size, number, accumulate = run.options.batch_size, run.process.num_processes, run.options.accumulate
    told = f"{size} films" if number == 1 else f"{size * number} films ({size} on each of {number} processes)"
    return told if accumulate == 1 else f"{told}, {accumulate} of them per step,"


def _labels(training: str | None, validation: str | None) -> dict[str, str]:
    """By which rules they were made, where it is known; of both CSVs, where they were made otherwise."""
    if training == validation:
        return {"labels": training} if training else {}
    return {"labels": f"{training or 'not known'}; of the validation films: {validation or 'not known'}"}


def _with(name: str, settings: Mapping[str, object]) -> str:
    return name + (f" ({', '.join(f'{key} {value}' for key, value in settings.items())})" if settings else "")


def _adjusted(tau: float) -> str:
    return f" with logit adjustment {tau:g}" if tau else ""


def rehearse_run(run: Run, phases: tuple[Phase, ...], num_runs: int = 1) -> None:
    """One batch of the last phase and one of validation, timed; nothing is written. ``num_runs``: that are alike."""
    if isinstance(run.seen, FrozenFeatures):
        paths = run.training.paths + run.validation.paths
        seconds = run.seen.seconds_a_film(paths) * len(paths) / run.process.num_processes
        run.reporter.result(
            f"Dry run: one batch went through the backbone. The features of all films take about {duration(seconds)}, "
            "if none is kept yet; training the head takes a small part of that. Nothing was written."
        )
        return
    compiles = run.options.compile and phases[-1].trains == "all"
    start = time.perf_counter()
    learner = run.learner(phases[-1], 1)
    try:
        run.rehearse(learner)
    except RuntimeError as error:
        if not compiles or explain(error) is not None:
            raise
        raise compile_error(error) from error
    run.process.wait()
    trained = time.perf_counter()
    if compiles:  # a minute that no other batch takes
        start = trained
        run.rehearse(learner)
        run.process.wait()
        trained = time.perf_counter()
    with uncompiled():
        predict(list(learner.variants.values()), islice(run.val_batches, 1), run.process, lambda _: None)
    validated = time.perf_counter()
    epoch = (trained - start) * len(run.draws) + (validated - trained) * len(run.val_batches)
    num_epochs = float(sum(phase.num_epochs for phase in phases))
    if run.options.max_steps:
        num_epochs = min(num_epochs, run.options.max_steps * run.options.accumulate / len(run.draws))
    slow = "" if compiles else " (the first batch is slow)"
    whole = duration(epoch * num_epochs)
    several = "the whole run" if num_runs == 1 else f"a member {whole} or less, all {num_runs}"
    run.reporter.result(
        f"Dry run: one batch went through. An epoch takes about {duration(epoch)}, {several} "
        f"{duration(epoch * num_epochs * num_runs)} or less{slow}{told_memory(run.process)}. Nothing was written."
    )


def told_memory(process: Process) -> str:
    """What the GPU held at most, where there is one."""
    memory = process.peak_memory()
    return "" if memory is None else f", with {size(memory[0])} of the GPU's {size(memory[1])}"
