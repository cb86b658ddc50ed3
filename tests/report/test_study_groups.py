import numpy as np

from cxrlt_cli.report.study_groups import AGE_GROUPS, _by_age


def test_ages_go_into_three_groups_and_what_is_none_is_not_known() -> None:
    cells = np.array(["39", "40", "058Y", "59.9", "60", "018M", "", "old"], object)
    grouping = _by_age(cells)
    assert [grouping.names[place] for place in grouping.members] == [
        "below 40", "40 to 59", "40 to 59", "40 to 59", "60 or older", "below 40", "(empty)", "(empty)"
    ]  # fmt: skip
    assert grouping.names == AGE_GROUPS
