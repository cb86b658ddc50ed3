"""The folder of a run: what stands in it, and when it is written."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml
from torch import nn

from cxrlt_cli import __version__
from cxrlt_cli.config import FitOptions, Precision, flags, keys, to_yaml
from cxrlt_cli.documents import read_yaml
from cxrlt_cli.engine.disk_space import ID, require_room
from cxrlt_cli.engine.locks import held
from cxrlt_cli.engine.reporter import EpochSummary
from cxrlt_cli.errors import OptionError
from cxrlt_cli.files import real, remove_leftovers, replacing, write_text
from cxrlt_cli.nets.checkpoints import Checkpoint
from cxrlt_cli.scores.metrics import Scores
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.training.schedule import phases_of


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
        held = _layouts(out)
        mine = ("seed-*/" if options.seeds else "") + ("fold-*" if options.folds else "")
        mine = mine.removesuffix("/")
        if options.resume and held - {mine}:
            other = next(iter(held - {mine}))
            raise OptionError(
                f"--resume: {out} holds {'the folders ' + other if other else 'a run without --folds and --seeds'}.",
                f"Resume with the same command: cxrlt {command} --config {out / 'run.yaml'} --out {out} --resume.",
            )
        alone = mine.replace("fold-*", f"fold-{options.fold}") if options.fold else mine
        if not options.resume and (held - {mine} or _holds_run(out, alone)):
            hint = "Pass --resume to resume it, pass another folder, or remove this one first."
            raise OptionError(f"--out {out} already holds a run.", hint)
        return cls(out, options.id_column)

    def as_started(self, options: FitOptions) -> FitOptions:
        """Options that leave precision, compiling or the batch open, with what was chosen when the run was started."""
        path = self.path / "run.yaml"
        left = {"precision": "auto", "compile": None, "batch": "auto"}
        open_ones = [name for name, value in left.items() if getattr(options, name) == value]
        if not open_ones:
            return options
        if options.batch == "auto":
            open_ones.append("accumulate")
        names = {name: keys(type(options))[name] for name in open_ones}
        try:
            chosen = read_yaml(path)
        except FileNotFoundError:
            return options
        except (OSError, ValueError):
            chosen = None
        if not isinstance(chosen, dict) or any(
            key in chosen and not _is_choice(name, chosen[key]) for name, key in names.items()
        ):
            raise OptionError(
                f"--resume: {path} is damaged, which says how the run was started.",
                f"Delete it, and pass {flags(options, open_ones)} as they were, if that is known.",
            )
        return options.model_copy(update={name: chosen[key] for name, key in names.items() if key in chosen})

    @contextmanager
    def held(self) -> Iterator[None]:
        """As long as this lasts, no other command may write there; raises OptionError where one does."""
        self.path.mkdir(parents=True, exist_ok=True)
        with held(self.path / ".lock", f"--out {self.path}: another command is writing a run there."):
            remove_leftovers(real(self.path))
            yield

    def begin_again(self, options: FitOptions, command: str) -> None:
        """Of several runs that may go on: ``run.yaml``, and no more what they came to together before."""
        self.write_options(options, command)
        for name in ("metrics.json", "oof_predictions.csv", "val_predictions.csv"):
            (self.path / name).unlink(missing_ok=True)

    def write_options(self, options: FitOptions, command: str) -> None:
        """``run.yaml``: the resolved options, good for ``--config``."""
        head = f"# cxrlt {__version__}; the same again: cxrlt {command} --config run.yaml\n"
        text = yaml.safe_dump(to_yaml(options), sort_keys=False, allow_unicode=True)
        write_text(self.path / "run.yaml", head + text)

    def start(self, options: FitOptions, command: str, num_epochs: int) -> None:
        """``run.yaml``; and of ``history.jsonl``, what is known to have been.

        Epochs after the first ``num_epochs`` were ended by a stop before they could be kept; they are learned again.
        """
        self.write_options(options, command)
        history = self.path / "history.jsonl"
        if history.exists():
            lines = history.read_bytes().splitlines(keepends=True)
            with replacing(history) as temporary:
                temporary.write_bytes(b"".join(lines[:num_epochs]))

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


def _is_choice(name: str, value: object) -> bool:
    """Whether a run can have been started with this value of an option that was left open."""
    choices: dict[str, tuple[object, ...]] = {"precision": get_args(Precision), "compile": (True, False, None)}
    return value in choices[name] if name in choices else isinstance(value, int) and value > 0


def _holds_run(out: Path, layout: str) -> bool:
    return any(any(out.glob(f"{layout}/{name}" if layout else name)) for name in ("history.jsonl", "resume.pt"))


def _layouts(out: Path) -> set[str]:
    """How the runs stand in a folder: in itself, or in folders of folds, of seeds, or of folds in those."""
    return {layout for layout in ("", "fold-*", "seed-*", "seed-*/fold-*") if _holds_run(out, layout)}


def require_room_for_run(
    model: nn.Module, options: FitOptions, num_validation: int, folder: Path, num_runs: int = 1, num_at_once: int = 1
) -> None:
    """For ``fit``, of ``num_runs`` runs, ``num_at_once`` at a time; raises OptionError.

    ``best`` and ``last`` hold the weights; ``resume.pt`` those, their averages and AdamW's two moments of each, until
    the run is finished; and what is written anew stands beside the old until it is whole.
    """
    weights = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    phases = phases_of(options)
    averages = any(phase.ema_decay for phase in phases) + (options.average_last > 1)
    moments = 2 * any(phase.trains == "all" for phase in phases)
    predictions = num_validation * ID * num_runs
    files = [path for path in folder.rglob("*") if path.is_file() and path.parent != options.features]
    there = sum(path.stat().st_size for path in files) if options.resume else 0
    needed = 2 * weights * (num_runs + num_at_once * (1 + averages + moments)) + predictions
    require_room("--out", folder, needed - there, "the weights and the state of this run")
