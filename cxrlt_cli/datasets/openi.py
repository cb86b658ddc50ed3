"""Open-i, Indiana University's reports: an XML each, with headings of MeSH. Demner-Fushman et al., JAMIA 2016."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser

import numpy as np

from cxrlt_cli.config import DataImportOptions
from cxrlt_cli.datasets.raw_table import texts
from cxrlt_cli.datasets.records import Records, states_of_lists
from cxrlt_cli.datasets.set_files import SetFiles
from cxrlt_cli.errors import DataError, listed
from cxrlt_cli.names import fault_of_name, shown

UNREAD, UNINDEXED = "a report without findings", "a report that is not indexed"
NO_INDEX = "no indexing"
QUALITY = "technical quality of image unsatisfactory"  # says nothing of the patient
MAX_BYTES = 10_000_000


@dataclass(frozen=True)
class Report:
    name: str  # CXR1
    films: tuple[str, ...]
    headings: tuple[str, ...]  # up to the first slash


def read(files: SetFiles, options: DataImportOptions) -> Records:
    """The films that reports name; a heading that a report lacks is 0 for its films."""
    paths = files.given or [path for folder in files.folders for path in sorted(folder.rglob("*.xml"))]
    if not paths:
        raise DataError(
            f"{listed(files.folders)} holds no report, such as ecgen-radiology/1.xml.",
            "Unpack NLMCXR_reports.tgz, and name its folder as SOURCE and the films' with --image-dir.",
        )
    reports = sorted((_report(path) for path in paths), key=lambda report: (len(report.name), report.name))
    reasons = [_reason(report) for report in reports]
    kept = [report for report, reason in zip(reports, reasons, strict=True) if not reason]
    left_out: Counter[str] = Counter()
    for report, reason in zip(reports, reasons, strict=True):
        if reason and report.films:
            left_out[reason] += len(report.films)
    return _records(reports, kept, dict(left_out))


def _records(reports: Sequence[Report], kept: Sequence[Report], left_out: dict[str, int]) -> Records:
    spelling = _spellings(kept)
    lists = [
        [spelling[heading.lower()] for heading in report.headings if heading.lower() != QUALITY] for report in kept
    ]
    findings = tuple(sorted(set(spelling.values()), key=str.lower))
    number = [len(report.films) for report in kept]
    owners = np.repeat(texts(report.name for report in kept), number)
    filmless = sum(not report.films for report in reports)
    return Records(
        texts(f"{film}.png" for report in kept for film in report.films),
        findings,
        states_of_lists(lists, np.repeat(np.arange(len(kept)), number), findings),
        patients=owners,
        studies=owners,
        rows_read=sum(len(report.films) for report in reports),
        left_out=left_out,
        notes=(
            f"{len(reports):,} reports, {filmless:,} of them without films.",
            "A finding is a MeSH heading up to its first slash, so that some are places, such as Lung or Spine.",
            "No patient is told: PatientID is the report, which keeps its films together.",
        ),
    )


class _Plain(TreeBuilder):
    """XML without a document type: that is where entities are declared, which swell, or lead to other files."""

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        raise ValueError("it declares a document type, which no report does")


def _report(path: Path) -> Report:
    """What a report says; raises DataError where the file is none."""
    parser = XMLParser(target=_Plain())
    try:
        with path.open("rb") as file:
            parser.feed(file.read(MAX_BYTES))
        root = parser.close()
    except (ParseError, LookupError, ValueError) as error:
        raise DataError(f"{path} is no report, or one cut short: {error}.", "Unpack it again.") from error
    name = _identity(root.find("uId"), path)
    films = tuple(_identity(image, path) for image in root.iter("parentImage"))
    headings = (" ".join((major.text or "").partition("/")[0].split()) for major in root.findall("MeSH/major"))
    for heading in (found := tuple(dict.fromkeys(heading for heading in headings if heading))):
        if fault := fault_of_name(heading):
            raise DataError(f"{path}: the heading {shown(heading)} {fault}.")
    return Report(name, films, found)


def _identity(element: Element | None, path: Path) -> str:
    name = "" if element is None else element.get("id", "").strip()
    if not name:
        raise DataError(f"{path} is no report of Open-i: a <uId> or <parentImage> without an id.")
    return name


def _reason(report: Report) -> str:
    """Why a report says nothing of its films; empty where it does."""
    told = {heading.lower() for heading in report.headings} - {QUALITY}
    if NO_INDEX in told:
        return UNINDEXED
    return "" if told else UNREAD


def _spellings(reports: Sequence[Report]) -> dict[str, str]:
    """How a heading is written most often, whatever its capitals: ``Lymph nodes`` is ``Lymph Nodes``."""
    times = Counter(heading for report in reports for heading in report.headings if heading.lower() != QUALITY)
    spelling: dict[str, str] = {}
    for heading in sorted(times, key=lambda heading: (-times[heading], heading)):
        spelling.setdefault(heading.lower(), heading)
    return spelling
