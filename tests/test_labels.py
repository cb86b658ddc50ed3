import pytest

from cxrlt_cli.labels import CXR_LT_2026, UNSEEN, LabelSpace, band


def test_the_challenges_vocabulary() -> None:
    assert len(CXR_LT_2026) == 30
    assert CXR_LT_2026[0] == "Normal"
    assert CXR_LT_2026[19] == "pneumoperitoneo"
    assert UNSEEN == ("Scoliosis", "Osteopenia", "Bulla", "Infarction", "Adenopathy", "goiter")
    assert not set(CXR_LT_2026) & set(UNSEEN)


def test_the_normal_finding_is_told_by_name() -> None:
    assert LabelSpace.of(CXR_LT_2026).normal == "Normal"
    assert LabelSpace.of(["Mass", "No Finding"]).normal == "No Finding"
    assert LabelSpace.of(UNSEEN).normal is None


@pytest.mark.parametrize(("prevalence", "name"), [
    (0.4, "head"), (0.1001, "head"), (0.10, "medium"), (0.01, "medium"), (0.0099, "tail"), (0.0, "tail"),
])  # fmt: skip
def test_bands(prevalence: float, name: str) -> None:
    assert band(prevalence) == name


@pytest.mark.parametrize(
    "name", ["Normal", "normal", "NORMAL", "No Finding", "No finding", "no_finding", "No Findings"]
)
def test_normal_is_known_in_any_spelling_and_keeps_its_own(name: str) -> None:
    assert LabelSpace.of(["Mass", name]).normal == name
    assert LabelSpace.of(["Mass", name, "Support Devices", "support_devices"]).devices == (
        "Support Devices", "support_devices",
    )  # fmt: skip


def test_normal_goes_before_no_finding() -> None:
    assert LabelSpace.of(["no finding", "normal"]).normal == "normal"
    assert LabelSpace.of(["abnormal", "Not normal"]).normal is None
