import re

import numpy as np

from cxrlt_cli.report.prompt_page import prompt_page
from cxrlt_cli.scores.promptlab import Examined, examine

EVIL = "<script>alert('x')</script>\" onload='y' & Co"


def examined() -> dict[str, Examined]:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(3, 4)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    truth = (rng.random(50) < 0.4).astype(np.float32)
    one = examine(EVIL, [EVIL, "b", "c"], rng.random((50, 3)).astype(np.float32), features, truth)
    alone = examine("alone", ["d"], rng.random((50, 1)).astype(np.float32), features[:1], truth)
    assert one is not None
    assert alone is not None
    return {EVIL: one, "alone": alone}


def test_the_page_shows_every_sentence_and_escapes_them() -> None:
    page = prompt_page(EVIL, [("films", EVIL)], examined(), [EVIL])
    assert EVIL not in page
    assert page.count("<script>") == 1
    assert "onload='y'" not in page.replace("&quot; onload=&#x27;y&#x27;", "")
    assert len(re.findall(r"<tr><td data-value='\d+'>", page)) == 4
    assert page.count('<rect class="heat"') == 6
    assert "data-value=''>–" in page, "an only sentence has none beside it"


def test_numbers_on_the_page_are_those_that_were_found() -> None:
    found = examined()
    page = prompt_page("t", [], found)
    for one in found.values():
        assert f"AP {one.ap:.3f}; {one.positives:,} films have it" in page
        for sentence in one.sentences:
            assert f"data-value='{sentence.ap}'>{sentence.ap:.3f}<" in page
