from dataclasses import replace

from cxrlt_cli.report.group_tables import tables_of
from cxrlt_cli.scores.differences import Difference
from cxrlt_cli.scores.groups import GroupComparison, GroupStanding, Standing

PA = GroupStanding("View PA", None, 1200, 400, Standing(0.4, 0.8), (Standing(0.4, 0.8),))
WORSE = Standing(0.3, 0.75, Difference(-0.1, (-0.15, -0.05), 0.0002, 0.0004), Difference(-0.05, None, 0.2, 0.2))
AP = GroupStanding("View AP", "View PA", 300, 100, WORSE, (WORSE,))
BOTH = GroupComparison(("View",), ("Mass",), (0.021,), (PA, AP), ())


def test_a_group_has_a_line_of_ap_and_one_of_auroc_beside_its_reference() -> None:
    means, by_finding = tables_of(BOTH, "Scores", by_finding=True)
    assert means.rows == [
        ("View PA", "1,200", "400", "AP", "0.400", "reference", ""),
        ("", "", "", "AUROC", "0.800", "reference", ""),
        ("View AP", "300", "100", "AP", "0.300", "-0.100 (-0.150 to -0.050)", "< 0.001"),
        ("", "", "", "AUROC", "0.750", "-0.050", "0.200"),
    ]
    assert means.note.endswith("Differences are from the reference; p counts 2 comparisons.")
    assert by_finding.rows[0][:3] == ("Mass", "2.1 %", "View PA")
    assert by_finding.rows[2][:3] == ("", "", "View AP")


def test_what_cannot_be_compared_is_said() -> None:
    assert tables_of(replace(BOTH, groups=()), "Scores") == []
    (alone,) = tables_of(replace(BOTH, groups=(PA,)), "Scores")
    assert alone.note.endswith("There is no second group to compare.")
    empty = replace(PA, macro=None, findings=())
    (table,) = tables_of(replace(BOTH, findings=(), prevalences=(), groups=(empty,)), "Scores", by_finding=True)
    assert table.rows == [("View PA", "1,200", "400", "–", "–", "", "")]
    assert table.note.endswith("so nothing can be compared.")
