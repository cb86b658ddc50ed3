import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cxrlt_cli.report.cards import card_files
from cxrlt_cli.report.ledger import Ledger
from cxrlt_cli.report.paper_groups import groups_table, groups_told
from cxrlt_cli.report.paper_study import Study
from cxrlt_cli.report.study_groups import AGE, SEX, VIEW
from cxrlt_cli.scores.predictions import Predictions
from tests.helpers import FINDINGS, write_csv

NUM_FILMS = 400
FACTS = {
    "findings": FINDINGS,
    "seed": 1,
    "bootstrap": 30,
    "has_patients": True,
    "kind": "predictions",
    "options": {},
    "record": None,
    "weights": [],
    "labels": [{"name": "labels.csv", "sha256": "0" * 64}],
    "predictions": {"name": "p.csv", "sha256": "0" * 64},
}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Predictions of two films each of 200 patients, worse for men; a film in twenty does not say its sex."""
    folder = tmp_path_factory.mktemp("data") / "p"
    folder.mkdir()
    rng = np.random.default_rng(0)
    sex, ages = rng.choice(["F", "M"], NUM_FILMS // 2), rng.integers(18, 90, NUM_FILMS // 2)
    targets = (rng.random((NUM_FILMS, 3)) < 0.4).astype(int)
    noise = np.where(np.repeat(sex, 2) == "M", 3.0, 0.3)[:, None]
    guessed = 1 / (1 + np.exp(-(targets + noise * rng.normal(size=targets.shape))))
    told = np.where(np.arange(NUM_FILMS) % 20 == 0, "", np.repeat(sex, 2))
    rows = [
        (f"f{film}", f"p{film // 2}", "judged", ("PA", "AP")[film % 2], told[film], ages[film // 2], *targets[film])
        for film in range(NUM_FILMS)
    ]
    write_csv(folder / "films.csv", ("ImageID", "PatientID", "Split", VIEW, SEX, AGE, *FINDINGS), rows)
    Predictions(np.array([row[0] for row in rows], object), FINDINGS, guessed).write(folder / "predictions.csv")
    (folder / "facts.json").write_text(json.dumps(FACTS))
    return Study.read(folder, 30)


def test_each_group_has_its_films_scores_intervals_and_a_difference(study: Study) -> None:
    ledger = Ledger("p")
    table = groups_table(study, ledger)
    assert table is not None
    assert [row[0] for row in table.rows[::2]] == [
        "View: AP", "View: PA", "Sex: F", "Sex: M", "Age: below 40", "Age: 40 to 59", "Age: 60 or older"
    ]  # fmt: skip
    rows = {(row[0], row[3]): row for row in table.rows}
    sexes = study.films[SEX].to_numpy()
    for sex in "FM":
        films = sexes == sex
        auroc = np.mean(
            [roc_auc_score(study.truth.targets[films, c], study.predictions.probabilities[films, c]) for c in range(3)]
        )
        assert rows[f"Sex: {sex}", "Mean AUROC"][1] == str(films.sum())
        assert rows[f"Sex: {sex}", "Mean AUROC"][4].startswith(f"{auroc:.3f} (0.")
    for score in ("Mean AP", "Mean AUROC"):
        of_sexes = [rows[f"Sex: {sex}", score] for sex in "FM"]
        assert sorted(row[6] for row in of_sexes) == ["", "< 0.001"]
        assert sum(row[5] == "reference" for row in of_sexes) == 1
    assert sum(int(row[1]) for (name, _), row in rows.items() if name.startswith("Age")) == 2 * NUM_FILMS
    assert {str(entry["value"]) for entry in ledger.entries.values()} >= set(rows["Sex: M", "Mean AP"][4:5])
    assert "Sex: means of 3 findings (Normal, effusion, nodule)." in table.note


def test_cards_are_filled_from_the_groups(study: Study) -> None:
    told = groups_told(study, Ledger("p"))
    assert told is not None
    assert "Mean AUROC of 3 findings by sex: F 0." in told
    cards = card_files(study, ("model", "claim", "tripod-ai", "chai"), Ledger("p"))
    assert told in cards["model.md"].split("## Factors")[1].split("## Metrics")[0]
    for name, number in (("claim", "37"), ("tripod-ai", "23a")):
        (line,) = [line for line in cards[f"{name}.md"].splitlines() if line.startswith(f"| {number} |")]
        assert told in line
        assert "tables/groups.html" in line
    fairness = cards["chai.xml"].split("<FairnessEquity>")[1].split("</FairnessEquity>")[0]
    assert "<Label>Mean AUROC, sex M</Label>" in fairness
    assert '"kind": "estimate_ci"' in fairness


def test_without_patients_their_number_is_not_told(study: Study) -> None:
    object.__setattr__(study, "facts", {**study.facts, "has_patients": False})
    table = groups_table(study, Ledger("p"))
    assert table is not None
    assert {row[2] for row in table.rows} == {"–"}
    object.__setattr__(study, "facts", FACTS)


def test_small_groups_are_named_and_nothing_is_told_without_groups(reported: Path) -> None:
    few = Study.read(reported / "data" / "first", 0)
    assert groups_table(few, Ledger("first")) is None
    assert groups_told(few, Ledger("first")) is None
    assert few.groups[VIEW].too_small
