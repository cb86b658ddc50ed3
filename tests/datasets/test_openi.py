"""Open-i: reports in XML, with headings of MeSH."""

from pathlib import Path

import pytest

from cxrlt_cli.datasets.openi import read
from cxrlt_cli.errors import DataError
from tests.datasets.makers import column, put, read_by, states


def report(folder: Path, number: int, films: int, *headings: str) -> Path:
    majors = "".join(f"<major>{heading}</major>" for heading in headings)
    images = "".join(f'<parentImage id="CXR{number}_1_IM-0001-{film}001"/>' for film in range(films))
    text = f'<eCitation><uId id="CXR{number}"/><MeSH>{majors}<automatic>pain</automatic></MeSH>{images}</eCitation>'
    return put(folder, f"ecgen-radiology/{number}.xml", f'<?xml version="1.0" encoding="utf-8"?>\n{text}')


def test_a_heading_counts_up_to_its_first_slash(tmp_path: Path) -> None:
    report(tmp_path, 90010, 1, "normal")
    report(tmp_path, 90002, 2, "Cardiomegaly/mild", "Opacity/lung/base/left", "Opacity/focal")
    records = read_by(read, "openi", tmp_path)
    assert records.findings == ("Cardiomegaly", "normal", "Opacity")
    assert states(records) == {
        "CXR90002_1_IM-0001-0001.png": [1, 0, 1],
        "CXR90002_1_IM-0001-1001.png": [1, 0, 1],
        "CXR90010_1_IM-0001-0001.png": [0, 1, 0],
    }
    assert list(column(records, "patients").values()) == ["CXR90002", "CXR90002", "CXR90010"]
    assert column(records, "studies") == column(records, "patients")


def test_spellings_of_one_heading_are_one_finding(tmp_path: Path) -> None:
    report(tmp_path, 90001, 1, "Lymph Nodes/calcified")
    report(tmp_path, 90002, 1, "Lymph Nodes")
    report(tmp_path, 90003, 1, "Lymph  nodes/enlarged")
    assert read_by(read, "openi", tmp_path).findings == ("Lymph Nodes",)


def test_reports_that_say_nothing_are_left_out_and_counted(tmp_path: Path) -> None:
    report(tmp_path, 90001, 2, "No Indexing")
    report(tmp_path, 90002, 1, "Technical Quality of Image Unsatisfactory ")
    report(tmp_path, 90003, 3, "Nodule", "Technical Quality of Image Unsatisfactory ")
    report(tmp_path, 90004, 0, "normal")
    report(tmp_path, 90005, 1)
    records = read_by(read, "openi", tmp_path)
    assert "Technical Quality of Image Unsatisfactory" not in records.findings
    assert len(records) == 3
    assert records.rows_read == 7
    assert records.left_out == {"a report that is not indexed": 2, "a report without findings": 2}
    assert records.notes[0] == "5 reports, 1 of them without films."


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<eCitation><uId id='CXR1'/>", "cut short"),
        (b"<eCitation/>", "without an id"),
        (b"<eCitation><uId id='CXR1'/><parentImage/></eCitation>", "without an id"),
        (b"", "no report"),
        (b'<?xml version="1.0" encoding="no-such"?><eCitation/>', "no report"),
        (b"<eCitation><uId id='CXR1'/><MeSH><major>=cmd()</major></MeSH></eCitation>", "formula"),
    ],
)
def test_what_is_no_report_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = put(tmp_path, "1.xml", content)
    with pytest.raises(DataError, match=words):
        read_by(read, "openi", path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp037"])
def test_a_document_type_is_refused_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    """Entities, which can swell a line to gigabytes or name a file to read, are declared there."""
    lines = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE e [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]>'
    path = put(tmp_path, "1.xml", f'{lines}<eCitation><uId id="&b;"/></eCitation>'.encode(encoding))
    with pytest.raises(DataError, match="no report"):
        read_by(read, "openi", path)


def test_a_folder_without_reports_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Unpack NLMCXR_reports\.tgz"):
        read_by(read, "openi", tmp_path)
