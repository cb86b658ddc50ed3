"""What ``pip install cxrlt`` brings along may be used under Apache-2.0: no copyleft that would reach the program."""

import re
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

COPYLEFT = re.compile(
    r"\bA?GPL|\bLGPL|GNU (Affero |Lesser |Library )?General Public|\bSSPL|\bEUPL|\bCC-BY-(NC|SA)", re.I
)


def required(name: str) -> dict[str, str]:
    """Every package that is needed, by way of others too, with what its metadata say of its licence."""
    found: dict[str, str] = {}
    waiting = [(name, frozenset[str]())]
    while waiting:
        package, extras = waiting.pop()
        key = f"{canonicalize_name(package)}{sorted(extras)}"
        if key in found:
            continue
        about = distribution(package)
        fields = [each for name in ("License-Expression", "License") for each in about.metadata.get_all(name) or ()]
        classifiers = [each for each in about.metadata.get_all("Classifier") or () if each.startswith("License")]
        found[key] = " | ".join([*(field[:200] for field in fields), *classifiers])  # some hold a whole licence
        for text in about.requires or ():
            requirement = Requirement(text)
            wanted = [{"extra": extra} for extra in extras] or [{"extra": ""}]
            if requirement.marker is None or any(requirement.marker.evaluate(extra) for extra in wanted):
                waiting.append((requirement.name, frozenset(requirement.extras)))
    return found


def test_no_required_package_is_copyleft() -> None:
    licences = required("cxrlt")
    assert len(licences) > 40
    assert {name: said for name, said in licences.items() if COPYLEFT.search(said)} == {}
    silent = {name for name, said in licences.items() if not said.strip(" |")}
    assert all(name.startswith("cuda-toolkit") for name in silent), silent  # NVIDIA's, where PyTorch is built for it


def test_copyleft_would_be_noticed() -> None:
    for said in ("GPL-3.0-or-later", "License :: OSI Approved :: GNU General Public License v3 (GPLv3)", "LGPLv2.1"):
        assert COPYLEFT.search(said)
    for said in ("MIT", "BSD-3-Clause", "Apache-2.0", "License :: OSI Approved :: BSD License", "MPL-2.0 AND MIT"):
        assert not COPYLEFT.search(said)
    try:
        assert required("no-such-package")
    except PackageNotFoundError:
        return
    raise AssertionError("a package that is not there has no licence")
