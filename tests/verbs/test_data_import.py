import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cxrlt_cli.config import DataImportOptions, TrainOptions
from cxrlt_cli.errors import DataError, OptionError
from cxrlt_cli.tables.label_table import read_labels
from cxrlt_cli.tables.provenance import read_policy
from cxrlt_cli.verbs.data_import import import_labels
from cxrlt_cli.verbs.train import train
from tests.conftest import run_options
from tests.datasets.sets import SAMPLES, draw_film, drawn, imported, labels_only, rows_of
from tests.helpers import Recorder, write_csv

NINE = {
    "nih": "nih",
    "chexpert": "chexpert",
    "mimic-cxr-jpg": "mimic",
    "cxr-lt-2024": "cxr-lt",
    "padchest": "padchest",
    "vindr-cxr": "vindr",
    "rsna-pneumonia": "rsna",
    "siim-acr": "siim",
    "brax": "chexpert",
}
ABOUT = {"ImageID", "PatientID", "StudyID", "ViewPosition", "Split", "PatientSex", "PatientAge"}


@pytest.mark.parametrize("name", NINE)
def test_a_set_gives_the_expected_file_byte_for_byte(name: str, tmp_path: Path) -> None:
    folder = drawn(name, tmp_path)
    expected = (SAMPLES / name / "expected.csv").read_bytes()
    for kind in (NINE[name], "auto"):
        out = tmp_path / f"{kind}.csv"
        imported(kind, folder, out=out)
        assert out.read_bytes() == expected
        assert all((folder / row["ImageID"]).is_file() for row in rows_of(out))
        header = expected.decode().splitlines()[0].split(",")
        table = read_labels(out)
        assert list(table.space.findings) == [column for column in header if column not in ABOUT]
        assert table.doubtful == ()


@pytest.mark.parametrize("name", ["nih", "chexpert", "mimic-cxr-jpg", "cxr-lt-2023", "cxr-lt-2024", "cxr-lt-2026",
                                  "padchest", "vindr-cxr"])  # fmt: skip
def test_a_set_goes_from_its_own_files_to_a_training_in_one_import(name: str, tmp_path: Path) -> None:
    folder, out = drawn(name, tmp_path), tmp_path / "labels.csv"
    _, recorder = imported("auto", folder, out=out)
    assert recorder.next_steps[-1].startswith(f"Next: cxrlt data check --csv {out} --image-dir {folder}")
    parts = {row.get("Split") for row in rows_of(out)}
    wanted = run_options(out, tmp_path / "run", image_dir=folder, dry_run=True)
    given = wanted.model_dump(exclude_unset=True, by_alias=True)
    given |= {"split": "train"} if "val" in parts else {"val_fraction": 0.5 if name == "vindr-cxr" else 0.6}
    if "val" in parts:
        del given["val_fraction"]
    options = TrainOptions.model_validate(given)
    planned = Recorder()
    train(options, planned)
    assert planned.plans[-1]["labels"] == read_policy(out)
    assert "Nothing was written" in planned.results[-1]


def test_the_same_input_gives_the_same_bytes_in_processes_of_their_own(tmp_path: Path) -> None:
    folder = drawn("padchest", tmp_path)
    files = []
    for number in range(2):
        out = tmp_path / f"{number}" / "labels.csv"
        command = ["data", "import", "padchest", str(folder), "--out", str(out), "--json", str(out.parent / "a.json")]
        subprocess.run([sys.executable, "-m", "cxrlt_cli", *command], check=True, capture_output=True)
        files.append([path.read_bytes() for path in sorted(out.parent.iterdir())])
    assert len(files[0]) == 3
    assert files[0] == files[1]


def test_rows_are_accounted_for_and_rules_counted(tmp_path: Path) -> None:
    told = tmp_path / "told.json"
    _, recorder = imported("padchest", drawn("padchest", tmp_path), out=tmp_path / "labels.csv", json=told)
    report = json.loads(told.read_text())
    assert report["rows_read"] == report["films"] + sum(report["left_out"].values()) == 15
    assert "fracture 0 -> 1" in report["notes"][0]
    assert recorder.plans[0]["policy"] == "padchest; tree: yes"
    _, recorder = labels_only("chexpert", SAMPLES / "chexpert", out=tmp_path / "b.csv")
    assert recorder.plans[0]["changed"] == "blank to 0: 135, -1 emptied: 11"
    assert recorder.plans[0]["parts"] == "train: 12, val: 4; patients in more than one: 0"
    assert recorder.plans[0]["policy"] == "chexpert; uncertain: empty; unmentioned: 0"
    assert recorder.texts[0][1] == ("No Finding", "4", "12", "0")


def test_files_that_are_passed_over_are_told(tmp_path: Path) -> None:
    _, recorder = imported("chexpert", drawn("chexpert", tmp_path), out=tmp_path / "a.csv")
    told = "Other files there, not read: test_labels.csv, train_cheXbert.csv. To read one instead, name it as SOURCE."
    assert {told, "Without a positive film: Consolidation, Pneumonia."} <= set(recorder.notes)
    _, recorder = labels_only("chexpert", SAMPLES / "chexpert" / "CheXpert" / "test_labels.csv", out=tmp_path / "a.csv")
    assert not any("not read" in note for note in recorder.notes)


def test_what_cannot_apply_is_said(tmp_path: Path) -> None:
    _, recorder = labels_only("nih", SAMPLES / "nih", out=tmp_path / "a.csv", uncertain="1", readers="any")
    said = [note for note in recorder.notes if "nothing here" in note]
    assert said == ["--uncertain and --readers change nothing here: the labels of nih have nothing of that kind."]


def test_films_are_found_in_other_folders_and_formats(tmp_path: Path) -> None:
    for number, film in enumerate(["00090001_000", "00090001_001"]):
        draw_film(tmp_path / "all" / f"{film}.jpg", number)
    source = SAMPLES / "nih" / "Data_Entry_2017_v2020.csv"
    with pytest.raises(DataError, match=r"12 of 14 films are not below .*all: 00090001_002\.png"):
        imported("nih", source, out=tmp_path / "labels.csv", image_dir=tmp_path / "all")
    assert not (tmp_path / "labels.csv").exists()
    rows, recorder = imported(
        "nih", source, out=tmp_path / "labels.csv", image_dir=tmp_path / "all", missing="leave-out"
    )
    assert [row["ImageID"] for row in rows] == ["00090001_000.jpg", "00090001_001.jpg"]
    assert recorder.plans[0]["left out"] == "no film: 12"
    draw_film(tmp_path / "all" / "again" / "00090001_000.jpg")
    draw_film(tmp_path / "all" / "00090001_000.png")
    rows, _ = imported("nih", source, out=tmp_path / "labels.csv", image_dir=tmp_path / "all", missing="leave-out")
    assert rows[0]["ImageID"] == "00090001_000.png", "as the set calls it, before any other"
    (tmp_path / "all" / "00090001_000.png").unlink()
    (tmp_path / "all" / "00090001_000.jpg").rename(tmp_path / "all" / "again" / "00090001_000.png")
    draw_film(tmp_path / "all" / "once more" / "00090001_000.png")
    with pytest.raises(DataError, match=r"may be .* or "):
        imported("nih", source, out=tmp_path / "labels.csv", image_dir=tmp_path / "all", missing="leave-out")


def test_no_film_at_all_says_what_is_there(tmp_path: Path) -> None:
    draw_film(tmp_path / "films" / "other.png")
    with pytest.raises(DataError, match=r"None of the 14 films is there.*holds 1 \.png, such as other\.png"):
        imported("nih", SAMPLES / "nih", out=tmp_path / "a.csv", image_dir=tmp_path / "films")


def test_a_file_for_each_part(tmp_path: Path) -> None:
    recorder = Recorder()
    options = {"kind": "chexpert", "sources": [SAMPLES / "chexpert"], "missing": "keep"}
    import_labels(DataImportOptions.model_validate({**options, "out": tmp_path / "c-{split}.csv"}), recorder)
    assert [len(rows_of(tmp_path / f"c-{part}.csv")) for part in ("train", "val")] == [12, 4]
    assert read_policy(tmp_path / "c-val.csv") == "chexpert; uncertain: empty; unmentioned: 0"
    with pytest.raises(OptionError, match=r"not every film is in an official split"):
        labels_only("chexpert", SAMPLES / "brax", out=tmp_path / "b-{split}.csv")


def test_views_findings_and_names(tmp_path: Path) -> None:
    source = SAMPLES / "chexpert"
    rows, recorder = labels_only(
        "chexpert", source, out=tmp_path / "a.csv", views="frontal", names="common", findings="Normal,Edema"
    )
    assert {row["ViewPosition"] for row in rows} == {"AP", "PA"}
    assert list(rows[0])[-2:] == ["Normal", "Edema"]
    assert recorder.plans[0]["left out"] == "another view than frontal: 5"
    with pytest.raises(OptionError, match=r"--views: 'fronta' is none of .*Did you mean frontal\?"):
        labels_only("chexpert", source, out=tmp_path / "b.csv", views="fronta")
    with pytest.raises(OptionError, match=r"does not say which view"):
        labels_only("rsna", SAMPLES / "rsna-pneumonia", out=tmp_path / "b.csv", views="PA")
    with pytest.raises(OptionError, match=r"--findings: no 'Oedema' among"):
        labels_only("chexpert", source, out=tmp_path / "b.csv", findings="Oedema")
    assert not (tmp_path / "b.csv").exists()


def test_a_patient_in_two_official_parts_is_an_error(tmp_path: Path) -> None:
    for name, part in (("train_val_list", range(2)), ("test_list", range(2, 3))):
        films = [f"00090001_00{number}.png\n" for number in part]
        (tmp_path / f"{name}.txt").write_text("".join(films))
    header = ["Image Index", "Finding Labels", "Patient ID"]
    rows = [[f"00090001_00{number}.png", "Mass", "90001"] for number in range(3)]
    write_csv(tmp_path / "Data_Entry_2017.csv", header, rows)
    with pytest.raises(DataError, match=r"1 patient are in more than one of the set's official splits: 90001"):
        labels_only("nih", tmp_path, out=tmp_path / "out.csv")


def test_the_sets_own_files_are_never_written_over_but_an_earlier_import_is(tmp_path: Path) -> None:
    folder = drawn("nih", tmp_path)
    before = (folder / "Data_Entry_2017.csv").read_bytes()
    with pytest.raises(OptionError, match="is a file that this command reads"):
        imported("nih", folder, out=folder / "Data_Entry_2017.csv")
    assert (folder / "Data_Entry_2017.csv").read_bytes() == before
    out = folder / "labels.csv"
    for verb in ("Wrote", "Replaced"):
        _, recorder = imported("auto", folder, out=out)
        assert recorder.results[0] == f"{verb} {out}: 14 films, 15 findings."


def test_dry_run_writes_nothing(tmp_path: Path) -> None:
    recorder = Recorder()
    options = {"kind": "nih", "sources": [SAMPLES / "nih"], "missing": "keep", "dry_run": True}
    import_labels(DataImportOptions.model_validate({**options, "out": tmp_path / "out.csv"}), recorder)
    assert recorder.results == [f"Would write {tmp_path / 'out.csv'}: 14 films, 15 findings."]
    assert list(tmp_path.iterdir()) == []


def test_two_sets_in_one_file(tmp_path: Path) -> None:
    for name in ("nih", "chexpert"):
        drawn(name, tmp_path / "films")
    films, out = tmp_path / "films", tmp_path / "both.csv"
    imported("nih", films / "nih", out=out, image_dir=films)
    recorder = Recorder()
    options = {"kind": "chexpert", "sources": [films / "chexpert"], "image_dir": films, "append": out}
    import_labels(DataImportOptions.model_validate(options), recorder)
    rows = rows_of(out)
    assert len(rows) == 14 + 16
    assert all((films / row["ImageID"]).is_file() for row in rows)
    first, last = rows[0], rows[-1]
    assert (first["PatientID"], last["PatientID"]) == ("nih:90001", "chexpert:patient94543")
    assert (first["Support Devices"], first["Hernia"], last["Hernia"], last["Support Devices"]) == ("", "0", "", "1")
    assert first["StudyID"] == ""
    assert "--split" in recorder.next_steps[-1], "every film is in a part"
    assert read_policy(out) == "nih | chexpert; uncertain: empty; unmentioned: 0"
    before = out.read_bytes()
    with pytest.raises(DataError, match=r"holds chexpert/CheXpert.* already, and 16 films of this set in all"):
        import_labels(DataImportOptions.model_validate(options), recorder)
    with pytest.raises(DataError, match=r"--image-dir on the folder that holds both sets|are below"):
        import_labels(DataImportOptions.model_validate({**options, "image_dir": films / "chexpert"}), recorder)
    assert out.read_bytes() == before


def test_a_patient_keeps_one_name_when_a_set_comes_in_two(tmp_path: Path) -> None:
    header, *lines = (SAMPLES / "nih" / "Data_Entry_2017_v2020.csv").read_text().splitlines()
    for name, part in (("a", lines[:2]), ("b", lines[2:])):
        (tmp_path / f"{name}.csv").write_text("\n".join([header, *part, ""]))
    out = tmp_path / "o.csv"
    labels_only("nih", tmp_path / "a.csv", out=out)
    options = {"kind": "nih", "sources": [tmp_path / "b.csv"], "missing": "keep", "append": out}
    import_labels(DataImportOptions.model_validate(options), Recorder())
    assert {row["PatientID"] for row in rows_of(out)[:3]} == {"nih:90001"}


def test_a_base_that_was_changed_or_is_of_unknown_origin_is_told(tmp_path: Path) -> None:
    base = write_csv(tmp_path / "mine.csv", ("ImageID", "PatientID", "Mass"), [("a.png", "1", 1)])
    recorder = Recorder()
    options = {"kind": "brax", "sources": [SAMPLES / "brax"], "missing": "keep", "append": base} | {"kind": "chexpert"}
    import_labels(DataImportOptions.model_validate(options), recorder)
    assert str(read_policy(base)).startswith("labels of unknown origin | chexpert; ")
    assert rows_of(base)[0]["PatientID"] == "1"
    assert "--split" not in recorder.results[-1]


def test_the_json_never_takes_the_place_of_a_source_or_the_labels(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "a.csv", ("ImageID", "Mass"), [("a.png", 1)])
    for path in (source, tmp_path / "b.csv", tmp_path / "b.csv.import.json"):
        labels_only("table", source, out=tmp_path / "b.csv")
        before = path.read_bytes()
        with pytest.raises(OptionError, match=r"--json .* is a file that this command reads"):
            labels_only("table", source, out=tmp_path / "b.csv", json=path, dry_run=True)
        assert path.read_bytes() == before


def test_no_rule_acts_on_findings_that_are_not_kept(tmp_path: Path) -> None:
    for findings, names, number in (
        ("Pneumothorax", None, 16),
        ("Pneumothorax", "cxr-lt-2026", 16),
        ("Edema", None, 15),
        ("Pneumothorax,Edema", None, 15),
    ):
        asked = {"findings": findings, "names": names, "uncertain": "leave-out"}
        rows, _ = labels_only("chexpert", SAMPLES / "chexpert", out=tmp_path / "a.csv", **asked)
        assert len(rows) == number
    asked = {"findings": "Edema", "uncertain": "Atelectasis=1,others=0"}
    rows, _ = labels_only("chexpert", SAMPLES / "chexpert", out=tmp_path / "a.csv", **asked)
    assert len(rows) == 16, "a rule for a finding that is not kept is no mistake"


def test_a_part_that_is_no_name_makes_no_file(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "a.csv", ("ImageID", "Split", "Mass"), [("a.png", "../../evil", 1)])
    with pytest.raises(OptionError, match="makes no name of a file"):
        labels_only("table", source, out=tmp_path / "x" / "{split}.csv")


def test_films_are_written_when_nothing_can_refuse_any_more(tmp_path: Path) -> None:
    number = {"train": 2, "val": 1, "test": 1}
    images = {f"{part}_images": np.zeros((size, 28, 28), np.uint8) for part, size in number.items()}
    labels = {f"{part}_labels": np.zeros((size, 14), np.uint8) for part, size in number.items()}
    np.savez(tmp_path / "chestmnist.npz", **images, **labels)  # type: ignore[arg-type]
    out = tmp_path / "out" / "labels.csv"
    with pytest.raises(OptionError, match="no 'Efusion'"):
        imported("medmnist", tmp_path / "chestmnist.npz", out=out, findings="Efusion")
    assert not out.parent.exists()
    rows, _ = imported("medmnist", tmp_path / "chestmnist.npz", out=out)
    assert all((out.parent / row["ImageID"]).is_file() for row in rows)
