"""Findings that nobody labelled: films and sentences to predictions."""

import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize

from cxrlt_cli import prompts, zeroshot
from cxrlt_cli.config import OodOptions
from cxrlt_cli.data.image import report_faults
from cxrlt_cli.data.loading import Batch, FilmDataset, ordered_loader
from cxrlt_cli.engine.infer import films_to_predict, write
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporting import Advance, Reporter, counted, duration
from cxrlt_cli.errors import FilmError, ModelError, OptionError, listed
from cxrlt_cli.files import require_file
from cxrlt_cli.nets.clip import ClipEncoder, load
from cxrlt_cli.predictions import Predictions
from cxrlt_cli.tta import VIEWS

HUB = "yyupenn/whyxrayclip"


def ood(options: OodOptions, reporter: Reporter) -> Predictions | None:
    """Write a probability of every finding of the prompts for every film of ``--csv``; None after a dry run."""
    zeroshot.top_number(options.pool)
    process = Process.of(options)
    if options.csv is None:
        raise OptionError("--csv is missing.", "It names the films to score, one row each.")
    require_file(options.out, "--out", (options.csv, options.prompts, *options.exclude))
    sentences = prompts.read(options.prompts)
    findings = options.findings or tuple(sentences.findings)
    unknown = [name for name in findings if name not in sentences.findings]
    if unknown:
        hint = "Describe it in a file for --prompts."
        raise OptionError(f"--findings: no sentence describes {listed(unknown)}.", hint)
    if options.anchor == "normal" and not sentences.anchors:
        raise OptionError("--anchor normal: the prompts have no 'anchors:'.", "Add sentences on a normal film.")
    ids, paths = films_to_predict(options, options.csv, reporter)
    encoder = load(_folder(options)).to(process.device)
    texts = {name: encoder.encode_prompts(sentences.findings[name]).numpy() for name in findings}
    anchor = encoder.encode_prompts(sentences.anchors).numpy() if options.anchor == "normal" else None
    views = VIEWS[options.tta]
    loader = ordered_loader(
        FilmDataset(paths, [encoder.prepare], None, options.max_pixels),
        batch_size=options.batch_size,
        num_workers=process.num_workers,
        pin=process.pins,
    )
    number = sum(len(sentences.findings[name]) for name in findings)
    reporter.plan(
        "Zero-shot scores",
        {
            "films": f"{len(paths):,} of {options.csv}",
            "model": f"{encoder.folder}, up to {encoder.context_length} tokens a sentence",
            "findings": f"{', '.join(findings)}, by {counted(number, 'sentence')}",
            "score": f"{options.pool} of the cosines, anchor {options.anchor}"
            + (f", {counted(len(views), 'view')} of a film" if len(views) > 1 else ""),
            "process": str(process),
            "out": str(options.out),
        },
    )
    if options.dry_run:
        start = time.perf_counter()
        num_done = len(_encode(encoder, islice(loader, 1), options, process, lambda _: None))
        seconds = (time.perf_counter() - start) * len(paths) / num_done
        reporter.result(
            f"Dry run: one batch went through; all films take about {duration(seconds)}. Nothing was written."
        )
        return None
    with reporter.progress("Looking", len(paths)) as advance:
        images = _encode(encoder, loader, options, process, advance).numpy()
    probabilities = zeroshot.score(images, texts, options.pool, anchor, encoder.temperature)
    predictions = Predictions(ids, tuple(findings), probabilities)
    write(predictions, options.out, options.id_column, reporter)
    return predictions


def _encode(
    encoder: ClipEncoder, batches: Iterable[Batch], options: OodOptions, process: Process, advance: Advance
) -> Tensor:
    """Features ``[N, D]`` on the CPU; of several views of a film the mean, brought back to length 1.

    Raises DataError with every film that could not be read.
    """
    features: list[Tensor] = []
    faults: list[FilmError] = []
    num_films = 0
    for batch in batches:
        num_films += len(batch.indices) + len(batch.faults)
        faults.extend(batch.faults)
        for films in batch.films:
            levels = films.to(process.device).float()
            seen = [encoder.encode_images(view.apply(levels), process.dtype) for view in VIEWS[options.tta]]
            features.append(normalize(torch.stack(seen).mean(dim=0), dim=1).cpu())
        advance(len(batch.indices) + len(batch.faults))
    if faults:
        raise report_faults(faults, num_films)
    return torch.cat(features)


def _folder(options: OodOptions) -> Path:
    """The folder of ``--model``; raises ModelError where the model is not on this machine."""
    if options.model not in ("auto", "whyxrayclip") or Path(options.model).is_dir():
        if options.model == "phantom-clip" or options.model.startswith("hf-hub:"):
            raise OptionError(f"--model {options.model} is not built yet in this version of cxrlt.", "Pass a folder.")
        return Path(options.model)
    raise ModelError(
        f"WhyXrayCLIP ({HUB}) is not fetched by this version of cxrlt.",
        f"On a machine with a network run\n  hf download {HUB} --local-dir whyxrayclip\n"
        "copy the folder whyxrayclip over and pass it: --model whyxrayclip",
    )
