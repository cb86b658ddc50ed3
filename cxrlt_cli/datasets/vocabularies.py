"""Other names for findings: the challenge's of 2026, common ones, or a file's."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cxrlt_cli.datasets.records import UNLABELLED, Records
from cxrlt_cli.documents import read_yaml
from cxrlt_cli.errors import DataError, OptionError, listed
from cxrlt_cli.labels import CXR_LT_2026, plain_name

# New names, and what sets call just that; Lung Lesion, Pleural Other and Nodule/Mass say more than any of them.
COMMON = {
    "Normal": ("No Finding", "Normal"),
    "Atelectasis": ("Atelectasis",),
    "Cardiomegaly": ("Cardiomegaly",),
    "Consolidation": ("Consolidation",),
    "Edema": ("Edema", "Pulmonary edema"),
    "Emphysema": ("Emphysema",),
    "Fibrosis": ("Fibrosis", "Pulmonary fibrosis"),
    "Fracture": ("Fracture", "Clavicle fracture", "Rib fracture"),
    "Hernia": ("Hernia", "Hiatal hernia"),
    "Infiltration": ("Infiltration", "Infiltrates"),
    "Lung Opacity": ("Lung Opacity", "Airspace Opacity"),
    "Mass": ("Mass", "Pulmonary mass"),
    "Nodule": ("Nodule",),
    "Pleural Effusion": ("Pleural Effusion", "Effusion"),
    "Pleural Thickening": ("Pleural Thickening",),
    "Pneumonia": ("Pneumonia",),
    "Pneumothorax": ("Pneumothorax",),
    "Support Devices": (
        "Support Devices", "electrical device", "catheter", "NSG tube", "endotracheal tube", "tracheostomy tube",
        "chest drain tube", "gastrostomy tube", "nephrostomy tube", "ventriculoperitoneal drain tube",
    ),
}  # fmt: skip
LAYOUT = "It holds 'new: [old, ...]', one a line."
CHALLENGE = {name: (*COMMON.get(name.title(), ()), name) for name in CXR_LT_2026} | {
    "pneumoperitoneo": ("pneumoperitoneo", "Pneumoperitoneum"),
}


def feeding(findings: Sequence[str], names: str, kept: Sequence[str]) -> list[str]:
    """Those of a set's findings that become the ones ``kept`` under other names."""
    sources = _sources(findings, names)
    used = {place for new in kept for place in sources.get(new, [])}
    return [name for place, name in enumerate(findings) if place in used]


def _sources(findings: Sequence[str], names: str) -> dict[str, list[int]]:
    """The places of the findings that each new name stands for."""
    table = CHALLENGE if names == "cxr-lt-2026" else COMMON if names == "common" else _read(names)
    old = {plain_name(name): place for place, name in reversed(list(enumerate(findings)))}
    sources = {new: [old[plain_name(one)] for one in olds if plain_name(one) in old] for new, olds in table.items()}
    if names == "common":
        used = {place for places in sources.values() for place in places}
        sources |= {name: [place] for place, name in enumerate(findings) if place not in used}
    return sources


def renamed(records: Records, names: str) -> tuple[Records, list[str]]:
    """Settled records under other names, and what is to be told of it.

    ``cxr-lt-2026``: its 30 findings, empty where the set has none. ``common``: other findings keep their names. A file:
    those that it names. Of several old names, one positive makes a positive, else one that is empty leaves it so.

    Raises OptionError where ``names`` is neither, DataError where the file names none of the set's findings.
    """
    sources = _sources(records.findings, names)
    used = {place for places in sources.values() for place in places}
    unused = [name for place, name in enumerate(records.findings) if place not in used]
    known = {new: places for new, places in sources.items() if places}
    if not known:
        raise DataError(f"--names {names}: none of the set's findings is among its names (it has {listed(unused, 8)}).")
    notes = []
    if names == "cxr-lt-2026":
        known = sources
        empty = [new for new, places in sources.items() if not places]
        notes += [f"Empty, for the set does not label them: {', '.join(empty)}."] if empty else []
    if unused:
        notes.append(f"Not written, for --names {names} has no place for them: {', '.join(unused)}.")
    states = np.stack([_merged(records, places) for places in known.values()], axis=1)
    return replace(records, findings=tuple(known), states=states), notes


def _merged(records: Records, places: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.int8]]:
    if not places:
        return np.full(len(records), UNLABELLED, np.int8)
    held = records.states[:, places]
    merged = np.where((held == 1).any(axis=1), 1, np.where((held == UNLABELLED).any(axis=1), UNLABELLED, 0))
    return merged.astype(np.int8)


def _read(path: str) -> Mapping[str, Sequence[str]]:
    if not Path(path).is_file():
        raise OptionError(f"--names {path} is neither cxr-lt-2026 nor common, nor a file.")
    try:
        content = read_yaml(Path(path))
    except ValueError as error:
        raise OptionError(f"--names {path} is no valid YAML: {error}.", LAYOUT) from error
    if not isinstance(content, dict) or not content:
        raise OptionError(f"--names {path} holds no names.", LAYOUT)
    table = {}
    for new, olds in content.items():
        listed_olds = olds if isinstance(olds, list) else [olds]
        if not all(isinstance(one, str) for one in (new, *listed_olds)):
            raise OptionError(f"--names {path}: {new} must be a name, and a list of names behind it.")
        table[new] = listed_olds
    return table
