"""Options of ``report``."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, model_validator

from cxrlt_cli.config.fields import Names, Options, changed, flags, option
from cxrlt_cli.names import nearest

CARDS = ("model", "claim", "tripod-ai", "chai")


def _cards(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in CARDS:
            near = nearest(name, CARDS)
            told = "" if near is None else f"; nearest: {near}"
            raise ValueError(f"'{name}' is none of {', '.join(CARDS)}{told}")
    return names


Cards = Annotated[Names, AfterValidator(_cards)]


class ReportOptions(Options):
    runs: tuple[Path, ...] = option(
        (), "Run folders, or prediction CSVs with --csv; the page is of the first.", argument=True
    )
    seed: int = option(42, "Random seed of the bootstrap, where a run does not say its own.", ge=0, rare=True)
    csv: Path | None = option(None, "Labels of the prediction CSVs; a run has its own.", panel="Films")
    id_column: str = option("ImageID", "Column of --csv that names the film.", panel="Films", rare=True)
    patient_column: str = option("PatientID", "Column of --csv that names the patient.", panel="Films", rare=True)
    copies: bool = option(
        False, "Read every film of the runs, to count duplicates across the parts of the split.", panel="Films"
    )
    bootstrap: int = option(
        1000, "Resamples of patients (bootstrap) for the 95 % confidence intervals; 0: none.", panel="Scores", ge=0
    )
    card: Cards | None = option(
        None,
        "Cards to fill in, separated by commas: model (Mitchell et al.; Hugging Face's header), claim (CLAIM 2024), "
        "tripod-ai (TRIPOD+AI), chai (CHAI's applied model card, XML).",
    )
    verify: Path | None = option(
        None, "Folder of a report: compute its numbers again from its data, and list what differs."
    )
    out: Path = option(Path("report"), "Folder for the report; it must not exist.")

    @model_validator(mode="after")
    def _check_runs(self) -> Self:
        if self.verify is None and not self.runs:
            raise ValueError("RUNS is missing: name folders of train, or prediction CSVs with --csv. Or pass --verify")
        if self.verify is not None and (extra := changed(self) - {"verify", "quiet", "debug"}):
            raise ValueError(f"{flags(self, extra)} changes nothing with --verify, which says all: leave it out")
        return self
