"""What the sentences of ``cxrlt ood`` are worth, where the films are labelled: a table, and a page."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.config import OodOptions
from cxrlt_cli.engine.reporter import Reporter, counted
from cxrlt_cli.files import write_text
from cxrlt_cli.nets.clip import DEMONSTRATION, PHANTOM_CLIP
from cxrlt_cli.report.prompt_page import prompt_page
from cxrlt_cli.scores import Floats
from cxrlt_cli.scores.promptlab import COLUMNS, examine, lines


def report_prompts(
    sentences: Mapping[str, tuple[str, ...]],
    cosines: Mapping[str, Floats],
    texts: Mapping[str, Floats],
    truth: Mapping[str, NDArray[np.float32]],
    normal: Floats,
    options: OodOptions,
    csv: Path,
    model: str,
    reporter: Reporter,
) -> None:
    """Show AP, leave-one-out AP and similarity of every sentence of the findings in ``truth``; write ``--report``."""
    found = {
        name: examine(name, sentences[name], cosines[name], texts[name], targets, options.pool, normal)
        for name, targets in truth.items()
    }
    examined = {name: one for name, one in found.items() if one is not None}
    without = [name for name, one in found.items() if one is None]
    unlabelled = [name for name in sentences if name not in truth]
    notes = [f"No film is positive for {', '.join(without)}."] if without else []
    notes += [f"{csv.name} has no column {', '.join(unlabelled)}."] if unlabelled else []
    if notes:
        reporter.note(f"Not judged: {' '.join(notes)}")
    if not examined:
        return
    reporter.table(f"Evaluation of each sentence on {csv}", COLUMNS, lines(examined))
    if options.report is not None:
        mean = float(np.mean([one.ap for one in examined.values()]))
        facts = [
            ("films", f"{len(normal):,}"),
            (f"macro AP of {len(examined)} of {counted(len(sentences), 'finding')}", f"{mean:.3f}"),
            ("mean prevalence", f"{np.mean([one.prevalence for one in examined.values()]):.3f}"),
            ("model", "phantom-clip, a demonstration" if model == PHANTOM_CLIP.name else model),
            ("prompts", options.prompts.name if options.prompts else "cxrlt's own"),
            ("pool, anchor", f"{options.pool}, {options.anchor}"),
        ]
        notes = [f"Not judged: {note}" for note in notes]
        notes += [f"The model is {DEMONSTRATION}."] if model == PHANTOM_CLIP.name else []
        write_text(options.report, prompt_page(f"Sentences on {csv.name}", facts, examined, notes))
        reporter.result(f"Wrote {options.report}: open it in a browser.")
