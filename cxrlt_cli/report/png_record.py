"""PNG figures of a report: of which SVG each was drawn, and whether it is still as it was written.

Another version of what draws them may give other bytes: they are held against their SHA-256, and not drawn again. The
SVG that each was drawn of is made again from the data.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from cxrlt_cli.documents import read_json
from cxrlt_cli.report.number_check import Deviation

RECORD = "data/png.json"


def figures_of(files: Mapping[str, str]) -> dict[str, str]:
    """The SVG figures among the files of a report, by the path of the PNG of each."""
    return {_png(name): text for name, text in files.items() if name.endswith(".svg")}


def png_record(svgs: Mapping[str, str], pngs: Mapping[str, bytes], drawn_by: str) -> str:
    """What is kept of PNGs: by what they were drawn, their SHA-256, and that of the SVG of each."""
    figures = {
        name: {"sha256": hashlib.sha256(pngs[name]).hexdigest(), "svg_sha256": _sha256(svgs[name])} for name in svgs
    }
    return json.dumps({"drawn_by": drawn_by, "figures": figures}, indent=1) + "\n"


def png_deviations(folder: Path, made: Mapping[str, str]) -> tuple[list[Deviation], set[str]]:
    """Where PNGs are not those of the figures ``made`` again, and the names of all that were looked at."""
    svgs = figures_of(made)
    try:
        known = dict(read_json(folder / RECORD)["figures"]) if (folder / RECORD).is_file() else {}
        recorded = {name: (str(one["sha256"]), str(one["svg_sha256"])) for name, one in known.items()}
    except (OSError, ValueError, LookupError, TypeError):
        return [Deviation(RECORD, 0, "", "it is damaged")], set()
    faults = []
    for name, svg in svgs.items():
        path = folder / name
        if name not in recorded:
            if recorded or path.is_file():
                faults.append(Deviation(name, 0, "", f"{RECORD} does not name it"))
        elif not path.is_file():
            faults.append(Deviation(name, 0, "", "the file is missing"))
        elif (found := hashlib.sha256(path.read_bytes()).hexdigest()) != recorded[name][0]:
            faults.append(Deviation(name, 0, f"SHA-256 {found[:16]}", f"written as {recorded[name][0][:16]}"))
        elif recorded[name][1] != _sha256(svg):
            faults.append(Deviation(name, 0, "a figure of other data", "its SVG is another"))
    return faults, set(svgs)


def _png(svg: str) -> str:
    return str(PurePosixPath(svg).with_suffix(".png"))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
