import numpy as np
import pytest

from cxrlt_cli.report.film_cards import Mistake, film_cards, worst
from cxrlt_cli.report.score_texts import told_share_below
from cxrlt_cli.scores.predictions import Predictions


def test_the_worst_films_are_the_clearest_mistakes() -> None:
    ids = np.array(["a", "b", "c", "d", "e"], object)
    predictions = Predictions(ids, ("x", "y"), np.array([[0.9, 0.8, 0.3, 0.2, 0.1], [0.5, 0.4, 0.3, 0.2, 0.1]]).T)
    targets = np.array([[0, 1, 1, 0, 1], [1, 0, 0, 0, np.nan]]).T
    assert worst(predictions, targets) == [
        Mistake("e", "x", True, 0.1, 0.0),
        Mistake("c", "x", True, 0.3, 0.4),
        Mistake("b", "x", True, 0.8, 0.6),
        Mistake("a", "x", False, 0.9, 0.8),
        Mistake("d", "x", False, 0.2, 0.2),
    ], "y is ranked without a mistake"
    assert [one.film for one in worst(predictions, targets, 1)] == ["e", "a"]


def test_a_film_below_one_other_is_not_above_all() -> None:
    """Rounded down to a tenth, here as on the page of suspects."""
    assert [told_share_below(share) for share in (0.9958, 0.99999, 0.29, 0.0)] == [
        "99.5 %",
        "99.9 %",
        "29.0 %",
        "0.0 %",
    ]
    assert "0.700, above that of 99.5 % of the films" in film_cards([Mistake("a", "x", False, 0.7, 0.9958)])


@pytest.mark.parametrize("seed", range(20))
def test_the_worst_films_are_those_of_a_loop_over_all_pairs(seed: int) -> None:
    """With ties, and films that are not labelled: each mistake is on the wrong side of a film of the other label."""
    rng = np.random.default_rng(seed)
    probabilities, targets = rng.integers(0, 8, (30, 1)) / 8, rng.choice([0, 1, np.nan], (30, 1), p=[0.6, 0.25, 0.15])
    ids = np.array([f"{row}.png" for row in range(30)], object)
    expected = set()
    for mine in range(30):
        for other in range(30):
            if (targets[mine], targets[other]) == (1, 0) and probabilities[mine] <= probabilities[other]:
                expected |= {(ids[mine], True), (ids[other], False)}
    found = worst(Predictions(ids, ("x",), probabilities), targets, 30)
    assert {(one.film, one.present) for one in found} == expected
    for present, sign in ((True, 1), (False, -1)):
        order = [sign * one.probability for one in found if one.present == present]
        assert order == sorted(order)


def test_cards_are_grouped_by_finding_and_their_words_can_be_searched() -> None:
    cards = film_cards(
        [Mistake("A.png", "Mass", True, 0.1, 0.2, "patient <7>"), Mistake("b", "Hernia", False, 0.9, 0.8)]
    )
    assert cards.count("<section class='group'>") == 2
    assert "data-words='a.png mass missed patient &lt;7&gt;'" in cards
    assert film_cards([]) == ""
