"""``python -m tests.benchmarks [NAME ...]``: ours against what people do today; lines of a Markdown table.

Names: reading, training, predicting, judging, starting. Takes 20 minutes, and a quiet machine. And gpu, by name alone.
"""

import importlib
import sys
import tempfile
from pathlib import Path

from tests.benchmarks import gpu, starting
from tests.benchmarks.harness import HEAD

NAMES = ("reading", "training", "predicting", "judging", "starting")


def main(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        if names == ["gpu"]:
            gpu.lines(Path(scratch))
            return
        print(HEAD, flush=True)
        for name in names or NAMES:
            if name == "starting":
                starting.lines()
                continue
            for benchmark in importlib.import_module(f"tests.benchmarks.{name}").BENCHMARKS:
                print(benchmark.measure(Path(scratch)).row(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
