import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from cxrlt_cli.report.figure_files import figures, standalone
from cxrlt_cli.report.flow_figure import flow
from cxrlt_cli.report.ledger import Ledger
from cxrlt_cli.report.paper_study import Study


@pytest.fixture(scope="module")
def study(reported: Path) -> Study:
    return Study.read(reported / "data" / "first", 0)


def texts(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_boxes_hold_films_and_patients_of_each_part(study: Study) -> None:
    told = texts(flow(study, Ledger("first")))
    train, val = (int(films.sum()) for films in study.parts.values())
    assert train + val == 48
    assert told[:4] == ["Rows of labels.csv", "48 films", "Excluded", "none"]
    assert f"{train} films of {train // 2} patients" in told
    assert told[-2:] == ["Evaluated", f"{val} films, 3 findings"]


def test_what_was_left_out_is_told_with_its_option(study: Study) -> None:
    assert study.record is not None
    record = {**study.record, "num_rows": 60, "num_excluded": 5, "exclude": [{"name": "bad.csv", "sha256": ""}]}
    facts = {**study.facts, "record": record, "options": {**study.options, "split": ["train"]}}
    told = texts(flow(replace(study, facts=facts), Ledger("first")))
    assert "7 not selected by --split" in told
    assert "5 by --exclude (bad.csv)" in told
    bare = texts(flow(replace(study, facts={**facts, "record": None}), Ledger("first")))
    assert "not recorded by this run" in bare


def test_figures_stand_alone(study: Study) -> None:
    drawn = {"flow": standalone(flow(study, Ledger("first"))), **figures(study)}
    assert set(drawn) == {"flow", "long-tail", "together", "precision-recall", "roc", "reliability"}
    for svg in drawn.values():
        root = Xml.fromstring(svg)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root.get("width")
        assert "var(--" not in svg
