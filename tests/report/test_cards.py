import re
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest
import yaml
from huggingface_hub import ModelCard

from cxrlt_cli.report.cards import AUTHORS, CHAI, card_files, checklists
from cxrlt_cli.report.known import known
from cxrlt_cli.report.ledger import Ledger
from cxrlt_cli.report.paper_study import Study

# The elements of CHAI's schema v0.2, each a sequence, those that may be left out not among them.
CHAI_ELEMENTS = {
    "AppliedModelCard": "BasicInfo ReleaseInfo ModelSummary UsesAndDirections Warnings TrustIngredients KeyMetrics "
    "Resources Bibliography",
    "BasicInfo": "ModelName ModelDeveloper DeveloperContact",
    "ReleaseInfo": "ReleaseStage ReleaseDate ReleaseVersion GlobalAvailability",
    "ModelSummary": "Summary Keywords",
    "UsesAndDirections": "IntendedUseAndWorkflow PrimaryIntendedUsers HowToUse TargetedPatientPopulation "
    "CautionedOutOfScopeSettings",
    "Warnings": "KnownRisksAndLimitations KnownBiasesOrEthicalConsiderations ClinicalRiskLevel",
    "TrustIngredients": "AISystemFacts TransparencyInformation",
    "AISystemFacts": "OutcomesAndOutputs ModelType InputDataSource OutputAndInputDataTypes "
    "DevelopmentDataCharacterization BiasMitigationApproaches OngoingMaintenance",
    "TransparencyInformation": "FundingSource StakeholdersConsulted",
    "KeyMetrics": "UsefulnessUsabilityEfficacy FairnessEquity SafetyReliability",
    "MetricResult": "Label ValueJson",
    "Resources": "PeerReviewedPublications PatientConsentOrDisclosure",
}
METRIC = "MetricGoal Results Interpretation TestType TestingDataDescription ValidationProcessAndJustification"


@pytest.fixture(scope="module")
def study(reported: Path) -> Study:
    return Study.read(reported / "data" / "first", 0)


def test_checklists_have_the_items_of_the_published_ones() -> None:
    items = {name: [number for number, *_ in content["items"]] for name, content in checklists().items()}
    assert items["claim"] == [str(number) for number in range(1, 45)]
    tripod = items["tripod-ai"]
    assert len(tripod) == len(set(tripod)) == 52
    assert list(dict.fromkeys(int(re.sub("[a-z]", "", number)) for number in tripod)) == list(range(1, 28))
    letters = {3: 3, 5: 2, 6: 3, 8: 3, 9: 3, 12: 7, 18: 6, 20: 3, 23: 2, 27: 3}
    for number, many in letters.items():
        assert [one for one in tripod if re.fullmatch(f"{number}[a-z]", one)] == [
            f"{number}{c}" for c in "abcdefg"[:many]
        ]


def test_every_answer_that_an_item_may_have_is_one_of_the_program(study: Study) -> None:
    asked = {one for content in checklists().values() for item in content["items"] for one in item[2:]}
    given = set(known(study, Ledger("first"), ""))
    assert given <= asked | {"outputs", "predictors"}
    assert asked - given == {"policy", "selection", "ensemble", "groups"}  # of other labels, rows, seeds, films


@pytest.mark.parametrize("name", ["claim", "tripod-ai"])
def test_an_item_is_answered_with_its_source_or_left_to_the_authors(study: Study, reported: Path, name: str) -> None:
    text = card_files(study, [name], Ledger("first"))[f"{name}.md"]
    above, below = text.split(f"## {AUTHORS}")
    numbers = [number for number, *_ in checklists()[name]["items"]]
    filled, left = re.findall(r"^\| (\w+) \|", above, re.M), re.findall(r"^- \*\*(\w+)\*\*", below, re.M)
    assert sorted([*filled[1:], *left]) == sorted(numbers)
    for line in above.splitlines():
        if re.match(r"\| \d", line):
            source = line.split(" | ")[-1].rstrip(" |").partition(":")[0]
            assert (reported / source).is_file(), source


def test_a_model_card_has_a_header_that_hugging_face_reads(study: Study) -> None:
    ledger = Ledger("first")
    text = card_files(study, ["model"], ledger)["model.md"]
    data = ModelCard(text).data
    (ap, auroc) = data.eval_results  # type: ignore[attr-defined]
    assert (ap.metric_type, auroc.metric_type) == ("average_precision", "roc_auc")
    assert f"{ap.metric_value:.3f}" == ledger.entries["first/card/ap"]["value"]
    assert yaml.safe_load(text.split("---")[1])["license"] == "unknown"
    for title in ("Model details", "Metrics", "Evaluation data", "Training data", "Quantitative analyses", AUTHORS):
        assert f"\n## {title}\n" in text


def test_chais_card_has_every_element_in_its_order(study: Study) -> None:
    root = Xml.fromstring(card_files(study, ["chai"], Ledger("first"))["chai.xml"])
    metrics = dict.fromkeys(("UsefulnessUsabilityEfficacy", "FairnessEquity", "SafetyReliability"), METRIC)
    wanted = {**CHAI_ELEMENTS, **metrics}
    for element in root.iter():
        name = element.tag.removeprefix(f"{{{CHAI}}}")
        assert name != element.tag
        if name in wanted:
            assert [child.tag.removeprefix(f"{{{CHAI}}}") for child in element] == wanted[name].split(), name
        assert name in wanted or name in ("Keywords", "Results") or element.text


def test_what_is_not_known_is_not_made_up(reported: Path, study: Study) -> None:
    bare = Study(
        study.name, {**study.facts, "options": {}, "record": None, "model": None, "weights": [], "kind": "predictions"},
        study.films, study.table, study.predictions, study.truth, study.scores, None,
    )  # fmt: skip
    answers = known(bare, Ledger("first"), "")
    assert not set(answers) & {"model", "training", "software", "eligibility", "partitions", "internal", "weights"}
    text = card_files(bare, ["claim"], Ledger("first"))["claim.md"]
    assert "- **22**" in text.split(f"## {AUTHORS}")[1]
