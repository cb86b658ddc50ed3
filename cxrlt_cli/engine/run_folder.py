"""The folder of a run: what stands in it, and when it is written."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from cxrlt_cli import __version__
from cxrlt_cli.config import FitOptions, to_yaml
from cxrlt_cli.engine.reporting import EpochSummary
from cxrlt_cli.errors import OptionError
from cxrlt_cli.files import write_text
from cxrlt_cli.metrics import Scores
from cxrlt_cli.nets.checkpoints import Checkpoint
from cxrlt_cli.predictions import Predictions


@dataclass(frozen=True)
class RunFolder:
    """``best.safetensors last.safetensors resume.pt history.jsonl run.yaml metrics.json val_predictions.csv``."""

    path: Path
    id_column: str = "ImageID"

    @property
    def best(self) -> Path:
        return self.path / "best.safetensors"

    @classmethod
    def choose(cls, options: FitOptions, command: str) -> "RunFolder":
        """``--out``, or the first free ``runs/COMMAND-K``, the last one with ``--resume``.

        Raises OptionError where a run stands there already, and is not to go on.
        """
        out = options.out
        if out is None:
            number = 1
            while (Path("runs") / f"{command}-{number}").exists():
                number += 1
            if options.resume and number == 1:
                raise OptionError(f"--resume: there is no runs/{command}-1.", "Name the run with --out.")
            return cls(Path("runs") / f"{command}-{number - options.resume}", options.id_column)
        if out.exists() and not out.is_dir():
            raise OptionError(f"--out {out} is a file; a run needs a folder.")
        if not options.resume and any((out / name).exists() for name in ("history.jsonl", "resume.pt")):
            hint = "Go on with --resume, pass another folder, or remove that one first."
            raise OptionError(f"--out {out} holds a run already.", hint)
        return cls(out, options.id_column)

    def as_started(self, options: FitOptions) -> FitOptions:
        """Options that leave precision and compiling open, with what was chosen when the run was started."""
        try:
            chosen = yaml.safe_load((self.path / "run.yaml").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return options
        open_ones = {"precision": "auto", "compile": None}
        known = {name: chosen[name] for name in open_ones if name in chosen}
        return options.model_copy(update={n: v for n, v in known.items() if getattr(options, n) == open_ones[n]})

    @contextmanager
    def held(self) -> Iterator[None]:
        """As long as this lasts, no other command may write there; raises OptionError where one does."""
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise OptionError(
                f"--out {self.path}: another command is writing a run there.", "Wait for its end, or pass another."
            ) from error
        try:
            yield
        finally:
            (self.path / ".lock").unlink()
            lock.release()

    def start(self, options: FitOptions, command: str, num_epochs: int) -> None:
        """``run.yaml``: the resolved options, good for ``--config``; of ``history.jsonl``, what is known to have been.

        Epochs after the first ``num_epochs`` were ended by a stop before they could be kept; they are learned again.
        """
        head = f"# cxrlt {__version__}; the same again: cxrlt {command} --config run.yaml\n"
        text = yaml.safe_dump(to_yaml(options), sort_keys=False, allow_unicode=True)
        write_text(self.path / "run.yaml", head + text)
        history = self.path / "history.jsonl"
        if history.exists():
            write_text(history, "".join(history.read_text(encoding="utf-8").splitlines(keepends=True)[:num_epochs]))

    def add(self, summary: EpochSummary) -> None:
        """One line to ``history.jsonl``."""
        with (self.path / "history.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(summary.to_json()) + "\n")

    def save_last(self, checkpoint: Checkpoint) -> None:
        checkpoint.write(self.path / "last.safetensors")

    def save_best(self, checkpoint: Checkpoint, predictions: Predictions, scores: Scores, best: dict[str, Any]) -> None:
        """The checkpoint with its validation predictions and scores."""
        checkpoint.write(self.best)
        predictions.write(self.path / "val_predictions.csv", self.id_column)
        metrics = {**scores.to_json(), "best": best}
        write_text(self.path / "metrics.json", json.dumps(metrics, indent=2, allow_nan=False) + "\n")
