"""The file that ``cxrlt calibrate`` writes, where ``--fitted`` names it: read, or refused in words."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cxrlt_cli.config import PredictOptions
from cxrlt_cli.documents import read_json
from cxrlt_cli.errors import OptionError, listed
from cxrlt_cli.scores.local_fit import FORMAT, KIND, LocalFit


def local_fit(content: object, path: Path) -> LocalFit | None:
    """What the JSON of a file says; None where it is not of ``cxrlt calibrate``. Raises OptionError."""
    if not isinstance(content, Mapping) or content.get("kind") != KIND:
        return None
    version = content.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise OptionError(f"--fitted {path} is of format {version}; this cxrlt reads {FORMAT}.", "Update cxrlt.")
    try:
        return LocalFit.from_json(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise OptionError(f"--fitted {path} is damaged: {error!r}.", "Write it again with cxrlt calibrate.") from error


def read_content(path: Path) -> Any:
    """The JSON of ``--fitted``; None where it is none."""
    try:
        return read_json(path)
    except ValueError:
        return None


def fit_of_checkpoint(options: PredictOptions, checkpoint: Path, digest: str) -> LocalFit | None:
    """What ``--fitted`` says of this checkpoint, whose sha256 is ``digest``; None where it is not given.

    Raises OptionError where it is of another model or other views.
    """
    path = options.fitted
    if path is None:
        return None
    fit = local_fit(read_content(path), path)
    again = f"cxrlt calibrate {checkpoint} --csv LOCAL.csv"
    if fit is None:
        raise OptionError(
            f"--fitted {path} is not what cxrlt calibrate writes.",
            f"What ensemble --fit keeps is for it. Here: {again}",
        )
    if fit.model is None:
        raise OptionError(f"--fitted {path} was fitted on predictions, whose model nobody knows.", f"Here: {again}")
    if fit.model != digest:
        raise OptionError(f"--fitted {path} is of another model than {checkpoint}.", f"Fit this one: {again}")
    if fit.unlabelled and options.calibration == "temperature":
        raise OptionError(
            f"--fitted {path} moves offsets by prevalence, and --calibration temperature has none.",
            "Pass --calibration platt.",
        )
    _require_same_views(fit, options)
    return fit


def _require_same_views(fit: LocalFit, options: PredictOptions) -> None:
    """Raise OptionError where views of a film are others, or are merged in another way, than where it was fitted."""
    if fit.tta != options.tta:
        raise OptionError(
            f"--fitted {options.fitted} was fitted with --tta {fit.tta}.",
            f"Pass that, or fit with --tta {options.tta}.",
        )
    if options.tta != "none" and options.merge != "mean":
        raise OptionError(
            f"--fitted {options.fitted} was fitted on views merged by mean.", f"Leave --merge {options.merge} out."
        )


def require_findings(fit: LocalFit, findings: Sequence[str], path: Path) -> None:
    """Raise OptionError where it says nothing of one of these."""
    if missing := [name for name in findings if name not in fit.findings]:
        names = ",".join(name for name in findings if name in fit.findings)
        way_out = f"Leave it out: --findings '{names}'." if names else f"It has {listed(list(fit.findings), 40)}."
        raise OptionError(f"--fitted {path} has nothing of {listed(missing)}.", way_out)
