"""The tables of a report, each cell a text whose number stands in the ledger."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.report.ledger import Ledger
from cxrlt_cli.report.paper_study import DATA, FACTS, FILMS, PREDICTIONS, RUN, Study, told_part
from cxrlt_cli.report.plain_table import Table
from cxrlt_cli.report.score_texts import told_apart
from cxrlt_cli.report.study_groups import AGE, SEX, VIEW
from cxrlt_cli.scores.differences import Difference, told_p
from cxrlt_cli.scores.metrics import MIN_POSITIVES
from cxrlt_cli.scores.run_comparison import Compared, Seeds, compare_runs
from cxrlt_cli.tables.chosen import number_in

NOT_RECORDED = "not recorded"
ALL = "All films"


def findings_table(study: Study, ledger: Ledger) -> Table:
    """Scores of each finding, the most frequent first, and their means."""
    seed, number = study.facts["seed"], study.facts["bootstrap"]
    how = {"interval": f"bootstrap of patients, {number} resamples, seed {seed}"} if number else {}
    scores = study.scores
    rows = []
    for finding in (one for band in scores.by_band().values() for one in band):
        at = f"findings/{finding.name}"
        about = {"finding": finding.name, **how}
        rows.append(
            (
                finding.name,
                ledger.count(f"{at}/positives", finding.positives, FILMS, finding=finding.name),
                ledger(f"{at}/prevalence", f"{100 * finding.prevalence:.1f} %", FILMS, metric="prevalence",
                       finding=finding.name),
                ledger.score(f"{at}/ap", finding.ap, finding.ap_ci, PREDICTIONS, metric="AP", **about),
                ledger.score(f"{at}/auroc", finding.auroc, finding.auroc_ci, PREDICTIONS, metric="AUROC", **about),
            )
        )  # fmt: skip
    means = scores.macro()
    scored = [finding for finding in scores.findings if finding.positives]
    chance = float(np.mean([finding.prevalence for finding in scored])) if scored else 0.0
    rows.append(
        (
            ledger("findings/number", f"Mean of {len(scored)}", FILMS, metric="count of findings with a positive"),
            ledger.count("findings/positives", sum(one.positives for one in scored), FILMS),
            ledger("findings/prevalence", f"{100 * chance:.1f} %", FILMS, metric="mean prevalence"),
            ledger.score("macro/ap", means["ap"], scores.ap_ci, PREDICTIONS, metric="macro AP", **how),
            ledger.score("macro/auroc", means["auroc"], scores.auroc_ci, PREDICTIONS, metric="macro AUROC", **how),
        )
    )
    note = "AP: average precision; its chance level is the prevalence. Chance level of AUROC: 0.5."
    if number:
        note += (
            " In brackets: 95 % confidence intervals by bootstrap over patients, about the score, with the bias "
            f"of resampling in their width; none for findings of fewer than {MIN_POSITIVES} patients."
        )
    columns = ("Finding", "Positives", "Prevalence", "AP", "AUROC")
    return Table(f"Scores of {study.name}, {told_kind(study)}", columns, rows, note)


def told_kind(study: Study) -> str:
    how = {"out of fold": " in cross-validation", "validation": " held out"}.get(study.facts["kind"], "")
    return f"{len(study.predictions.ids):,} films{how}"


def characteristics_table(study: Study, ledger: Ledger) -> Table:
    """Table 1: films and patients of each part of the split, by age, sex, view and finding."""
    groups = {ALL: np.ones(len(study.table), bool), **(study.parts if len(study.parts) > 1 else {})}
    rows = [("Films", *(ledger.count(f"table1/{name}/films", int(films.sum()), FILMS, part=name)
                        for name, films in groups.items()))]  # fmt: skip
    rows.append(("Patients", *(_patients(study, name, films, ledger) for name, films in groups.items())))
    rows.append(("Age in years, median (quartiles)", *_ages(study, groups, ledger)))
    for title, column in (("Sex", SEX), ("View", VIEW)):
        rows += _by_value(title, study.cells(column), groups, ledger)
    for place, name in enumerate(study.table.space.findings):
        labels = study.table.targets[:, place]
        cells = []
        for group, films in groups.items():
            mine = labels[films]
            labelled = int((~np.isnan(mine)).sum())
            cells.append(
                ledger.share(f"table1/{group}/{name}", int((mine == 1).sum()), labelled, FILMS, part=group,
                             finding=name)
            )  # fmt: skip
        rows.append((name, *cells))
    note = "Numbers of films; shares are of the films whose age, sex or view is known, or that are labelled."
    columns = ("", *(name if name == ALL else told_part(name) for name in groups))
    return Table(f"Table 1: films of {study.name} by part of the split", columns, rows, note)


def _patients(study: Study, name: str, films: NDArray[np.bool_], ledger: Ledger) -> str:
    number = study.num_patients(films)
    return NOT_RECORDED if number is None else ledger.count(f"table1/{name}/patients", number, FILMS, part=name)


def _ages(study: Study, groups: dict[str, NDArray[np.bool_]], ledger: Ledger) -> list[str]:
    cells = study.cells(AGE)
    if cells is None:
        return [NOT_RECORDED] * len(groups)
    ages = np.array([np.nan if (age := number_in(cell)) is None else float(age) for cell in cells])
    told = []
    for name, films in groups.items():
        known = ages[films & ~np.isnan(ages)]
        if not len(known):
            told.append(NOT_RECORDED)
            continue
        low, middle, high = np.percentile(known, (25, 50, 75))
        text = f"{middle:.0f} ({low:.0f} to {high:.0f})"
        text += f"; {int(films.sum()) - len(known):,} not known" if len(known) < films.sum() else ""
        told.append(ledger(f"table1/{name}/age", text, FILMS, metric="median and quartiles of PatientAge", part=name))
    return told


def _by_value(
    title: str, cells: NDArray[np.object_] | None, groups: dict[str, NDArray[np.bool_]], ledger: Ledger
) -> list[tuple[str, ...]]:
    if cells is None or not any(cells):
        return [(title, *([NOT_RECORDED] * len(groups)))]
    rows = []
    for value in sorted(set(cells), key=lambda cell: (cell == "", cell)):
        shown = [
            ledger.share(f"table1/{name}/{title}/{value}", int((films & (cells == value)).sum()),
                         int((films & (cells != "")).sum()) if value else 0, FILMS, part=name)
            for name, films in groups.items()
        ]  # fmt: skip
        rows.append((f"{title}: {value or 'not known'}", *shown))
    return rows


def disjointness_table(study: Study, ledger: Ledger) -> Table:
    """What each two parts of the split share: patients, ids and, where films were read, their pixels."""
    copies = study.facts.get("copies")
    rows = []
    for (one, mine), (other, theirs) in combinations(study.parts.items(), 2):
        at = f"disjoint/{one}/{other}"
        patients = (
            ledger.count(f"{at}/patients", _shared(study.table.patients, mine, theirs), FILMS, parts=[one, other])
            if study.facts["has_patients"]
            else NOT_RECORDED
        )
        ids = ledger.count(f"{at}/films", _shared(study.table.ids, mine, theirs), FILMS, parts=[one, other])
        pixels = [NOT_RECORDED] * 2
        if copies is not None:
            found = copies["pairs"].get(f"{one} {other}", {})
            pixels = [
                ledger.count(f"{at}/{kind}", found.get(kind, 0), FACTS, key=f"copies.pairs.{one} {other}.{kind}")
                for kind in ("identical", "alike")
            ]
        rows.append((f"{told_part(one)} and {told_part(other).lower()}", patients, ids, *pixels))
    note = (
        "Identical films: every pixel is the same; near duplicates: fingerprints of 256 bits differ in few."
        if copies
        else "Copies were not looked for: cxrlt report --copies reads the films."
    )
    columns = ("Parts", "Patients in both", "Film ids in both", "Identical films", "Near duplicates")
    return Table(f"Disjointness of the split of {study.name}", columns, rows, note)


def _shared(values: NDArray[np.object_], mine: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> int:
    return len(set(values[mine]) & set(values[theirs]))


def provenance_table(study: Study, ledger: Ledger) -> Table:
    """Versions, commands and hashes, each with the key it stands under."""
    record = study.record
    rows = []

    def add(what: str, value: str | None, key: str) -> None:
        shown = NOT_RECORDED if value is None else ledger(f"provenance/{key}", value, FACTS, key=key)
        rows.append((what, shown, key))

    add(
        "Command",
        None if record is None else f"{record['command']} --config {DATA}/{study.name}/{RUN}",
        "record.command",
    )
    add("Trained on", None if record is None else record["process"], "record.process")
    for number, other in enumerate([] if record is None else record.get("continued", ())):
        what = f"Fold {other['fold']} trained on" if "fold" in other else "Continued on"
        add(what, other["process"], f"record.continued.{number}.process")
    versions = {} if record is None else record["versions"]
    for name in ("cxrlt", "python", "torch", "timm", "numpy"):
        add(name, versions.get(name), f"record.versions.{name}")
    for kind in ("labels", "corrections"):
        for number, file in enumerate(study.facts.get(kind, ())):
            changed = "; changed since the training" if file.get("changed") else ""
            add(f"SHA-256 of {file['name']}{changed}", file["sha256"], f"{kind}.{number}.sha256")
    add("SHA-256 of the split", None if record is None else record["split_sha256"], "record.split_sha256")
    for number, file in enumerate(study.facts["weights"]):
        add(f"SHA-256 of {file['name']}", file["sha256"], f"weights.{number}.sha256")
    add("SHA-256 of the predictions", study.facts["predictions"]["sha256"], "predictions.sha256")
    return Table(f"Provenance of {study.name}", ("What", "Value", f"Key in data/{study.name}/{FACTS}"), rows)


def runs_table(studies: Sequence[Study], ledger: Ledger) -> Table:
    """Several runs side by side; differences from the first where both are judged on the same films."""
    first = studies[0]
    differences = _differences(studies)
    number = sum(one is not None and one.p_holm is not None for pair in differences.values() for one in pair)
    rows = []
    for study in studies:
        mine, means, scores = ledger.of(study.name), study.scores.macro(), study.scores
        films = mine.count("judged/films", len(study.predictions.ids), PREDICTIONS)
        pair = differences.get(study.name, (None, None))
        for key, ci, one in (("ap", scores.ap_ci, pair[0]), ("auroc", scores.auroc_ci, pair[1])):
            metric = f"macro {key.upper()}"
            value = mine.score(f"runs/{key}", means[key], ci, PREDICTIONS, metric=metric)
            apart = ("reference", "") if study is first else _difference(key, one, first.name, mine)
            rows.append((study.name, films, f"M{metric[1:]}", value, *apart))
    note = "Differences only where both are judged on the same films"
    counted = ledger("runs/comparisons", str(number), PREDICTIONS, metric="count of differences") if number else ""
    note += f", on the same resampled patients; p by Holm's correction for {counted} differences." if number else "."
    columns = ("Run", "Films", "Score", "Value", f"Less that of {first.name}", "p (Holm)")
    return Table("Runs", columns, rows, note)


def _differences(studies: Sequence[Study]) -> dict[str, tuple[Difference | None, Difference | None]]:
    """In macro AP and AUROC from the first, of those that are judged on its films, by their names."""
    first, *others = studies
    alike = [study for study in others if first.shares_films_with(study)]
    runs: dict[str, Seeds] = {
        one.name: {None: (one.scores, drawn)} for one in (first, *alike) if (drawn := one.drawn_as(first))
    }
    if runs:
        _, *standings = compare_runs(runs, first.facts["seed"])
        return {row.name: (_of(row.ap), _of(row.auroc)) for row in standings}
    of_first = first.scores.macro()
    found = {}
    for study in alike:
        ap, auroc = (
            None
            if (mine := study.scores.macro()[name]) is None or (other := of_first[name]) is None
            else Difference(mine - other)
            for name in ("ap", "auroc")
        )
        found[study.name] = (ap, auroc)
    return found


def _of(compared: Compared | None) -> Difference | None:
    return None if compared is None else compared.difference


def _difference(key: str, found: Difference | None, first: str, ledger: Ledger) -> tuple[str, str]:
    if found is None:
        return "–", "–"
    at, metric = f"runs/{key}_difference", f"macro {key.upper()} less that of {first}"
    told = ledger(at, told_apart(found), PREDICTIONS, metric=metric)
    if found.p_holm is None:
        return told, "–"
    return told, ledger(f"{at}/p", told_p(found), PREDICTIONS, metric=f"p after Holm's correction of {metric}")
