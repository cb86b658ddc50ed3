"""Checkpoints that commands are given: read, and what is to be said of them told."""

from pathlib import Path

from cxrlt_cli.engine.reporting import Reporter
from cxrlt_cli.nets.checkpoints import Checkpoint


def read_checkpoint(path: Path, reporter: Reporter) -> Checkpoint:
    """``Checkpoint.read``, with a line where nothing can tell whether the file is what was written."""
    checkpoint = Checkpoint.read(path)
    if not checkpoint.checked:
        reporter.warn(
            f"{path} carries no checksum, as files of cxrlt 0.1.0 and of others: damage would not be noticed."
        )
    return checkpoint
