"""``cxrlt env``: versions, devices and folders, for a bug report; nothing of films is in it, nor the home folder."""

import json
import os
import platform
import re
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires

import torch

from cxrlt_cli import __version__
from cxrlt_cli.config import EnvOptions
from cxrlt_cli.engine.disk_space import free_bytes
from cxrlt_cli.engine.reporter import Reporter, size
from cxrlt_cli.files import cache_root, require_file, write_text
from cxrlt_cli.machine import num_cores
from cxrlt_cli.private_apis import cpu_computes_bf16

REQUIREMENT = re.compile(r"([\w.-]+)(?:\[[^\]]*\])?\s*([^;\s]*)\s*(?:;(.*))?$")
VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
    "LOKY_MAX_CPU_COUNT",
    "HF_HUB_OFFLINE",
    "HF_HOME",
    "XDG_CACHE_HOME",
    "SLURM_JOB_ID",
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "MASTER_ADDR",
)


@dataclass(frozen=True)
class Package:
    """One that cxrlt asks for: the versions that do, and the one that is here with its licence; None: not known."""

    name: str
    requires: str | None  # a version specifier
    extra: bool  # for an option of the installation alone
    version: str | None
    licence: str | None

    def cells(self) -> tuple[str, str, str, str]:
        """Of the table."""
        asked = f"{self.requires or ''}{' (extra)' if self.extra else ''}".strip()
        licence = "" if self.version is None else self.licence or "not stated"
        return self.name, asked, self.version or "–", licence


def show_environment(options: EnvOptions, reporter: Reporter) -> None:
    """Two tables: this machine, and the packages that cxrlt asks for with their licences; both to ``--json``."""
    if options.json_path is not None:
        require_file(options.json_path, "--json")
    machine, found = _machine(), packages()
    reporter.table("Machine", ("what", "here"), machine)
    reporter.table("Packages", ("name", "asked for", "version", "licence"), [one.cells() for one in found])
    if options.json_path is not None:
        content = {"machine": dict(machine), "packages": [asdict(one) for one in found]}
        write_text(options.json_path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
        reporter.result(f"Wrote {options.json_path}.")


def packages() -> list[Package]:
    """Each package that cxrlt asks for, but those for its development."""
    found_here = []
    for text in requires("cxrlt") or ():
        found = REQUIREMENT.match(text)
        assert found is not None, text
        name, asked, marker = (part or "" for part in found.groups())
        if name == "cxrlt" or "dev" in marker:
            continue
        asked_for = (name, asked or None, "extra" in marker)
        try:
            about = metadata(name)
        except PackageNotFoundError:
            found_here.append(Package(*asked_for, None, None))
            continue
        said = about.get_all("License-Expression") or []
        said += [each.rpartition(" :: ")[2] for each in about.get_all("Classifier") or () if each.startswith("License")]
        said += [each.partition("\n")[0][:40] for each in about.get_all("License") or ()]
        found_here.append(Package(*asked_for, about["Version"], next((one for one in said if one != "UNKNOWN"), None)))
    return found_here


def _machine() -> list[tuple[str, str]]:
    folder = cache_root()
    free = free_bytes(folder)
    set_here = [f"{name}={os.environ[name]}" for name in VARIABLES if name in os.environ]
    rows = [
        ("cxrlt", __version__),
        ("Python", f"{platform.python_version()}, {sys.executable}"),
        ("system", platform.platform()),
        ("PyTorch", f"{torch.__version__}, built for {f'CUDA {torch.version.cuda}' if torch.version.cuda else 'CPUs'}"),
        *_gpus(),
        ("cores", f"{num_cores()} of {os.cpu_count()} may be used; bf16: {'yes' if cpu_computes_bf16() else 'no'}"),
        ("cache", f"{folder}{'' if free is None else f', {size(free)} free'}"),
        ("environment", ", ".join(set_here) or "nothing that matters here is set"),
    ]
    home = os.path.expanduser("~")  # noqa: PTH111 - a user without one is no error here
    return [(name, value.replace(home, "~") if len(home) > 1 else value) for name, value in rows]


def _gpus() -> list[tuple[str, str]]:
    if not torch.cuda.is_available():
        return [("GPU", "PyTorch finds none")]
    rows = []
    for number in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(number)
        rows.append(
            (f"GPU {number}", f"{about.name}, {size(about.total_memory)}, capability {about.major}.{about.minor}")
        )
    return rows
