import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from cxrlt_cli.report.ledger import Ledger, plain
from cxrlt_cli.report.methods_text import methods, training_sentences
from cxrlt_cli.report.paper_study import Study
from cxrlt_cli.report.paper_tables import characteristics_table, disjointness_table, runs_table
from cxrlt_cli.scores.bootstrap import resample
from cxrlt_cli.scores.differences import told_p
from cxrlt_cli.scores.metrics import score
from cxrlt_cli.scores.run_comparison import Seeds, compare_runs

NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


@pytest.fixture(scope="module")
def study(reported: Path) -> Study:
    return Study.read(reported / "data" / "first", 0)


def numbers(reported: Path) -> dict[str, dict[str, object]]:
    content: dict[str, dict[str, object]] = json.loads((reported / "numbers.json").read_text())["numbers"]
    return content


def test_every_number_of_tables_and_texts_says_where_it_comes_from(reported: Path) -> None:
    known = {number for entry in numbers(reported).values() for number in NUMBER.findall(str(entry["value"]))}
    wording = {"95", "0.5", "2", "5", "100", "12", "256", "48"}
    labels = json.loads((reported / "data/first/facts.json").read_text())["labels"][0]["sha256"]
    for path in [*reported.glob("tables/*.md"), reported / "methods.md"]:
        text = re.sub(r"\*\*.*\*\*|labels\.0\.sha256|weights\.0\.sha256|\b[0-9a-f]{12}…", "", path.read_text())
        strange = set(NUMBER.findall(text)) - known - wording
        assert strange == set(), path
    assert labels[:12] in (reported / "methods.md").read_text()


def test_sources_are_files_of_the_report(reported: Path) -> None:
    for name, entry in numbers(reported).items():
        assert (reported / str(entry["source"])).is_file(), name
        assert name.startswith("first/")


def test_scores_are_those_of_the_predictions(reported: Path, study: Study) -> None:
    with (reported / "tables" / "findings.csv").open() as file:
        rows = {row["Finding"]: row for row in csv.DictReader(file)}
    for place, name in enumerate(study.predictions.findings):
        truth, probabilities = study.truth.targets[:, place], study.predictions.probabilities[:, place]
        assert rows[name]["AP"].split()[0] == f"{average_precision_score(truth, probabilities):.3f}"
        assert rows[name]["AUROC"].split()[0] == f"{roc_auc_score(truth, probabilities):.3f}"
        assert int(rows[name]["Positives"]) == truth.sum()


def test_runs_of_other_seeds_are_compared_on_the_same_patients_and_counted_together(reported: Path) -> None:
    first = Study.read(reported / "data" / "first", 50)
    rng = np.random.default_rng(3)
    guessed = replace(first.predictions, probabilities=rng.random(first.predictions.probabilities.shape))
    scores = score(first.truth.targets, guessed.probabilities, guessed.findings)
    (mine,), (other,) = (
        resample(first.truth.targets, [guessed.probabilities], first.truth.patients, 50, seed=seed) for seed in (42, 7)
    )
    assert first.facts["seed"] == 42
    alike, apart = (
        replace(first, name="guessed", facts={**first.facts, "seed": seed}, predictions=guessed, scores=scores,
                resampled=drawn)
        for seed, drawn in ((42, mine), (7, other))
    )  # fmt: skip
    table = runs_table([first, alike], Ledger())
    assert table.rows == runs_table([first, apart], Ledger()).rows
    assert first.resampled is not None
    runs: dict[str, Seeds] = {"first": {None: (first.scores, first.resampled)}, "guessed": {None: (scores, mine)}}
    known = compare_runs(runs, 42)[1]
    for row, one in zip(table.rows[2:], (known.ap, known.auroc), strict=True):
        assert one is not None
        assert one.difference is not None
        assert row[4].replace("−", "-").startswith(f"{one.difference.value:.3f} (")
        assert row[5] == told_p(one.difference)
    assert "for 2 differences" in table.note


def test_table_1_counts_each_part(study: Study) -> None:
    table = characteristics_table(study, Ledger("first"))
    rows = {row[0]: row[1:] for row in table.rows}
    every, train, val = rows["Films"]
    assert (every, int(train) + int(val)) == ("48", 48)
    assert rows["View: PA"][0] == "48 (100.0 %)"
    assert set(rows["Sex"]) == {"not recorded"}
    for name in study.predictions.findings:
        place = study.table.space.findings.index(name)
        having = [int((study.table.targets[films, place] == 1).sum()) for films in study.parts.values()]
        assert [int(cell.split()[0]) for cell in rows[name][1:]] == having


def test_parts_that_share_patients_are_told(study: Study) -> None:
    ((_, patients, ids, *pixels),) = disjointness_table(study, Ledger("first")).rows
    assert (patients, ids, pixels) == ("0", "0", ["not recorded"] * 2)
    whose = study.table.patients.copy()
    train, val = (np.flatnonzero(films) for films in study.parts.values())
    whose[val[0]] = whose[train[0]]
    object.__setattr__(study.table, "patients", whose)
    ((_, patients, *_),) = disjointness_table(study, Ledger("first")).rows
    assert patients == "1"


def test_the_methods_say_what_was_done_and_no_more(study: Study) -> None:
    text = "\n".join(methods(study, Ledger("first")))
    assert "test_convnext" in text
    assert "the head alone for 1 epoch (learning rate 0.001), then the whole network for 2 epochs" in text
    assert "Distribution-Balanced loss" in text
    assert "A share of 0.3 was held out by patient" in text
    assert not re.search(r"None|\bnan\b|\{|\[", text)


def test_the_decay_of_averaged_weights_is_the_one_that_warm_up_reached(study: Study) -> None:
    """The run has so few steps that 0.9999 alone would mislead; of a run that did not record it, none is told."""
    (reached,) = study.facts["ema_decays"]
    assert 0 < reached < 0.99
    told = f"decay rising with warm-up to at most 0.9999, {reached:.4f} at the last step)"
    assert told in training_sentences(study, Ledger("first"))["averaged"]
    for decays, end in (([0.9, 0.91, 0.9], ", 0.9000 to 0.9100 at the last step)"), (None, "0.9999)")):
        other = replace(study, facts={**study.facts, "ema_decays": decays})
        assert end in training_sentences(other, Ledger("first"))["averaged"]


def test_a_number_is_printed_in_one_way() -> None:
    ledger = Ledger("a")
    assert ledger.count("films", 1200, "films.csv") == "1,200"
    assert ledger.entries["a/films"] == {"value": "1,200", "source": "data/a/films.csv", "metric": "count"}
    ledger.count("films", 1200, "films.csv")
    with pytest.raises(AssertionError, match="two ways"):
        ledger.count("films", 1201, "films.csv")
    assert ledger.score("ap", None, None, "films.csv") == "–"
    assert [plain(value) for value in (1e-05, [784, 644], {"clip": 0.1}, True)] == [
        "1e-05",
        "784, 644",
        "clip 0.1",
        "True",
    ]
