from pathlib import Path

import numpy as np
import pytest

from cxrlt_cli.errors import DataError, OptionError
from cxrlt_cli.tables.groupings import By, Grouping, crossed, grouped, read_by, years_of

CSV = Path("labels.csv")


def groups_of(by: By, cells: list[str]) -> list[str]:
    found = grouped(by, np.array(cells, object), CSV)
    return [found.names[place] for place in found.members]


def names_of(by: By, cells: list[str]) -> list[str]:
    return list(grouped(by, np.array(cells, object), CSV).names)


def test_how_a_film_was_taken_comes_before_whose_it_is() -> None:
    columns = ["ImageID", "PatientSex", "Ward", "ViewPosition", "PatientAge", "a:4"]
    typed = ["PatientSex", "Ward", "ViewPosition", "PatientAge:3", "a:4"]
    found = read_by(typed, CSV, columns)
    assert found == [By("ViewPosition"), By("Ward"), By("a:4"), By("PatientSex"), By("PatientAge", 3)]
    assert [one.text for one in found][-1] == "PatientAge:3"


def test_what_is_no_column_and_no_number_is_told() -> None:
    columns = ["ImageID", "PatientSex", "PatientAge"]
    with pytest.raises(DataError, match=r"labels\.csv has no column 'PatientGender'") as caught:
        read_by(["PatientGender"], CSV, columns)
    assert "--by" in caught.value.hint
    with pytest.raises(DataError, match="no column 'Age'"):
        read_by(["Age:4"], CSV, columns)
    for text in ("PatientAge:1", "PatientAge:21", "PatientAge:x", "PatientAge:"):
        with pytest.raises(OptionError, match=f"--by {text}: "):
            read_by([text], CSV, columns)
    with pytest.raises(OptionError, match="it takes one column") as told:
        read_by(["PatientSex,PatientAge"], CSV, columns)
    assert told.value.hint == "Repeat it: --by PatientSex --by PatientAge"
    with pytest.raises(OptionError, match="names a column twice"):
        read_by(["PatientAge", "PatientAge:4"], CSV, columns)


def test_ages_go_by_decades_as_soon_as_there_are_many() -> None:
    ages = [str(age) for age in range(5, 100, 5)]
    expected = [
        f"{10 * (int(age) // 10)}-{10 * (int(age) // 10) + 9}" if int(age) < 90 else "90 or older" for age in ages
    ]
    assert groups_of(By("PatientAge"), ages) == expected
    assert names_of(By("PatientAge"), ages[::-1])[:2] == ["0-9", "10-19"]
    assert names_of(By("PatientAge"), ages[::-1])[-1] == "90 or older"
    assert groups_of(By("PatientAge"), ages[:12]) == ages[:12], "a few are groups as they are"
    assert groups_of(By("Ward"), ages) == ages, "other numbers may be names"


def test_ages_of_dicom_are_years_and_what_is_none_stays() -> None:
    cells = [*(f"{age:03d}Y" for age in range(30, 42)), "018M", "", "unknown", "414", "NaN"]
    found = groups_of(By("PatientAge"), cells)
    assert found[:10] == ["30-39"] * 10
    assert found[12:] == ["0-9", "(empty)", "unknown", "above 120", "(empty)"]
    assert names_of(By("PatientAge"), cells) == ["0-9", "30-39", "40-49", "above 120", "unknown", "(empty)"]
    assert [years_of(cell) for cell in ("058Y", "58.0", "006M", "-1", "M")] == [58, 58, 0.5, None, None]


def test_quantiles_hold_about_as_many_films_each_and_keep_ties_together() -> None:
    numbers = np.random.default_rng(0).permutation(100)
    found = grouped(By("Dose", 4), np.array([f"{n / 10}" for n in numbers], object), CSV)
    assert found.names == ("0 to 2.4", "2.5 to 4.9", "5 to 7.4", "7.5 to 9.9")
    assert np.bincount(found.members).tolist() == [25] * 4
    for n, place in zip(numbers, found.members, strict=True):
        assert place == n // 25
    tied = groups_of(By("Dose", 2), ["1"] * 8 + ["2", "", "3"])
    assert tied == ["1"] * 8 + ["2 to 3", "(empty)", "2 to 3"]
    assert names_of(By("Dose", 3), ["-2", "-1", "10"]) == ["-2", "-1", "10"]
    assert names_of(By("PatientAge", 2), ["058Y", "024M"]) == ["2", "58"]


def test_a_quantile_of_text_is_an_error_that_names_it() -> None:
    with pytest.raises(DataError, match=r"labels\.csv: column 'Dose' holds 'high', which is no number; --by Dose:2"):
        grouped(By("Dose", 2), np.array(["1", "high"], object), CSV)


def test_columns_are_crossed_and_combinations_that_no_film_has_are_none() -> None:
    view = Grouping("View", ("AP", "PA"), np.array([1, 0, 1, 1, 0]))
    sex = Grouping("Sex", ("F", "M"), np.array([0, 1, 1, 0, 1]))
    found = [(names, rows.tolist()) for names, rows in crossed([view, sex])]
    assert found == [(("AP", "M"), [1, 4]), (("PA", "F"), [0, 3]), (("PA", "M"), [2])]
    assert [names for names, _ in crossed([sex])] == [("F",), ("M",)]
