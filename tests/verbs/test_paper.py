import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrlt_cli.config import ReportOptions, TrainOptions
from cxrlt_cli.errors import DataError, OptionError
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.tables.label_table import read_csv, read_labels
from cxrlt_cli.verbs.paper import report
from cxrlt_cli.verbs.train import train
from tests.conftest import run_options
from tests.helpers import FINDINGS, Recorder, make_films, write_csv


def make(out: Path, *runs: Path, **changes: Any) -> Recorder:
    recorder = Recorder()
    report(ReportOptions.model_validate({"runs": runs, "bootstrap": 0, "out": out, **changes}), recorder)
    return recorder


def verified(folder: Path) -> Recorder:
    recorder = Recorder()
    report(ReportOptions.model_validate({"verify": folder}), recorder)
    return recorder


@pytest.fixture
def copy(reported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(reported, tmp_path / "copy"))


@pytest.fixture
def predicted(labels: Path, tmp_path: Path) -> Path:
    table = read_labels(labels)
    rng = np.random.default_rng(1)
    Predictions(table.ids, FINDINGS, rng.random(table.targets.shape)).write(tmp_path / "p.csv")
    return tmp_path / "p.csv"


def test_a_report_is_whole_and_holds(reported: Path, run: Path) -> None:
    for name in ("index.html", "numbers.json", "methods.md", "figures/flow.svg", "tables/table1.tex",
                 "cards/claim.md", "cards/chai.xml", "data/first/films.csv", "figures/captions.md"):  # fmt: skip
        assert (reported / name).is_file(), name
    assert (reported / "data/first/run.yaml").read_text() == (run / "run.yaml").read_text()
    assert "cxrlt train --config data/first/run.yaml" in (reported / "tables/provenance.md").read_text()
    facts = json.loads((reported / "data/first/facts.json").read_text())
    assert set(facts["record"]["versions"]) == {"cxrlt", "python", "torch", "timm", "numpy"}
    assert facts["best"]["num_epochs"] == 3
    predictions = Predictions.read(reported / "data/first/predictions.csv")
    assert np.array_equal(predictions.probabilities, Predictions.read(run / "val_predictions.csv").probabilities)
    assert verified(reported).results[-1].startswith(f"{reported} holds")


def test_what_was_changed_is_listed_with_both_values(copy: Path) -> None:
    page = copy / "index.html"
    page.write_text(page.read_text().replace(">24<", ">25<", 1))
    table = copy / "tables" / "findings.tex"
    table.write_text(table.read_text().replace("Mean of 3", "Mean of 4"))
    (copy / "figures" / "roc.svg").unlink()
    (copy / "cards" / "claim.md").write_text((copy / "cards" / "claim.md").read_text() + "- 45: more of ours\n")
    (copy / "notes.txt").write_text("ours 7")
    recorder = Recorder()
    with pytest.raises(DataError, match=r"places of .* do not hold|place of .* does not hold"):
        report(ReportOptions.model_validate({"verify": copy}), recorder)
    rows = recorder.texts[-1]
    assert ("tables/findings.tex", "10", "4", "3") in rows
    assert ("figures/roc.svg", "–", "", "the file is missing") in rows
    assert not any("claim" in row[0] for row in rows)
    assert any("notes.txt" in note for note in recorder.notes)


def test_pngs_stand_beside_the_figures_and_a_change_is_found(copy: Path) -> None:
    figures = sorted(copy.glob("figures/*.svg"))
    assert len(figures) > 4
    assert [path.with_suffix(".png") for path in figures] == sorted(copy.glob("figures/*.png"))
    assert verified(copy).notes == []
    flow, roc, tail = (copy / "figures" / f"{name}.png" for name in ("flow", "roc", "long-tail"))
    content = bytearray(flow.read_bytes())
    content[len(content) // 2] ^= 1
    flow.write_bytes(content)
    roc.unlink()
    record = json.loads((copy / "data/png.json").read_text())
    del record["figures"]["figures/long-tail.png"]
    record["figures"]["figures/together.png"]["svg_sha256"] = "0"
    (copy / "data/png.json").write_text(json.dumps(record))
    recorder = Recorder()
    with pytest.raises(DataError, match="4 places"):
        report(ReportOptions.model_validate({"verify": copy}), recorder)
    rows = {row[0]: row[2:] for row in recorder.texts[-1]}
    assert rows["figures/flow.png"][1].startswith("written as ")
    assert rows["figures/roc.png"] == ("", "the file is missing")
    assert rows[f"figures/{tail.name}"] == ("", "data/png.json does not name it")
    assert rows["figures/together.png"] == ("a figure of other data", "its SVG is another")
    (copy / "data/png.json").write_text("[]")
    with pytest.raises(DataError):
        verified(copy)


def test_without_what_draws_pngs_a_report_says_how_to_have_them(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxrlt_cli.engine.svg_png.find_spec", lambda _: None)
    recorder = make(tmp_path / "out", run)
    assert any("not written as PNG" in note and 'pip install "cxrlt[png]"' in note for note in recorder.notes)
    assert list(tmp_path.glob("out/figures/*.png")) == []
    assert list(tmp_path.glob("out/figures/*.svg"))
    verified(tmp_path / "out")


def test_changed_data_are_told_and_nothing_that_follows_from_them(copy: Path) -> None:
    path = copy / "data" / "first" / "films.csv"
    lines = path.read_text().splitlines()
    lines[-1] = lines[-1][:-1] + str(1 - int(lines[-1][-1]))
    path.write_text("\n".join(lines) + "\n")
    recorder = Recorder()
    with pytest.raises(DataError, match=r"^data/first/films\.csv is not what .* cannot be judged") as caught:
        report(ReportOptions.model_validate({"verify": copy}), recorder)
    assert caught.value.exit_code == 3
    assert recorder.texts == []
    (copy / "numbers.json").write_text("{}")
    with pytest.raises(DataError, match=r"numbers\.json is gone or damaged"):
        verified(copy)


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"findings": 3, "seed": 1}', '{"findings": ["nodule"], "seed": 1}']
)
def test_damaged_facts_are_no_crash(copy: Path, content: str) -> None:
    (copy / "data" / "first" / "facts.json").write_text(content)
    with pytest.raises(DataError):
        verified(copy)


def test_another_version_is_told(copy: Path) -> None:
    order = json.loads((copy / "data" / "report.json").read_text())
    (copy / "data" / "report.json").write_text(json.dumps({**order, "cxrlt": "0.0.1"}))
    with pytest.raises(OptionError, match=r"made by cxrlt 0\.0\.1"):
        verified(copy)


def test_what_is_no_report_is_answered_with_one_that_is_near(copy: Path) -> None:
    with pytest.raises(OptionError, match=r"holds no data(.|\n)*Reports near it: .*copy"):
        verified(copy / "tables")
    with pytest.raises(OptionError, match=r"holds no data(.|\n)*Reports near it: .*copy"):
        verified(copy.parent)
    with pytest.raises(OptionError, match=r"does not exist\. Did you mean copy\?"):
        verified(copy.parent / "cpoy")
    with pytest.raises(ValueError, match=r"'modle' is none of .*nearest: model"):
        ReportOptions.model_validate({"runs": ["a"], "card": "modle"})


def test_a_run_that_is_named_twice_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"RUNS names .* twice"):
        make(tmp_path / "out", run, run.parent / "." / run.name)


def test_runs_and_predictions_stand_side_by_side(run: Path, predicted: Path, labels: Path, tmp_path: Path) -> None:
    other = predicted.with_name("q.csv")
    mine = Predictions.read(predicted)
    Predictions(mine.ids, mine.findings, 1 - mine.probabilities).write(other)
    make(tmp_path / "out", predicted, other, run, csv=labels, bootstrap=20, copies=True)
    table = (tmp_path / "out" / "tables" / "runs.md").read_text()
    assert "| p | 48 |" in table
    assert "reference" in table
    assert table.splitlines()[6].split(" | ")[4].startswith(("+0.", "−0."))
    assert re.fullmatch(r"0\.\d+|1\.000|\\?< 0\.001", table.splitlines()[6].split(" | ")[5].removesuffix(" |"))
    assert table.splitlines()[8].endswith("| – | – |")
    assert "p by Holm's correction for 2 differences" in table
    assert (
        "| Training and validation | 0 | 0 | 0 |" in (tmp_path / "out" / "tables" / "first-disjointness.md").read_text()
    )
    assert "begun with" not in (tmp_path / "out" / "p-methods.md").read_text()
    verified(tmp_path / "out")


def test_the_command_has_every_option_but_folders(labels: Path, tmp_path: Path) -> None:
    header, rows = _rows(labels)
    names = {"ImageID": "film", "PatientID": "my patient"}
    csv = write_csv(tmp_path / "named.csv", [names.get(name, name) for name in header], rows)
    table = read_labels(labels)
    Predictions(table.ids, FINDINGS, np.nan_to_num(table.targets)).write(tmp_path / "p.csv", "film")
    named = {"id_column": "film", "patient_column": "my patient", "seed": 7}
    make(tmp_path / "out", tmp_path / "p.csv", csv=csv, **named, copies=True, card="claim,model")
    assert json.loads((tmp_path / "out" / "data" / "report.json").read_text())["command"] == (
        "cxrlt report p.csv --seed 7 --csv named.csv --id-column film --patient-column 'my patient' --copies "
        "--bootstrap 0 --card claim,model"
    )


def test_the_command_can_be_typed_again_in_the_same_folder(
    labels: Path, predicted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paths below it as they were typed; of others the name alone, since folders name machines and people."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    predicted.rename(tmp_path / "runs" / "p.csv")
    shutil.copy(labels, tmp_path / "labels.csv")
    make(tmp_path / "out", Path("runs/p.csv"), csv=Path("labels.csv"))
    command = "cxrlt report runs/p.csv --csv labels.csv --bootstrap 0"
    assert json.loads((tmp_path / "out" / "data" / "report.json").read_text())["command"] == command
    make(tmp_path / "other", tmp_path / "runs" / "p.csv", csv=Path("runs/../labels.csv"))
    assert json.loads((tmp_path / "other" / "data" / "report.json").read_text())["command"] == (
        "cxrlt report p.csv --csv labels.csv --bootstrap 0"
    )


def test_a_run_of_before_says_not_recorded(run: Path, tmp_path: Path) -> None:
    old = Path(shutil.copytree(run, tmp_path / "old"))
    (old / "record.json").unlink()
    make(tmp_path / "out", old, card="claim")
    assert "| torch | not recorded |" in (tmp_path / "out" / "tables" / "provenance.md").read_text()
    assert "not recorded by this run" in (tmp_path / "out" / "figures" / "flow.svg").read_text()
    assert not (tmp_path / "out" / "tables" / "disjointness.md").exists()
    verified(tmp_path / "out")


def test_labels_that_changed_since_the_training_are_told(labels: Path, run: Path, tmp_path: Path) -> None:
    mine = Path(shutil.copytree(run, tmp_path / "run"))
    other = write_csv(tmp_path / "labels.csv", *_rows(labels))
    other.write_text(other.read_text().replace(",PA,", ",AP,", 1))
    text = (mine / "run.yaml").read_text()
    (mine / "run.yaml").write_text(text.replace(f"csv: {labels.resolve()}", f"csv: {other}"))
    recorder = make(tmp_path / "out", mine)
    assert "was changed since" in recorder.warnings[-1]
    assert "changed since the training" in (tmp_path / "out" / "tables" / "provenance.md").read_text()
    (mine / "split.csv").write_text("ImageID,PatientID,Split\n")
    with pytest.raises(DataError, match="is not what it was"):
        make(tmp_path / "again", mine)
    for content in ("{}", "[]", "{"):
        (mine / "record.json").write_text(content)
        with pytest.raises(DataError, match=r"record\.json is damaged"):
            make(tmp_path / "again", mine)


@pytest.fixture(scope="module")
def corrected(labels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose labels of a finding are all turned by ``--corrections``."""
    folder = tmp_path_factory.mktemp("corrected")
    table = read_labels(labels)
    rows = [(film, FINDINGS[0], int(1 - label)) for film, label in zip(table.ids, table.targets[:, 0], strict=True)]
    again = write_csv(folder / "again.csv", ("ImageID", "finding", "label"), rows)
    changes = {"epochs": 1, "warmup_epochs": 0, "image_size": 32, "corrections": [again]}
    train(run_options(labels, folder / "run", **changes), Recorder())
    return folder


def test_labels_are_corrected_as_the_run_corrected_them(corrected: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(corrected, tmp_path / "mine"))
    digest = hashlib.sha256((folder / "again.csv").read_bytes()).hexdigest()
    record = json.loads((folder / "run" / "record.json").read_text())
    assert record["corrections"] == [{"name": "again.csv", "sha256": digest}]
    assert make(tmp_path / "out", folder / "run").warnings == []
    metrics = json.loads((folder / "run" / "metrics.json").read_text())
    table = (tmp_path / "out" / "tables" / "findings.md").read_text()
    assert f"| {metrics['macro']['ap']:.3f} |" in table.splitlines()[-3]
    assert "48 changed, on 48 films, 0 confirmed." in (tmp_path / "out" / "methods.md").read_text()
    assert f"| SHA-256 of again.csv | {digest} |" in (tmp_path / "out" / "tables" / "provenance.md").read_text()
    verified(tmp_path / "out")


def test_scores_of_other_labels_than_those_of_the_run_are_refused(corrected: Path, tmp_path: Path) -> None:
    mine = Path(shutil.copytree(corrected / "run", tmp_path / "run"))
    text = (mine / "run.yaml").read_text()
    without = re.sub(r"corrections:\n- .*\n", "corrections: []\n", text)
    assert without != text
    (mine / "run.yaml").write_text(without)
    with pytest.raises(DataError, match=r"run\.yaml names 0 files of corrections, record\.json 1"):
        make(tmp_path / "out", mine)
    record = (mine / "record.json").read_text()
    (mine / "record.json").write_text(json.dumps({**json.loads(record), "corrections": []}))
    with pytest.raises(DataError, match=rf"AP is not that of .*metrics\.json: {FINDINGS[0]} 0\.\d+, not [01]\.\d+"):
        make(tmp_path / "out", mine)
    (mine / "record.json").write_text(record)
    other = write_csv(tmp_path / "again.csv", ("ImageID", "finding", "label"), [("film000.png", FINDINGS[0], 1)])
    (mine / "run.yaml").write_text(text.replace(str(corrected / "again.csv"), str(other)))
    recorder = make(tmp_path / "out", mine)
    assert "again.csv was changed since" in recorder.warnings[0]
    assert recorder.warnings[1].endswith("Of other labels: again.csv was changed.")
    (mine / "metrics.json").unlink()
    assert "was not checked" in make(tmp_path / "unchecked", mine).warnings[-1]
    other.unlink()
    with pytest.raises(DataError, match=r"again\.csv is gone, which corrected labels of"):
        make(tmp_path / "gone", mine)


def with_films(run: Path, labels: Path, folder: Path) -> tuple[Path, Path]:
    """The run, of films in a folder of its own."""
    mine = Path(shutil.copytree(run, folder / "run"))
    films = Path(shutil.copytree(labels.parent / "images", folder / "films"))
    with (mine / "run.yaml").open("a") as file:
        file.write(f"image_dir: {films}\n")
    return mine, films


def test_copies_in_two_parts_are_counted(run: Path, labels: Path, tmp_path: Path) -> None:
    mine, films = with_films(run, labels, tmp_path)
    split = read_csv(run / "split.csv")
    first, second = (split["ImageID"][split["Split"] == part].iloc[0] for part in ("train", "val"))
    shutil.copy(films / first, films / second)
    make(tmp_path / "out", mine, copies=True)
    assert "| Training and validation | 0 | 0 | 1 | 0 |" in (tmp_path / "out/tables/disjointness.md").read_text()
    verified(tmp_path / "out")


def test_films_that_cannot_be_read_are_told(run: Path, labels: Path, tmp_path: Path) -> None:
    mine, films = with_films(run, labels, tmp_path)
    (films / "film003.png").write_bytes(b"no film")
    with pytest.raises(DataError, match=r"film003\.png"):
        make(tmp_path / "out", mine, copies=True)
    (films / "film003.png").unlink()
    with pytest.raises(DataError, match=r"film003\.png"):
        make(tmp_path / "out", mine, copies=True)
    assert not (tmp_path / "out").exists()


def test_options_that_change_nothing_are_told(run: Path, labels: Path, predicted: Path, tmp_path: Path) -> None:
    recorder = make(tmp_path / "one", run, csv=predicted, seed=7)
    assert any("--csv changes nothing" in note for note in recorder.notes)
    assert any("--seed changes nothing" in note for note in recorder.notes)
    recorder = make(tmp_path / "two", predicted, csv=labels, copies=True, seed=7)
    assert [note for note in recorder.notes if "changes nothing" in note] == []
    assert any("of one part" in note for note in recorder.notes)


def test_validation_films_of_their_own_csv_and_parts_of_a_column(labels: Path, tmp_path: Path) -> None:
    other = make_films(tmp_path / "other", 20, first=100)
    options = run_options(labels, tmp_path / "run", epochs=1, image_size=32)
    given = options.model_dump(exclude_unset=True, by_alias=True, exclude={"val_fraction"})
    train(TrainOptions.model_validate({**given, "val_csv": other}), Recorder())
    assert make(tmp_path / "out", tmp_path / "run").warnings == []
    facts = json.loads((tmp_path / "out/data/run/facts.json").read_text())
    assert [file["changed"] for file in facts["labels"]] == [False, False]
    assert "| Films | 68 | 48 | 20 |" in (tmp_path / "out/tables/table1.md").read_text()
    header, rows = _rows(labels)
    rows = [[*row, "train" if number < 30 else "val" if number < 42 else "test"] for number, row in enumerate(rows)]
    csv = write_csv(labels.with_name("parts.csv"), [*header, "Split"], rows)
    train(TrainOptions.model_validate({**given, "csv": csv, "split": "train", "out": tmp_path / "parts"}), Recorder())
    make(tmp_path / "second", tmp_path / "parts")
    verified(tmp_path / "second")
    assert "6 not selected by --split" in (tmp_path / "second/figures/flow.svg").read_text()
    assert "the column Split" in (tmp_path / "second/methods.md").read_text()


def test_nothing_is_written_where_something_is_wrong(run: Path, labels: Path, predicted: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OptionError, match="--csv is missing"):
        make(tmp_path / "out", predicted)
    with pytest.raises(OptionError, match="does not exist"):
        make(tmp_path / "out", run / "nothing")
    with pytest.raises(OptionError, match=r"holds no run\.yaml"):
        make(tmp_path / "out", run, labels.parent)
    some = write_csv(tmp_path / "some.csv", ("ImageID", "nodule"), [("film000.png", 1), ("other.png", 0)])
    with pytest.raises(DataError, match="has no prediction for 1 of the 2 films"):
        make(tmp_path / "out", predicted, csv=some)
    some.unlink()
    assert sorted(tmp_path.iterdir()) == before
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    with pytest.raises(OptionError, match="is there already"):
        make(tmp_path / "out", run)


def _rows(path: Path) -> tuple[list[str], list[list[str]]]:
    header, *rows = (line.split(",") for line in path.read_text().splitlines())
    return header, rows
