from pathlib import Path

import numpy as np
import pytest

from cxrlt_cli.datasets.raw_table import texts
from cxrlt_cli.datasets.records import UNLABELLED, Records
from cxrlt_cli.datasets.vocabularies import CHALLENGE, renamed
from cxrlt_cli.errors import DataError, OptionError
from cxrlt_cli.labels import CXR_LT_2026

EMPTY = UNLABELLED


def records(**states: list[int]) -> Records:
    films = texts("abcd"[: len(next(iter(states.values())))])
    names = tuple(name.replace("_", " ") for name in states)
    return Records(films, names, np.array(list(states.values()), np.int8).T)


def test_the_challenges_names_are_its_own_in_its_order() -> None:
    assert tuple(CHALLENGE) == CXR_LT_2026


def test_what_a_set_does_not_label_or_names_wider_stays_empty() -> None:
    done, notes = renamed(records(No_Finding=[1, 0], Lung_Lesion=[0, 1], Pleural_Other=[1, 0]), "cxr-lt-2026")
    assert done.findings == CXR_LT_2026
    told = dict(zip(done.findings, done.states.T.tolist(), strict=True))
    assert told["Normal"] == [1, 0]
    assert told["pleural thickening"] == told["Nodule"] == told["Mass"] == [EMPTY, EMPTY]
    assert "Not written, for --names cxr-lt-2026 has no place for them: Lung Lesion, Pleural Other." in notes


def test_common_names_keep_the_others() -> None:
    done, _ = renamed(records(Effusion=[1, 0], Pleural_Thickening=[0, 1], Lung_Lesion=[1, 1]), "common")
    assert done.findings == ("Pleural Effusion", "Pleural Thickening", "Lung Lesion")


def test_several_become_one_and_an_open_one_stays_open(tmp_path: Path) -> None:
    path = tmp_path / "names.yaml"
    path.write_text("bone: [rib fracture, Clavicle_Fracture]\nheart: cardiomegaly\nnone: [goiter]\n")
    done, _ = renamed(
        records(Rib_fracture=[1, 0, 0, EMPTY], clavicle_fracture=[0, 0, EMPTY, 1], cardiomegaly=[0, 0, 0, 1]), str(path)
    )
    assert done.findings == ("bone", "heart")
    assert done.states.T.tolist() == [[1, 0, EMPTY, 1], [0, 0, 0, 1]]


@pytest.mark.parametrize("text", ["", "a: 1\n", "- a\n", "a: [b\n"])
def test_files_that_hold_no_names(text: str, tmp_path: Path) -> None:
    path = tmp_path / "names.yaml"
    path.write_text(text)
    with pytest.raises(OptionError, match=r"--names .*names\.yaml"):
        renamed(records(A=[1]), str(path))


def test_names_that_fit_nothing(tmp_path: Path) -> None:
    (tmp_path / "n.yaml").write_text("x: [y]\n")
    with pytest.raises(DataError, match="none of the set's findings"):
        renamed(records(A=[1]), str(tmp_path / "n.yaml"))
    with pytest.raises(OptionError, match="neither cxr-lt-2026 nor common, nor a file"):
        renamed(records(A=[1]), "comon")
