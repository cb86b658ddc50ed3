"""What is told of films that are judged: by view where they are of several."""

from pathlib import Path

import numpy as np

from cxrlt_cli.config import TrainOptions
from cxrlt_cli.labels import LabelSpace
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.tables.label_table import LabelTable
from cxrlt_cli.training.out_of_fold import page_of, tell_by_view
from tests.helpers import Recorder

NUM = 400
RNG = np.random.default_rng(0)
IDS = np.array([f"{number}.png" for number in range(NUM)], object)
TARGETS = (RNG.random((NUM, 2)) < 0.3).astype(np.float32)


def table(*views: str) -> LabelTable:
    column = np.array(RNG.choice(views, NUM), object) if views else None
    return LabelTable(IDS, IDS, TARGETS, LabelSpace.of(["effusion", "nodule"]), views=column)


def test_the_next_step_is_by_view_where_films_are_of_several() -> None:
    options, csv, page = TrainOptions(csv=Path("a.csv"), view_column="How taken"), Path("a.csv"), "--report page.html"
    scored = ["evaluate", "oof.csv", "--csv", "a.csv"]
    by_view = [*scored, "--by", "How taken", *page.split()]
    assert page_of(Path("oof.csv"), csv, table("PA", "AP"), options) == by_view
    for one in (table("PA", ""), table()):
        assert page_of(Path("oof.csv"), csv, one, options) == [*scored, *page.split()]


def test_views_are_compared_where_there_are_several() -> None:
    films, recorder = table("AP", "LL", "PA"), Recorder()
    noise = RNG.random(TARGETS.shape)
    share = np.where(films.views == "AP", 0.0, 0.9)[:, None]  # the model knows nothing of AP films
    predictions = Predictions(IDS, ("effusion", "nodule"), share * TARGETS + (1 - share) * noise)
    tell_by_view(predictions, films, TrainOptions(csv=Path("a.csv")), recorder)
    ((columns, *rows),) = recorder.texts
    assert any(note.startswith("Findings: effusion, nodule; 10 patients") for note in recorder.notes)
    assert [row[0] for row in rows if row[0]] == ["AP", "LL", "PA"]
    aurocs = [float(row[columns.index("value")]) for row in rows if row[columns.index("score")] == "AUROC"]
    assert aurocs[0] < 0.65
    assert min(aurocs[1:]) > 0.95
    for one in (table("PA", ""), table()):
        tell_by_view(predictions, one, TrainOptions(csv=Path("a.csv")), recorder)
    assert len(recorder.texts) == 1
