"""Options of every command that reads films, and of every one that computes with them."""

from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator

from cxrlt_cli.config.fields import WHERE_HELP, Names, Options, Where, option

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Fit = Literal["stretch", "pad"]
STEP = 64  # films of a batch, or with --batch-size auto of the batches that make a step

IMAGE_SIZE_HELP = "Pixels of a side of the film as the model sees it, or of height and width, such as 784x644."
CORRECTIONS_HELP = (
    "CSV of reviewed labels (id, finding, label), as saved by the page of evaluate --suspects; they replace those of "
    "the label CSV. May be repeated."
)
FIT_HELP = (
    "How a film is fitted to --image-size.\n\nstretch: resized; the aspect ratio changes.\n\npad: the aspect ratio is "
    "kept, with black borders."
)


class FilmOptions(Options):
    """Which films, and what their CSV calls things."""

    csv: Path | None = option(None, "CSV with one row per film.", panel="Films")
    image_dir: Path | None = option(
        None,
        "Folder of the films (default: the CSV's folder, or images/ beside the CSV); to predict, a "
        "film or folder is enough, without --csv.",
        panel="Films",
    )
    id_column: str = option("ImageID", "Column that names the film's file inside the folder.", panel="Films", rare=True)
    patient_column: str = option("PatientID", "Column that names the patient.", panel="Films", rare=True)
    findings: Names | None = option(
        None, "Findings, separated by commas (default: every column of 0, 1 and empty).", panel="Films"
    )
    split: Names | None = option(
        None,
        "Parts of the data set to take, separated by commas, from the column Split of --csv: train, val, "
        "test (default: every row).",
        panel="Films",
    )
    where: Where | None = option(None, WHERE_HELP, panel="Films", rare=True)
    exclude: tuple[Path, ...] = option((), "CSV of films to leave out, by id; may be repeated.", panel="Films")
    cache: Path | None = option(None, "Folder for decoded films, to be read faster the next time.", panel="Films")
    links: Literal["follow", "refuse"] = option(
        "follow",
        "Symbolic links that lead out of the image folder.\n\nfollow: are films like others.\n\nrefuse: are an error.",
        panel="Films",
        rare=True,
    )
    max_pixels: int = option(100_000_000, "Refuse films with more pixels than this.", panel="Films", ge=1, rare=True)

    @model_validator(mode="after")
    def _check_split(self) -> Self:
        if self.csv is None and self.split is not None:
            raise ValueError("--split takes rows of --csv: pass that too")
        return self


class ComputeOptions(FilmOptions):
    """Where it runs, and how wide."""

    device: Device = option("auto", "Device to compute on; auto: a GPU if there is one.", panel="Compute")
    precision: Precision = option(
        "auto",
        "Floating-point precision; auto: bf16 on GPUs that have it, fp16 on V100 and T4, and on CPUs "
        "bf16 if a trial shows that it is faster.",
        panel="Compute",
        rare=True,
    )
    workers: int | Literal["auto"] = option(
        "auto", "Processes that read films, for each process that computes.", panel="Compute", rare=True
    )
    batch: int = option(STEP, "Films per batch, of each process.", panel="Compute", alias="batch_size", ge=1)
    processes: int | Literal["auto"] = option(
        1, "Processes that compute, one a GPU (DDP); auto: one for each GPU.", panel="Processes"
    )
    nodes: int = option(1, "Machines (nodes) that compute together.", panel="Processes", ge=1, rare=True)
    rendezvous: str | None = option(
        None, "HOST:PORT of the first machine, which all others connect to.", panel="Processes", rare=True
    )
    run_id: str | None = option(None, "Name that all machines of one run share.", panel="Processes", rare=True)
    dry_run: bool = option(
        False, "Check everything, run one batch, print the plan and an estimate; write nothing.", rare=True
    )

    @model_validator(mode="after")
    def _check_workers(self) -> Self:
        if self.workers != "auto" and self.workers < 0:
            raise ValueError("--workers must be auto, 0 or more")
        if self.processes != "auto" and self.processes < 1:
            raise ValueError("--processes must be auto, 1 or more")
        if self.run_id is not None and self.nodes == 1:
            raise ValueError("--run-id is the name that several machines share: pass --nodes and --rendezvous too")
        return self

    @property
    def batch_size(self) -> int:
        return self.batch
