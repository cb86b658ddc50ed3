"""Options of every command that reads films, and of every one that computes with them."""

from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator

from cxrlt_cli.config.fields import WHERE_HELP, Names, Options, Where, option

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Fit = Literal["stretch", "pad"]

IMAGE_SIZE_HELP = "Pixels of a side of the film as the model sees it, or of height and width, such as 784x644."
CORRECTIONS_HELP = (
    "CSV of labels that were looked at again (id, finding, label), as the page of evaluate --suspects saves it; they "
    "stand in place of those of the label CSV. May be repeated."
)
FIT_HELP = (
    "How a film is fitted to --image-size.\n\nstretch: resized, whatever its shape.\n\npad: its shape kept, padded "
    "with black."
)


class FilmOptions(Options):
    """Which films, and what their CSV calls things."""

    csv: Path | None = option(None, "CSV with one row a film.", panel="Films")
    image_dir: Path | None = option(
        None,
        "Folder of the films (default: the CSV's folder, or images/ beside the CSV); to predict, a film or folder does "
        "without --csv.",
        panel="Films",
    )
    id_column: str = option("ImageID", "Column that names the film's file inside the folder.", panel="Films")
    patient_column: str = option("PatientID", "Column that says whose film it is.", panel="Films")
    findings: Names | None = option(
        None, "Findings, separated by commas (default: every column of 0, 1 and empty).", panel="Films"
    )
    split: Names | None = option(
        None,
        "Parts to take, separated by commas, by the column Split of --csv, such as train (default: every row).",
        panel="Films",
    )
    where: Where | None = option(None, WHERE_HELP, panel="Films")
    exclude: tuple[Path, ...] = option((), "CSV of films to leave out, by id; may be repeated.", panel="Films")
    cache: Path | None = option(None, "Folder that keeps films as the model sees them, decoded once.", panel="Films")
    links: Literal["follow", "refuse"] = option(
        "follow",
        "Films that are links out of their folder.\n\nfollow: are films like others.\n\nrefuse: are an error.",
        panel="Films",
    )
    max_pixels: int = option(100_000_000, "Refuse films of more pixels than this.", panel="Films", ge=1)

    @model_validator(mode="after")
    def _check_split(self) -> Self:
        if self.csv is None and self.split is not None:
            raise ValueError("--split takes rows of --csv: pass that too")
        return self


class ComputeOptions(FilmOptions):
    """Where it runs, and how wide."""

    device: Device = option("auto", "auto takes a GPU where there is one.", panel="Compute")
    precision: Precision = option(
        "auto",
        "auto takes bf16 on GPUs that have it, fp16 on V100 and T4, bf16 on CPUs where a trial shows it faster.",
        panel="Compute",
    )
    workers: int | Literal["auto"] = option("auto", "Processes that read films.", panel="Compute")
    batch_size: int = option(64, "Films in a batch, on each process.", panel="Compute", ge=1)
    processes: int | Literal["auto"] = option(1, "Processes that compute; auto: one for each GPU.", panel="Processes")
    nodes: int = option(1, "Machines that take part.", panel="Processes", ge=1)
    rendezvous: str | None = option(None, "HOST:PORT of the first machine.", panel="Processes")
    run_id: str | None = option(None, "Name that the machines of one run share.", panel="Processes")
    dry_run: bool = option(False, "Check everything, run one batch, print the plan and an estimate; write nothing.")

    @model_validator(mode="after")
    def _check_workers(self) -> Self:
        if self.workers != "auto" and self.workers < 0:
            raise ValueError("--workers must be auto, 0 or more")
        if self.processes != "auto" and self.processes < 1:
            raise ValueError("--processes must be auto, 1 or more")
        if self.run_id is not None and self.nodes == 1:
            raise ValueError("--run-id is the name that several machines share: pass --nodes and --rendezvous too")
        return self
