"""Cards of a run: CLAIM 2024, TRIPOD+AI and a model card in Markdown, CHAI's applied model card in XML.

What is known is filled in, with its source; everything else stands under ``For the authors``, and is never made up.
"""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import as_file, files
from typing import Any
from xml.etree import ElementTree as Xml

from cxrlt_cli.documents import read_yaml
from cxrlt_cli.report.known import Answer, known
from cxrlt_cli.report.ledger import Ledger
from cxrlt_cli.report.paper_groups import group_aurocs
from cxrlt_cli.report.paper_study import PREDICTIONS, Study
from cxrlt_cli.scores.bootstrap import Interval

AUTHORS = "For the authors"
CHAI = "https://mc.chai.org/v0.2/schema.xsd"
ABOUT = (
    "Answers were filled in by cxrlt from the files that they name. Write below the last heading; what stands above it "
    "is checked by cxrlt report --verify."
)
# What a model card says (Mitchell et al., FAT* 2019), and which answers each of its sections has.
SECTIONS: Mapping[str, Sequence[str]] = {
    "Model details": ("model", "films", "training", "software", "weights"),
    "Factors": ("groups",),
    "Metrics": ("metrics", "uncertainty"),
    "Evaluation data": ("labels", "internal", "disjoint"),
    "Training data": ("partitions", "characteristics", "missing", "policy"),
    "Quantitative analyses": ("performance", "findings", "groups", "failures"),
}
OPEN_SECTIONS = (
    "Model details: developers, date, version, licence, contact",
    "Intended use: uses, users, what is out of scope",
    "Factors: other groups, instruments and environments that matter",
    "Metrics: why these, and decision thresholds",
    "Ethical considerations",
    "Caveats and recommendations",
)


def card_files(study: Study, cards: Sequence[str], ledger: Ledger, front: str = "") -> dict[str, str]:
    """The text of each card by its file name. ``front``: of the names of tables and figures of this run."""
    if not cards:
        return {}
    answers = known(study, ledger, front)
    made = {}
    for name in cards:
        if name == "chai":
            made["chai.xml"] = chai(study, answers)
        elif name == "model":
            made["model.md"] = model_card(study, answers, ledger)
        else:
            made[f"{name}.md"] = checklist(name, study.name, answers)
    return made


def checklists() -> dict[str, Any]:
    """Items of every checklist: number, what is asked, and the name of its answer where it can have one."""
    with as_file(files(__package__) / "checklists.yaml") as path:
        content: dict[str, Any] = read_yaml(path)
    return content


def checklist(name: str, run: str, answers: Mapping[str, Answer]) -> str:
    content = checklists()[name]
    filled, left = [], []
    for number, asked, *names in content["items"]:
        mine = [answers[one] for one in names if one in answers]
        if not mine:
            left.append(f"- **{number}** {asked}:")
        else:
            cells = (asked, " ".join(one.text for one in mine), "; ".join(one.source for one in mine))
            filled.append(f"| {number} | {' | '.join(map(_cell, cells))} |")
    return "\n".join(
        [
            f"# {content['title']}: {run}",
            "",
            f"Numbers of items: {content['source']}. What they ask for is put in our own words. {ABOUT}",
            "",
            "| Item | Asked for | Answer | From |",
            "| --- | --- | --- | --- |",
            *filled,
            "",
            f"## {AUTHORS}",
            "",
            *left,
            "",
        ]
    )


def model_card(study: Study, answers: Mapping[str, Answer], ledger: Ledger) -> str:
    """With the header that Hugging Face reads: tags, and results as a ``model-index``."""
    means = study.scores.macro()
    metrics = []
    for name, kind, title in (("ap", "average_precision", "macro AP"), ("auroc", "roc_auc", "macro AUROC")):
        if means[name] is not None:
            value = ledger(f"card/{name}", f"{means[name]:.3f}", PREDICTIONS, metric=title)
            metrics.append({"type": kind, "name": title, "value": float(value)})
    label = study.facts["labels"][0]["name"]
    results = {
        "task": {"type": "image-classification", "name": "multi-label classification"},
        "dataset": {"type": label, "name": label},
        "metrics": metrics,
    }
    lines = [
        "---",
        f"license: unknown  # {AUTHORS}",
        "pipeline_tag: image-classification",
        "tags: [chest-x-ray, multi-label, long-tailed, cxrlt]",
        f"model-index: {json.dumps([{'name': study.name, 'results': [results]}], indent=2)}",  # JSON is YAML
        "---",
        "",
        f"# {study.name}",
        "",
        f"Research software, not a medical device. {ABOUT}",
        "",
    ]
    for title, names in SECTIONS.items():
        told = [f"- {answers[name].text} ({answers[name].source})" for name in names if name in answers]
        lines += [f"## {title}", "", *(told or ["Not recorded."]), ""]
    lines += [f"## {AUTHORS}", "", *(f"- {section}:" for section in OPEN_SECTIONS), ""]
    return "\n".join(lines)


def chai(study: Study, answers: Mapping[str, Answer]) -> str:
    """An instance of the schema v0.2 of CHAI's applied model card, every element that it requires."""
    told = {
        "BasicInfo/ModelName": study.name,
        "ReleaseInfo/ReleaseStage": "Research; not a medical device",
        "ModelSummary/Summary": _text(answers, "model", "outputs"),
        "TrustIngredients/AISystemFacts/OutcomesAndOutputs": _text(answers, "outputs"),
        "TrustIngredients/AISystemFacts/ModelType": _text(answers, "model", "training"),
        "TrustIngredients/AISystemFacts/InputDataSource": _text(answers, "labels"),
        "TrustIngredients/AISystemFacts/OutputAndInputDataTypes": _text(answers, "predictors", "outputs"),
        "TrustIngredients/AISystemFacts/DevelopmentDataCharacterization": _text(answers, "partitions", "missing"),
    }
    measured = ["UsefulnessUsabilityEfficacy", "SafetyReliability"]
    for metric in [*measured, "FairnessEquity"] if "groups" in answers else measured:
        told[f"KeyMetrics/{metric}/TestingDataDescription"] = _text(answers, "labels", "characteristics")
        told[f"KeyMetrics/{metric}/ValidationProcessAndJustification"] = _text(answers, "metrics", "uncertainty")
    root = Xml.Element("AppliedModelCard", xmlns=CHAI)
    for path in ELEMENTS:
        parent, parts = root, path.split("/")
        for part in parts[:-1]:
            found = parent.find(part)
            parent = Xml.SubElement(parent, part) if found is None else found
        element = Xml.SubElement(parent, parts[-1])
        if parts[-1] == "Results":
            for label, value in _results(study, parts[1]):
                result = Xml.SubElement(element, "MetricResult")
                Xml.SubElement(result, "Label").text = label
                Xml.SubElement(result, "ValueJson").text = json.dumps(value)
        elif parts[-1] == "Keywords":
            for word in ("chest radiograph", "multi-label classification", "long-tailed"):
                Xml.SubElement(element, "Keyword").text = word
        else:
            element.text = told.get(path) or f"{AUTHORS}."
    Xml.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{Xml.tostring(root, encoding="unicode")}\n'


def _results(study: Study, kind: str) -> list[tuple[str, dict[str, Any]]]:
    means, scores = study.scores.macro(), study.scores
    pairs: list[tuple[str, float | None, Interval | None]] = []
    if kind == "UsefulnessUsabilityEfficacy":
        pairs = [("Macro AP", means["ap"], scores.ap_ci), ("Macro AUROC", means["auroc"], scores.auroc_ci)]
    elif kind == "FairnessEquity":
        pairs = list(group_aurocs(study))
    elif kind == "SafetyReliability":
        pairs = [("Expected calibration error, macro", means["ece"], None)]
    found = [(label, _value(value, bounds)) for label, value, bounds in pairs if value is not None]
    return found or [(f"{AUTHORS}.", {})]


def _value(value: float, bounds: Interval | None) -> dict[str, Any]:
    if bounds is None:
        return {"kind": "single", "value": round(value, 3)}
    low, high = (round(bound, 3) for bound in bounds)
    return {"kind": "estimate_ci", "estimate": round(value, 3), "lower": low, "upper": high, "level": 95}


def _text(answers: Mapping[str, Answer], *names: str) -> str:
    return " ".join(answers[name].text for name in names if name in answers)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


_METRIC = ("MetricGoal", "Results", "Interpretation", "TestType", "TestingDataDescription",
           "ValidationProcessAndJustification")  # fmt: skip
# The elements that the schema requires, in its order.
ELEMENTS = (
    *(f"BasicInfo/{name}" for name in ("ModelName", "ModelDeveloper", "DeveloperContact")),
    *(f"ReleaseInfo/{name}" for name in ("ReleaseStage", "ReleaseDate", "ReleaseVersion", "GlobalAvailability")),
    *(f"ModelSummary/{name}" for name in ("Summary", "Keywords")),
    *(
        f"UsesAndDirections/{name}"
        for name in ("IntendedUseAndWorkflow", "PrimaryIntendedUsers", "HowToUse", "TargetedPatientPopulation",
                     "CautionedOutOfScopeSettings")
    ),
    *(
        f"Warnings/{name}"
        for name in ("KnownRisksAndLimitations", "KnownBiasesOrEthicalConsiderations", "ClinicalRiskLevel")
    ),
    *(
        f"TrustIngredients/AISystemFacts/{name}"
        for name in ("OutcomesAndOutputs", "ModelType", "InputDataSource", "OutputAndInputDataTypes",
                     "DevelopmentDataCharacterization", "BiasMitigationApproaches", "OngoingMaintenance")
    ),
    *(f"TrustIngredients/TransparencyInformation/{name}" for name in ("FundingSource", "StakeholdersConsulted")),
    *(
        f"KeyMetrics/{metric}/{name}"
        for metric in ("UsefulnessUsabilityEfficacy", "FairnessEquity", "SafetyReliability")
        for name in _METRIC
    ),
    *(f"Resources/{name}" for name in ("PeerReviewedPublications", "PatientConsentOrDisclosure")),
    "Bibliography",
)  # fmt: skip
