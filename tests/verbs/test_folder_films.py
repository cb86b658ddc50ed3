"""Whole commands on a hospital's export: no CSV, and files among the films that are none."""

import json
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cxrlt_cli.config import DataCacheOptions, DataCheckOptions, EnsembleOptions, InferOptions, OodOptions
from cxrlt_cli.engine.predict import predict
from cxrlt_cli.errors import DataError, OptionError
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.tables.columns import FILM_FACTS
from cxrlt_cli.verbs import infer as engine
from cxrlt_cli.verbs.data_cache import build_cache
from cxrlt_cli.verbs.data_check import check
from cxrlt_cli.verbs.infer import infer
from cxrlt_cli.verbs.ood import ood
from tests.exports import FILMS, LATERAL, make_export
from tests.helpers import FINDINGS, Recorder, ensemble, write_csv

HERE = {"workers": 0, "device": "cpu"}


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_export(tmp_path_factory.mktemp("hospital") / "export")


def inferred(run: Path, out: Path, **changes: Any) -> tuple[Predictions, Recorder]:
    recorder = Recorder()
    infer(InferOptions.model_validate({"checkpoint": run, "out": out, **HERE, **changes}), recorder)
    return Predictions.read(out), recorder


def test_infer_takes_a_folder_and_finds_its_films_again(run: Path, export: Path, tmp_path: Path) -> None:
    first, recorder = inferred(run, tmp_path / "p.csv", image_dir=export)
    assert (first.ids.tolist(), first.findings) == (list(FILMS), FINDINGS)
    assert recorder.warnings[0].startswith("Left out 8 files")
    assert recorder.plans[0]["films"] == f"5 of {export}"
    again, _ = inferred(run, tmp_path / "q.csv", csv=tmp_path / "p.csv", image_dir=export)
    assert again.ids.tolist() == first.ids.tolist()
    np.testing.assert_array_equal(again.probabilities, first.probabilities)


def test_infer_takes_one_film(run: Path, export: Path, tmp_path: Path) -> None:
    one, _ = inferred(run, tmp_path / "p.csv", films=[export / "st2" / "film.DCM"])
    assert one.ids.tolist() == ["film.DCM"]
    with pytest.raises(DataError, match=r"no chest film in .*\. It holds 1 CT slice \(ct\.dcm\)"):
        inferred(run, tmp_path / "q.csv", films=[export / "st2" / "ct.dcm"])
    film = export / "film.png"
    with pytest.raises(OptionError, match="a file that this command reads"):
        inferred(run, film, films=[film])


def test_the_columns_of_dicom_do_no_harm(run: Path, export: Path, tmp_path: Path) -> None:
    given = {"image_dir": export, "dicom_columns": True, "decisions": tmp_path / "d.csv"}
    plain, _ = inferred(run, tmp_path / "plain.csv", image_dir=export)
    told, _ = inferred(run, tmp_path / "p.csv", **given)
    np.testing.assert_array_equal(told.probabilities, plain.probabilities)
    for name in ("p.csv", "d.csv"):
        frame = pd.read_csv(tmp_path / name, dtype=str, keep_default_na=False)
        assert list(frame.columns) == ["ImageID", *FILM_FACTS, *FINDINGS]
        assert frame.ViewPosition.tolist() == ["", "", "PA", "L", "AP"]
        assert frame.PatientID.tolist() == ["", "", "P7", "P7", ""]
    out = {"members": [tmp_path / "p.csv", run], "out": tmp_path / "e.csv", "image_dir": export, **HERE}
    ensemble(EnsembleOptions.model_validate({**out, "dicom_columns": True}), Recorder())
    assert (tmp_path / "e.csv").read_text().splitlines()[0] == ",".join(["ImageID", *FILM_FACTS, *FINDINGS])
    np.testing.assert_allclose(Predictions.read(tmp_path / "e.csv").probabilities, plain.probabilities)


def test_ensemble_takes_a_folder(run: Path, export: Path, tmp_path: Path) -> None:
    plain, _ = inferred(run, tmp_path / "p.csv", image_dir=export)

    def blended(*members: Path, **changes: Any) -> Predictions | None:
        given = {"members": members, "out": tmp_path / "e.csv", **HERE, **changes}
        return ensemble(EnsembleOptions.model_validate(given), Recorder())

    both = blended(run, run, image_dir=export)
    assert both is not None
    assert both.ids.tolist() == list(FILMS)
    np.testing.assert_allclose(both.probabilities, plain.probabilities)
    Predictions(plain.ids[:3], plain.findings, plain.probabilities[:3]).write(tmp_path / "few.csv")
    with pytest.raises(DataError, match=rf"few\.csv lacks the films {LATERAL}, st2/film\.DCM of {export}"):
        blended(run, tmp_path / "few.csv", image_dir=export)
    with pytest.raises(OptionError, match="Films go with --image-dir"):
        blended(run, export / "film.png")
    with pytest.raises(OptionError, match="--image-dir and --dicom-columns has no effect on prediction CSVs alone"):
        blended(tmp_path / "p.csv", image_dir=export, dicom_columns=True)


def test_ood_takes_a_folder(export: Path, tmp_path: Path) -> None:
    given = {"model": "phantom-clip", "image_dir": export, "out": tmp_path / "o.csv", **HERE, "dicom_columns": True}
    ood(OodOptions.model_validate(given), Recorder())
    assert Predictions.read(tmp_path / "o.csv").ids.tolist() == list(FILMS)
    with pytest.raises(OptionError, match="has no labels"):
        ood(OodOptions.model_validate({**given, "report": tmp_path / "page.html"}), Recorder())


def test_a_cache_takes_a_folder(run: Path, export: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    build_cache(DataCacheOptions(films=(export,), cache=tmp_path / "kept", image_size=64), recorder)
    assert "keeps 5 films of 64 px" in recorder.results[-1]
    plain, _ = inferred(run, tmp_path / "p.csv", films=[export])
    kept, _ = inferred(run, tmp_path / "q.csv", films=[export], cache=tmp_path / "kept")
    np.testing.assert_array_equal(kept.probabilities, plain.probabilities)


def checked(report: Path, **options: Any) -> tuple[dict[str, dict[str, Any]], Recorder, str]:
    """The faults by what they are, what was told, and the error."""
    recorder, error = Recorder(), ""
    try:
        check(DataCheckOptions.model_validate({**options, "json": report}), recorder)
    except DataError as caught:
        error = str(caught)
    return {fault["what"]: fault for fault in json.loads(report.read_text())["faults"]}, recorder, error


def test_check_takes_a_folder(export: Path, tmp_path: Path) -> None:
    faults, recorder, error = checked(tmp_path / "j.json", image_dir=export)
    assert error == ""
    assert recorder.results[-1].startswith("Nothing that would break a prediction")
    assert faults["files that are no chest films: CT slices"]["examples"] == ["st2/ct.dcm", "st2/unsaid.dcm"]
    assert faults["files that are no chest films: reports (SR)"]["examples"] == ["st1/SR0001"]
    assert faults["lateral views by their DICOM tags"]["examples"] == [LATERAL]
    assert not any("CSV" in fault["advice"] or "patient" in what for what, fault in faults.items())
    assert any(note.startswith("Other files: ") for note in recorder.notes)


def test_check_lists_damaged_films_of_a_folder_for_exclude(run: Path, tmp_path: Path) -> None:
    export = make_export(tmp_path / "export")
    (export / "st2" / "cut.png").write_bytes((export / "film.png").read_bytes()[:-100])
    with pytest.raises(DataError, match=r"^1 film cannot be read"):
        inferred(run, tmp_path / "p.csv", image_dir=export)
    faults, _, error = checked(tmp_path / "j.json", image_dir=export, fix=tmp_path / "exclude.csv")
    assert error.startswith("1 fault would break a run")
    assert faults["films that cannot be read: each is a PNG cut short"]["examples"] == ["st2/cut.png"]
    films, _ = inferred(run, tmp_path / "p.csv", image_dir=export, exclude=[tmp_path / "exclude.csv"])
    assert films.ids.tolist() == list(FILMS)


def test_check_tells_paths_and_calls_a_report_a_report(tmp_path: Path) -> None:
    """Ids may be UIDs of 60 digits, by which nobody finds a file."""
    export = make_export(tmp_path / "export")
    uid = "1.2.826.0.1.3680043.8.498.11111111111111111111111111111111111111"
    (export / "st1" / "SR0001").rename(export / "st1" / f"{uid}.dcm")
    csv = write_csv(tmp_path / "films.csv", ["ImageID"], [[uid], ["st2/ct"], [LATERAL], ["film.png"]])
    faults, _, error = checked(tmp_path / "j.json", csv=csv, image_dir=export)
    report = faults["films that cannot be read: each is a report (SR), which has no pixels"]
    assert (report["examples"], report["films"]) == ([f"st1/{uid}.dcm"], [uid])
    assert report["advice"] == "Leave them out."
    assert error
    assert faults["files that are no chest films by their tags: CT slices"]["examples"] == ["st2/ct.dcm"]
    assert faults["lateral views by their DICOM tags"]["examples"] == [LATERAL]
    assert not any("reports" in what for what in faults), "told already"


def test_a_submission_with_columns_of_dicom_is_told(run: Path, export: Path, tmp_path: Path) -> None:
    inferred(run, tmp_path / "p.csv", image_dir=export, dicom_columns=True)
    faults, _, _ = checked(tmp_path / "j.json", image_dir=export, submission=tmp_path / "p.csv")
    assert faults["columns of the submission that are no findings"]["number"] == len(FILM_FACTS)
    assert not any(fault["breaks"] for fault in faults.values())


def test_without_films_commands_say_how_to_name_them(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"--csv is missing(.|\n)*--image-dir"):
        check(DataCheckOptions(), Recorder())
    with pytest.raises(OptionError, match=r"--csv is missing(.|\n)*--image-dir"):
        build_cache(DataCacheOptions(cache=tmp_path / "kept"), Recorder())


def test_a_stopped_command_goes_on(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export, out = make_export(tmp_path / "export"), tmp_path / "p.csv"
    plain, _ = inferred(run, tmp_path / "plain.csv", image_dir=export, dicom_columns=True)
    monkeypatch.setattr(engine, "stretches", lambda *_: repeat(2))
    calls: list[int] = []

    def stopping(*arguments: Any, **settings: Any) -> Any:
        calls.append(1)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return predict(*arguments, **settings)

    with monkeypatch.context() as patched:
        patched.setattr(engine, "predict", stopping)
        with pytest.raises(KeyboardInterrupt):
            inferred(run, out, image_dir=export, dicom_columns=True)
    again, recorder = inferred(run, out, image_dir=export, dicom_columns=True)
    assert "Going on after 2 films that were predicted before." in recorder.notes
    assert again.ids.tolist() == list(FILMS)
    np.testing.assert_allclose(again.probabilities, plain.probabilities, rtol=1e-5)
    assert out.read_text().count("PatientID") == 1


@pytest.mark.soak
def test_several_processes_take_one_list(run: Path, export: Path, tmp_path: Path) -> None:
    alone, _ = inferred(run, tmp_path / "alone.csv", image_dir=export)
    several, _ = inferred(run, tmp_path / "several.csv", image_dir=export, processes=2, dicom_columns=True)
    assert several.ids.tolist() == alone.ids.tolist()
    np.testing.assert_allclose(several.probabilities, alone.probabilities, rtol=1e-4)
