"""``--where``: what is a condition, and what is told where it is none."""

from decimal import Decimal

import pytest

from cxrlt_cli.config import TrainOptions
from cxrlt_cli.config.conditions import Comparison, Joined, Not, Value, columns_of, parse

PA = Value("PA")


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("ViewPosition == PA", Comparison("ViewPosition", "==", (PA,))),
        ("ViewPosition=PA", Comparison("ViewPosition", "==", (PA,))),
        ("'View Position' != `PA`", Comparison("View Position", "!=", (PA,))),
        ("Age>=18", Comparison("Age", ">=", (Value("18", Decimal(18)),))),
        ("Age == '18'", Comparison("Age", "==", (Value("18"),))),
        ("View IN (PA, 'A P')", Comparison("View", "in", (PA, Value("A P")))),
        ("View not in (PA)", Comparison("View", "not in", (PA,))),
        ("not View == PA", Not(Comparison("View", "==", (PA,)))),
        ("Geschlecht == weiblich/ä", Comparison("Geschlecht", "==", (Value("weiblich/ä"),))),
    ],
)
def test_what_is_read(text: str, tree: object) -> None:
    assert parse(text) == tree


def test_and_binds_before_or_and_brackets_before_both() -> None:
    a, b, c = (Comparison(name, "==", (Value("x"),)) for name in "abc")
    assert parse("a == x or b == x and c == x") == Joined("or", (a, Joined("and", (b, c))))
    assert parse("(a == x or b == x) and c == x") == Joined("and", (Joined("or", (a, b)), c))
    assert columns_of(parse("a == x or b == x and not a == y")) == ("a", "b")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "its end of"),
        ("View", "its end of .View., where ==, !=, <, <=, >, >= or in is expected"),
        ("View ==", "a value is expected"),
        ("View == PA AP", "'AP' at character 12"),
        ("View in PA", "'[(]' is expected"),
        ("View in (PA", "'[)]' is expected"),
        ("(View == PA", "'[)]' is expected"),
        ("Age > old", "> compares with a number"),
        ("18 <= Age <= 65", "a column stands on the left, as in PatientAge >= 18"),
        ("No Finding == 1", "a name with spaces stands between quotes"),
        ("View == 'PA", "a quote that is not closed at character 9"),
        ("and == PA", "a column is expected"),
        ("View ! PA", "'!' at character 6"),
        ("__import__('os')", "'os' at|'[(]' at"),
        ("not " * 60 + "a == b", "more than 50"),
        ("(" * 5000 + "a == b", "more than 50"),
    ],
)
def test_what_is_told(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse(text)


def test_a_command_refuses_it_before_anything_is_read() -> None:
    with pytest.raises(ValueError, match="a value is expected"):
        TrainOptions.model_validate({"csv": "labels.csv", "where": "View =="})
