"""What comes from a file, through every output: never a raw control, never HTML where a browser reads it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml

from cxrlt_cli.config import EvaluateOptions, to_yaml
from cxrlt_cli.report import HeatMap, Mistake, Neighbour, Picture, page, worst
from cxrlt_cli.report.plain_table import Table
from cxrlt_cli.report.prompt_page import prompt_page
from cxrlt_cli.report.texts import escape
from cxrlt_cli.scores.metrics import score
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.scores.promptlab import Examined, Sentence

HOSTILE = "<script>alert(1)</script>'\"&\x1b[31m\x07\x9b\u202e"
RAW = ("\x1b", "\x07", "\x9b", "\u202e", "<script>alert")


def assert_harmless(text: str, shows: bool = True) -> None:
    for one in RAW:
        assert one not in text, ascii(text[max(0, text.find(one) - 80) : text.find(one) + 80])
    if shows:
        assert r"\x1b[31m\x07\x9b\u202e" in text


def test_a_text_is_harmless_in_an_element_and_in_an_attribute() -> None:
    assert escape(HOSTILE) == r"&lt;script&gt;alert(1)&lt;/script&gt;&#x27;&quot;&amp;\x1b[31m\x07\x9b\u202e"


def test_the_report_of_hostile_names_is_harmless() -> None:
    rng = np.random.default_rng(0)
    targets, probabilities = (rng.random((60, 3)) < 0.4).astype(float), rng.random((60, 3))
    names = tuple(f"{HOSTILE}{number}" for number in range(3))
    scores = score(targets, probabilities, names)
    predictions = replace(
        Predictions(np.array([f"{n}.png" for n in range(60)], object), ("a", "b", "c"), probabilities),
        ids=np.array([f"{HOSTILE}{n}" for n in range(60)], object), findings=names,
    )  # fmt: skip
    mistakes = worst(predictions, targets)
    near = [Neighbour(HOSTILE, 0.5, "data:z"), Neighbour(HOSTILE, 0.5, None)]
    pictures = [Picture(Mistake(HOSTILE, HOSTILE, True, 0.5, 0.5), "data:x", HeatMap("data:y", "attention"), near)]
    tables = [Table(HOSTILE, (HOSTILE,), [(HOSTILE,)], HOSTILE)]
    for shown in ([], pictures):
        facts = [(HOSTILE, HOSTILE)]
        assert_harmless(
            page(HOSTILE, facts, scores, predictions, targets, notes=[HOSTILE], tables=tables, mistakes=mistakes,
                 pictures=shown)
        )  # fmt: skip


def test_the_page_of_hostile_prompts_is_harmless() -> None:
    sentences = tuple(Sentence(f"{HOSTILE}{n}", 0.5, 0.4, 0.3) for n in range(2))
    one = Examined(HOSTILE, 3, 0.1, 0.5, sentences, np.eye(2))
    assert_harmless(prompt_page(HOSTILE, [(HOSTILE, HOSTILE)], {HOSTILE: one}, [HOSTILE]))


def test_yaml_and_json_of_hostile_values_have_no_controls() -> None:
    options = EvaluateOptions.model_validate({"predictions": [Path("p.csv")], "by": HOSTILE, "csv": "t.csv"})
    text = yaml.safe_dump(to_yaml(options), sort_keys=False, allow_unicode=True)
    assert not set(text) & set("\x1b\x07\x9b")
    assert yaml.safe_load(text)["by"] == [HOSTILE]
    assert not set(json.dumps({"a": HOSTILE})) & set("\x1b\x07\x9b\u202e")
