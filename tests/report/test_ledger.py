import pytest

from cxrlt_cli.report.ledger import Ledger, plain


def test_what_is_printed_is_noted_with_where_it_comes_from() -> None:
    ledger = Ledger()
    mine = ledger.of("linear")
    assert mine.count("films", 1234, "films.csv") == "1,234"
    assert mine.share("tail", 12, 353, "films.csv") == "12 (3.4 %)"
    assert mine.share("none", 0, 0, "films.csv") == "0"
    assert mine.score("ap", 0.4121, (0.38, 0.4471), "predictions.csv") == "0.412 (0.380 to 0.447)"
    assert mine.score("unknown", None, None, "predictions.csv") == "–"
    assert mine.options([("lr", 1e-05)]) == ["1e-05"]
    assert set(ledger.entries) == {f"linear/{name}" for name in ("films", "tail", "none", "ap", "options/lr")}
    assert ledger.entries["linear/films"] == {
        "value": "1,234", "source": "data/linear/films.csv", "metric": "count"
    }  # fmt: skip


def test_one_number_is_not_printed_in_two_ways() -> None:
    ledger = Ledger()
    ledger.count("films", 3, "films.csv")
    ledger.count("films", 3, "films.csv")
    with pytest.raises(AssertionError, match="films is printed in two ways"):
        ledger.count("films", 4, "films.csv")


def test_values_of_yaml_are_plain_text() -> None:
    assert plain({"gamma_neg": 4.0, "views": ["a", "b"]}) == "gamma_neg 4, views a, b"
