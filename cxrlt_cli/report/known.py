"""What the program knows of a run, as answers to the items of cards: each with the file and key that it comes from."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cxrlt_cli.report.ledger import Ledger, plain
from cxrlt_cli.report.methods_text import model_sentences, partition_sentences, score_sentences, training_sentences
from cxrlt_cli.report.paper_groups import groups_told
from cxrlt_cli.report.paper_study import FACTS, FILMS, PREDICTIONS, TRAIN, Study
from cxrlt_cli.scores.metrics import prevalence


@dataclass(frozen=True)
class Answer:
    """A text, and where it comes from: a file of the report, and the key in it."""

    text: str
    source: str


def known(study: Study, ledger: Ledger, front: str) -> Mapping[str, Answer]:
    """Answers by the names that ``checklists.yaml`` uses; what is not known is not there. ``front``: of file names."""
    facts, films = f"data/{study.name}/{FACTS}", f"data/{study.name}/{FILMS}"
    answers = {
        "labels": Answer(_labels(study), f"{facts}: labels"),
        "missing": Answer(_missing(study, ledger), films),
        "predictors": Answer(
            "The pixel values of the radiograph alone; no clinical data, report or earlier film.", f"{facts}: options"
        ),
        "outputs": Answer(
            f"A probability for each of {_number(study, ledger)} findings: {', '.join(study.predictions.findings)}.",
            f"{facts}: findings",
        ),
        "characteristics": Answer(
            "Table 1: age, sex, view and findings, by part of the split.", f"tables/{front}table1.html"
        ),
        "findings": Answer("AP and AUROC of each finding.", f"tables/{front}findings.html"),
        "performance": Answer(_performance(study, ledger), f"tables/{front}findings.html"),
        "flow": Answer(
            "Films and patients: in the label file, excluded, and in each part of the split.",
            f"figures/{front}flow.svg",
        ),
        "metrics": Answer(score_sentences(study, ledger)[0], f"data/{study.name}/{PREDICTIONS}"),
        "failures": Answer(
            "Of each finding, the positive films with the lowest scores and the negative films with the highest.",
            "index.html: Missed and false alarms",
        ),
    }
    if study.facts["bootstrap"]:
        answers["uncertainty"] = Answer(score_sentences(study, ledger)[1], f"{facts}: bootstrap, seed")
    if groups := groups_told(study, ledger):
        answers["groups"] = Answer(groups, f"tables/{front}groups.html")
    if policy := study.facts.get("policy"):
        answers["policy"] = Answer(str(policy), f"{facts}: policy")
    return {**answers, **(_of_run(study, ledger, facts, films) if study.is_run else {})}


def _of_run(study: Study, ledger: Ledger, facts: str, films: str) -> dict[str, Answer]:
    model, training = model_sentences(study, ledger), training_sentences(study, ledger)
    partitions = " ".join(partition_sentences(study, ledger))
    answers = {
        "training": Answer(" ".join(filter(None, training.values())), f"{facts}: options"),
        "kept": Answer(training["kept"], f"{facts}: best"),
        "imbalance": Answer(
            _imbalance(study, training["loss"], ledger), f"{facts}: options.loss, options.sampler, options.logit_adjust"
        ),
    }
    if study.in_folds or TRAIN in study.parts:
        kind = "Cross-validation" if study.in_folds else "Held-out films, by which the epoch was chosen too"
        answers |= {
            "partitions": Answer(partitions, f"{facts}: options.folds, options.val_fraction, options.split_seed"),
            "internal": Answer(f"{kind}: {_performance(study, ledger)}", f"{facts}: kind"),
        }
        if study.facts["has_patients"]:
            answers["disjoint"] = Answer(_disjoint(study, ledger), films)
    if study.options.get("seeds"):
        answers["ensemble"] = Answer(training["seeds"], f"{facts}: options.seeds")
    if study.facts.get("model"):
        answers |= {
            "model": Answer(model["network"], f"{facts}: model"),
            "start": Answer(model["network"], f"{facts}: options.weights"),
            "films": Answer(" ".join(filter(None, (model["films"], model["augmented"]))), f"{facts}: model.films"),
        }
    if study.facts["weights"]:
        told = "; ".join(f"{file['name']} (SHA-256 {file['sha256']})" for file in study.facts["weights"])
        answers["weights"] = Answer(f"Weights: {told}.", f"{facts}: weights")
    if study.record is not None:
        versions = ", ".join(f"{name} {version}" for name, version in study.record["versions"].items())
        answers["software"] = Answer(f"{versions}.", f"{facts}: record.versions")
        answers["eligibility"] = Answer(_eligibility(study, ledger), f"{facts}: record, options.split, options.where")
    chosen = [f"--{name} {plain(study.options[name])}" for name in ("split", "where") if study.options.get(name)]
    if chosen:
        answers["selection"] = Answer(f"Rows of the labels by {' and '.join(chosen)}.", f"{facts}: options")
    return answers


def _number(study: Study, ledger: Ledger) -> str:
    return ledger.count("methods/findings", len(study.predictions.findings), FACTS, key="findings")


def _labels(study: Study) -> str:
    return "; ".join(f"{file['name']} (SHA-256 {file['sha256']})" for file in study.facts["labels"]) + "."


def _disjoint(study: Study, ledger: Ledger) -> str:
    parts: dict[str, set[str]] = {}
    for name, films in study.parts.items():
        for patient in set(study.table.patients[films]):
            parts.setdefault(str(patient), set()).add(name)
    number = ledger.count("cards/shared", sum(len(one) > 1 for one in parts.values()), FILMS,
                          metric="patients of several parts")  # fmt: skip
    return f"Patients. {number} of them have films in more than one part."


def _missing(study: Study, ledger: Ledger) -> str:
    absent = int(np.isnan(study.table.targets).sum())
    whole = ledger.count("cards/pairs", study.table.targets.size, FILMS, metric="films times findings")
    if not absent:
        return f"None of the {whole} labels (films times findings) is empty."
    number = ledger.count("cards/unlabelled", absent, FILMS, metric="empty cells of findings")
    return f"{number} of {whole} labels (films times findings) are empty; loss and scores leave them out."


def _eligibility(study: Study, ledger: Ledger) -> str:
    record = study.record
    assert record is not None, "asked for where there is one"
    read = ledger.count("flow/rows", record["num_rows"], FACTS, key="record.num_rows")
    taken = ledger.count("cards/taken", record["num_taken"], FACTS, key="record.num_taken")
    out = ledger.count("flow/excluded", record["num_excluded"], FACTS, key="record.num_excluded")
    return f"Of {read} films in the label file, {taken} were used; {out} were excluded by --exclude."


def _imbalance(study: Study, loss: str, ledger: Ledger) -> str:
    """How rare and how frequent findings are, and what was done about it."""
    shares = prevalence(study.table.targets)
    ends = [
        f"{ledger(f'cards/{name}', f'{100 * shares[place]:.1f} %', FILMS, metric='prevalence', finding=finding)} "
        f"({finding})"
        for name, place in (("rarest", int(np.argmin(shares))), ("commonest", int(np.argmax(shares))))
        for finding in [study.table.space.findings[place]]
    ]
    options = study.options
    plain_loss = (
        options.get("loss") == "bce" and options.get("sampler") == "uniform" and not options.get("logit_adjust")
    )
    done = "No method against class imbalance was used." if plain_loss else ""
    return " ".join(filter(None, (f"Prevalence ranges from {ends[0]} to {ends[1]}.", done, loss)))


def _performance(study: Study, ledger: Ledger) -> str:
    means, scores = study.scores.macro(), study.scores
    how = {}
    if number := study.facts["bootstrap"]:
        how["interval"] = f"bootstrap of patients, {number} resamples, seed {study.facts['seed']}"
    ap = ledger.score("macro/ap", means["ap"], scores.ap_ci, PREDICTIONS, metric="macro AP", **how)
    auroc = ledger.score("macro/auroc", means["auroc"], scores.auroc_ci, PREDICTIONS, metric="macro AUROC", **how)
    films = ledger.count("judged/films", len(study.predictions.ids), PREDICTIONS)
    return f"macro AP {ap}, macro AUROC {auroc}, on {films} films."
