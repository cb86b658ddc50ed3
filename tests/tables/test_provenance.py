"""The record beside labels that were imported, and what is told of it."""

import json
from pathlib import Path

import pytest

from cxrlt_cli.tables.label_table import read_labels
from cxrlt_cli.tables.provenance import CHANGED, read_policy, record_path, write_record
from tests.helpers import write_csv

POLICY = "chexpert; uncertain: empty; unmentioned: 0"


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = write_csv(tmp_path / "labels.csv", ("ImageID", "PatientID", "Edema"), [("a", "1", 1), ("b", "2", 0)])
    write_record(path, {"policy": POLICY, "kind": "chexpert", "films": 2})
    return path


@pytest.mark.parametrize("name", ["labels.csv", "labels.csv.gz", "labels.tsv", "labels.parquet", "labels"])
def test_the_record_stands_beside_its_table(name: str, tmp_path: Path) -> None:
    assert record_path(tmp_path / name) == tmp_path / f"{name}.import.json"


def test_the_policy_goes_with_the_labels(labels: Path) -> None:
    assert read_policy(labels) == POLICY
    table = read_labels(labels)
    assert table.policy == POLICY
    assert table.rows([0]).policy == table.select(["Edema"]).policy == POLICY  # type: ignore[arg-type]


def test_the_same_record_of_the_same_table_is_the_same_bytes(labels: Path) -> None:
    first = record_path(labels).read_bytes()
    write_record(labels, {"films": 2, "kind": "chexpert", "policy": POLICY})
    assert record_path(labels).read_bytes() == first
    assert list(json.loads(first)) == ["films", "kind", "policy", "sha256"]


def test_a_table_that_was_changed_since_is_told(labels: Path) -> None:
    labels.write_text(labels.read_text().replace("b,2,0", "b,2,1"))
    assert read_policy(labels) == POLICY + CHANGED


def test_without_a_record_nothing_is_said(labels: Path) -> None:
    record_path(labels).unlink()
    assert read_policy(labels) is None
    assert read_labels(labels).policy is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"policy": 1, "sha256": ""}', '{"policy": "x"}', "\ud800", "[" * 5000]
)
def test_a_damaged_record_stops_nothing_and_is_not_taken_for_none(labels: Path, text: str) -> None:
    record_path(labels).write_bytes(text.encode(errors="surrogatepass"))
    assert read_policy(labels) == "unknown, since labels.csv.import.json is damaged"


def test_a_policy_is_one_line_that_ends(labels: Path) -> None:
    write_record(labels, {"policy": "a\n\n b\t" + "c" * 5000})
    policy = read_policy(labels)
    assert policy is not None
    assert policy.startswith("a b c")
    assert "\n" not in policy
    assert len(policy) <= 1000
