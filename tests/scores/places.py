"""Films of a simulated place: predictions that are too sure, labels, patients of 1 to 4 films."""

from typing import Any

import numpy as np
from scipy.special import expit

from cxrlt_cli.scores.calibration import Calibration
from cxrlt_cli.scores.local_fit import LocalFit, Wanted
from cxrlt_cli.scores.local_fitting import fit_labelled
from cxrlt_cli.scores.predictions import Predictions

NAMES = ("common", "rare")


def place(patients: int = 300, seed: int = 0, shift: float = 0.0) -> tuple[Predictions, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    whose = np.repeat(np.arange(patients), rng.integers(1, 5, patients))
    own = rng.standard_normal((patients, 2))
    z = 2 * (own[whose] + 0.5 * rng.standard_normal((len(whose), 2))) + np.array([-1.0, -10.0]) + shift
    targets = (rng.random(z.shape) < expit(z / 2 - 0.5)).astype(np.float32)
    ids = np.array([f"{seed}-{row}.png" for row in range(len(whose))], object)
    patients_of = np.array([f"p{seed}-{one}" for one in whose], object)
    return Predictions(ids, NAMES, expit(z)), targets, patients_of


def folds(patients: np.ndarray) -> np.ndarray:
    return np.unique(patients.astype(str), return_inverse=True)[1] % 5


def fitted(wanted: Wanted, prior: Calibration | None = None, **changes: Any) -> LocalFit:
    predictions, targets, patients = place(**changes)
    prior = prior or Calibration.identity(NAMES)
    return fit_labelled(predictions, targets, patients, folds(patients), wanted, prior, model="abc", tta="none")
