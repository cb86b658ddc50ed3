"""What the program knows of a run, as answers to the items of cards: each with the file and key that it comes from."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cxrlt_cli.report.ledger import Ledger, plain
from cxrlt_cli.report.methods_text import model_sentences, partition_sentences, score_sentences, training_sentences
from cxrlt_cli.report.paper_study import FACTS, FILMS, PREDICTIONS, TRAIN, Study


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
        "predictors": Answer("The levels of the film; nothing else is read.", f"{facts}: options"),
        "outputs": Answer(
            f"A probability for each of {_number(study, ledger)} findings: {', '.join(study.predictions.findings)}.",
            f"{facts}: findings",
        ),
        "characteristics": Answer("Table 1, by part of the split.", f"tables/{front}table1.html"),
        "findings": Answer("Each finding with its interval.", f"tables/{front}findings.html"),
        "performance": Answer(_performance(study, ledger), f"tables/{front}findings.html"),
        "flow": Answer("Films and patients, read, left out and divided.", f"figures/{front}flow.svg"),
        "metrics": Answer(score_sentences(study, ledger)[0], f"data/{study.name}/{PREDICTIONS}"),
        "failures": Answer("Positives ranked lowest and negatives ranked highest.", "index.html: Worst films"),
    }
    if study.facts["bootstrap"]:
        answers["uncertainty"] = Answer(score_sentences(study, ledger)[1], f"{facts}: bootstrap, seed")
    if policy := study.facts.get("policy"):
        answers["policy"] = Answer(str(policy), f"{facts}: policy")
    return {**answers, **(_of_run(study, ledger, facts, films) if study.is_run else {})}


def _of_run(study: Study, ledger: Ledger, facts: str, films: str) -> dict[str, Answer]:
    model, training = model_sentences(study, ledger), training_sentences(study, ledger)
    partitions = " ".join(partition_sentences(study, ledger))
    answers = {
        "training": Answer(" ".join(filter(None, training.values())), f"{facts}: options"),
        "kept": Answer(training["kept"], f"{facts}: best"),
        "imbalance": Answer(training["loss"], f"{facts}: options.loss, options.sampler"),
    }
    if study.in_folds or TRAIN in study.parts:
        kind = "out of fold" if study.in_folds else "on films held out, by which the epoch was chosen too"
        answers |= {
            "partitions": Answer(partitions, f"{facts}: options.folds, options.val_fraction, options.split_seed"),
            "internal": Answer(f"Judged {kind}: {_performance(study, ledger)}", f"{facts}: kind"),
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
    return f"At the level of patients: {number} have films in more than one part."


def _missing(study: Study, ledger: Ledger) -> str:
    absent = int(np.isnan(study.table.targets).sum())
    number = ledger.count("cards/unlabelled", absent, FILMS, metric="empty cells of findings")
    whole = ledger.count("cards/pairs", study.table.targets.size, FILMS, metric="films times findings")
    return f"{number} of {whole} labels (films times findings) are empty; neither the loss nor a score counts them."


def _eligibility(study: Study, ledger: Ledger) -> str:
    record = study.record
    assert record is not None, "asked for where there is one"
    read = ledger.count("flow/rows", record["num_rows"], FACTS, key="record.num_rows")
    taken = ledger.count("cards/taken", record["num_taken"], FACTS, key="record.num_taken")
    out = ledger.count("flow/excluded", record["num_excluded"], FACTS, key="record.num_excluded")
    return f"Of {read} rows of the labels {taken} were taken; {out} were left out by --exclude."


def _performance(study: Study, ledger: Ledger) -> str:
    means, scores = study.scores.macro(), study.scores
    how = {}
    if number := study.facts["bootstrap"]:
        how["interval"] = f"bootstrap of patients, {number} resamples, seed {study.facts['seed']}"
    ap = ledger.score("macro/ap", means["ap"], scores.ap_ci, PREDICTIONS, metric="macro AP", **how)
    auroc = ledger.score("macro/auroc", means["auroc"], scores.auroc_ci, PREDICTIONS, metric="macro AUROC", **how)
    films = ledger.count("judged/films", len(study.predictions.ids), PREDICTIONS)
    return f"macro AP {ap}, macro AUROC {auroc}, on {films} films."
