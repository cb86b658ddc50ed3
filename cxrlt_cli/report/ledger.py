"""Numbers that are printed, and where each comes from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cxrlt_cli.scores.bootstrap import Interval


@dataclass
class Ledger:
    """Collects every number as it is printed; ``run`` begins the names of those of one run."""

    run: str = ""
    entries: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False)

    def of(self, run: str) -> "Ledger":
        return Ledger(run, self.entries)

    def __call__(self, name: str, text: str, source: str, **how: Any) -> str:
        """``text``, which is noted under ``name`` with the file that it is made from, and how."""
        whole = f"{self.run}/{name}" if self.run else name
        where = source if not self.run or "/" in source else f"data/{self.run}/{source}"
        entry = {"value": text, "source": where, **how}
        assert self.entries.setdefault(whole, entry) == entry, f"{whole} is printed in two ways"
        return text

    def count(self, name: str, number: int, source: str, *, metric: str = "count", **how: Any) -> str:
        return self(name, f"{number:,}", source, metric=metric, **how)

    def share(self, name: str, number: int, among: int, source: str, **how: Any) -> str:
        """``12 (3.4 %)``; among none, the number alone."""
        told = f"{number:,} ({100 * number / among:.1f} %)" if among else f"{number:,}"
        return self(name, told, source, metric="count and share", among=among, **how)

    def score(self, name: str, value: float | None, bounds: Interval | None, source: str, **how: Any) -> str:
        """``0.412 (0.380 to 0.447)``: a score with its 95 % interval."""
        if value is None:
            return "–"
        told = f"{value:.3f}" + (f" ({bounds[0]:.3f} to {bounds[1]:.3f})" if bounds else "")
        return self(name, told, source, **how)

    def options(self, values: Sequence[tuple[str, Any]]) -> list[str]:
        """Each option as it stands in ``run.yaml``."""
        return [self(f"options/{name}", plain(value), "facts.json", key=f"options.{name}") for name, value in values]


def plain(value: Any) -> str:
    """A value of YAML as text: ``1e-05``, ``512``, ``gamma_neg 4``."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain(one)}" for key, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
