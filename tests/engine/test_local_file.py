import json
from pathlib import Path

import pytest

from cxrlt_cli.config import InferOptions
from cxrlt_cli.engine.local_file import fit_of_checkpoint, local_fit, read_content, require_findings
from cxrlt_cli.errors import OptionError
from cxrlt_cli.scores.local_fit import Wanted
from tests.scores.places import fitted

CHECKPOINT = Path("best.safetensors")


def options(path: Path | None, **changes: object) -> InferOptions:
    return InferOptions.model_validate({"checkpoint": CHECKPOINT, "fitted": path, **changes})


def test_it_is_read_for_its_own_model(tmp_path: Path) -> None:
    fit = fitted(Wanted(sensitivity=0.9))
    path = tmp_path / "local.json"
    path.write_text(json.dumps(fit.to_json()))
    assert fit_of_checkpoint(options(path), CHECKPOINT, "abc") == fit
    assert fit_of_checkpoint(options(None), CHECKPOINT, "abc") is None
    with pytest.raises(OptionError, match=r"of another model than best\.safetensors") as caught:
        fit_of_checkpoint(options(path), CHECKPOINT, "abd")
    assert "cxrlt calibrate best.safetensors --csv" in caught.value.hint


def test_what_is_no_such_file_is_none(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("[1, 2")
    assert read_content(path) is None
    contents: list[object] = [None, [], {"kind": "other"}, {"calibration": {}}]
    for content in contents:
        assert local_fit(content, path) is None


def test_findings_that_are_missing_are_named() -> None:
    fit = fitted(Wanted())
    require_findings(fit, ["rare"], Path("f.json"))
    with pytest.raises(OptionError, match="nothing of Hernia") as caught:
        require_findings(fit, ["rare", "Hernia"], Path("f.json"))
    assert caught.value.hint == "Leave it out: --findings 'rare'."
    with pytest.raises(OptionError) as caught:
        require_findings(fit, ["Hernia"], Path("f.json"))
    assert caught.value.hint == "It has common, rare."
