"""``cxrlt demo``: all of it on digital phantoms, each step a command that could be typed."""

import json
import re
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from cxrlt_cli.documents import read_json
from cxrlt_cli.errors import CxrltError, OptionError
from cxrlt_cli.files import write_text

NUM_FILMS = 1200
DONE = "demo.json"


@dataclass(frozen=True)
class Step:
    """``leaves``: what is there when it is done, below the folder of the demonstration."""

    why: str
    command: tuple[str, ...]
    leaves: str


def steps(folder: Path, seed: int) -> list[Step]:
    """The story; films, caches, runs and results stand below ``folder``."""
    films, kept, runs = folder / "films", folder / "cache", folder / "runs"
    here = ("--image-dir", films / "images", "--cache", kept)
    learn = ("--csv", films / "train.csv", *here, "--exclude", films / "Removal.csv", "--preset", "phantom", "--seed")
    a, b = runs / "csra", runs / "linear"
    submission, unseen = folder / "submission.csv", folder / "unseen.csv"
    truth = (films / "test_task1_truth.csv", films / "test_task2_truth.csv")
    told: list[tuple[str, Sequence[object], str]] = [
        (
            "Draw films whose findings are known, in the challenge's layout.",
            ("data", "phantom", films, "--films", NUM_FILMS, "--seed", seed),
            "films/train.csv",
        ),
        (
            "Check the data before training; the fogged films are planted errors.",
            ("data", "check", "--csv", films / "train.csv", "--image-dir", films / "images", "--exclude",
             films / "Removal.csv", "--json", folder / "faults.json"),
            "faults.json",
        ),
        (
            "Decode every film once.",
            ("data", "cache", "--csv", films / "train.csv", *here, "--image-size", 96),
            "cache/films.u8",
        ),
        (
            "Train the winner's recipe, small: csra, db, cas; the head first, then the whole network.",
            ("train", *learn, seed, "--head", "csra", "--loss", "db", "--sampler", "cas", "--warmup-epochs", 1,
             "--epochs", 6, "--out", a),
            "runs/csra/metrics.json",
        ),
        (
            "Train a second member with different errors.",
            ("train", *learn, seed + 1, "--head", "linear", "--loss", "asl", "--sampler", "uniform", "--warmup-epochs",
             0, "--epochs", 6, "--out", b),
            "runs/linear/metrics.json",
        ),
        *(
            (
                f"Predict with the {name} member, six views of each film; calibrated, because db gives too high "
                "probabilities.",
                ("infer", run, "--tta", "flip_scale", "--calibration", "platt", "--csv", films / "test_task1.csv",
                 *here, "--out", folder / f"{run.name}.csv"),
                f"{run.name}.csv",
            )
            for name, run in (("first", a), ("second", b))
        ),
        (
            "Blend both.",
            ("ensemble", folder / "csra.csv", folder / "linear.csv", "--out", submission),
            submission.name,
        ),
        (
            "Score the ensemble with confidence intervals, and make a report.",
            ("evaluate", submission, "--csv", truth[0], "--train-csv", films / "train.csv", "--image-dir",
             films / "images", "--checkpoint", a / "best.safetensors", "--json", folder / "scores.json", "--report",
             folder / "report.html"),
            "report.html",
        ),
        (
            "Score six findings without labels from text prompts (zero-shot).",
            ("ood", "--csv", films / "test_task2.csv", "--image-dir", films / "images", "--model", "phantom-clip",
             "--out", unseen),
            unseen.name,
        ),
        (
            "And evaluate these scores.",
            ("evaluate", unseen, "--csv", truth[1], "--json", folder / "unseen.json"),
            "unseen.json",
        ),
        (
            "Make what a paper needs: tables, figures, methods, checklists, and the source of every number.",
            ("report", a, submission, "--csv", truth[0], "--copies", "--card", "model,claim,tripod-ai,chai", "--out",
             folder / "report"),
            "report/index.html",
        ),
    ]  # fmt: skip
    return [Step(why, tuple(map(str, command)), leaves) for why, command, leaves in told]


def demo(folder: Path, seed: int, run: Callable[[Sequence[str]], int], out: Console) -> None:
    """Run every step by ``run``, which gives its exit code; those that an earlier start finished are passed over.

    Raises OptionError where the folder holds something else, CxrltError where a step fails.
    """
    story = steps(folder, seed)
    finished, seconds = _finished(folder, seed)

    def keep() -> None:
        write_text(folder / DONE, json.dumps({"seed": seed, "seconds": seconds, "finished": finished}) + "\n")

    keep()  # from now on the folder is known, whenever this is stopped
    for number, step in enumerate(story, 1):
        out.print(Rule(Text(f"{number} of {len(story)}: {step.why}"), align="left", style="cyan"))
        out.print(f"$ cxrlt {shlex.join(step.command)}", markup=False, highlight=False, soft_wrap=True)
        if step.leaves in finished and (folder / step.leaves).exists():
            out.print("Done before.")
            continue
        start = time.monotonic()
        code = run(_going_on(step, folder))
        seconds += time.monotonic() - start
        if not code:
            finished.append(step.leaves)
        keep()
        if code:
            raise StepError(code)
    _summary(folder, seconds, out)


class StepError(CxrltError):
    def __init__(self, code: int) -> None:
        super().__init__("The demonstration stopped at the step above.", "The same command resumes there.")
        self.exit_code = code


def _finished(folder: Path, seed: int) -> tuple[list[str], float]:
    """What the steps that are done have left, and how long they took."""
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"{folder} is a file; the demonstration needs a folder.")
    if not (folder / DONE).exists():
        begun = re.compile(r"films|\.(films|demo\.json)\..*tmp")  # what one leaves that was killed in its first step
        if folder.is_dir() and not all(begun.fullmatch(path.name) for path in folder.iterdir()):
            raise OptionError(f"{folder} holds other files already.", "Pass another folder.")
        return [], 0.0
    known = _read(folder / DONE)
    if known is None:
        raise OptionError(
            f"{folder / DONE} is damaged, which says how far the demonstration is.",
            "Delete the folder, or pass another.",
        )
    before, finished, seconds = known
    if before != seed:
        raise OptionError(f"{folder} was begun with --seed {before}.", "Pass that, or another folder.")
    return finished, seconds


def _read(path: Path) -> tuple[int, list[str], float] | None:
    """The seed, what is finished, and how long it took; None where a file does not say so."""
    try:
        content = read_json(path)
        finished = content["finished"]
        if not isinstance(finished, list) or not all(isinstance(name, str) for name in finished):
            return None
        return int(content["seed"]), finished, float(content.get("seconds", 0))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _going_on(step: Step, folder: Path) -> tuple[str, ...]:
    """A training that was stopped goes on."""
    began = step.command[0] == "train" and (folder / step.leaves).with_name("run.yaml").exists()
    return (*step.command, "--resume") if began else step.command


def _macro(folder: Path, name: str) -> dict[str, Any]:
    try:
        macro = read_json(folder / name)["macro"]
        return {"ap": float(macro["ap"]), "auroc": float(macro["auroc"]), "ap_ci": tuple(map(float, macro["ap_ci"]))}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise OptionError(
            f"{folder / name} is gone or damaged.", "Delete it and report.html: the same command scores again."
        ) from error


def _summary(folder: Path, seconds: float, out: Console) -> None:
    known, unseen = (_macro(folder, name) for name in ("scores.json", "unseen.json"))
    out.print(Rule("Results", align="left", style="cyan"))
    for title, macro in (("30 findings, trained", known), ("6 findings, zero-shot", unseen)):
        low, high = macro["ap_ci"]
        out.print(f"{title}: macro AP {macro['ap']:.3f} (95 % {low:.3f} to {high:.3f}), AUROC {macro['auroc']:.3f}")
    out.print(f"The page: {folder / 'report.html'}", soft_wrap=True)
    out.print(f"For a paper: {folder / 'report'}", soft_wrap=True)
    out.print(f"It took {seconds / 60:.1f} minutes. Digital phantoms: this says nothing about patients.")
    out.print("With your own films: cxrlt data check --csv labels.csv, then cxrlt train --csv labels.csv")
