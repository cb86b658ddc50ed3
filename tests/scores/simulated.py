"""Films of patients who resemble themselves."""

from statistics import NormalDist

import numpy as np

Simulated = tuple[np.ndarray, np.ndarray, np.ndarray]

SHARES = {"usual": (0.3, 0.15, 0.08, 0.04), "long tail": tuple(np.geomspace(0.4, 0.006, 12)), "rare": (0.02,) * 3}


def simulate(num_patients: int, rng: np.random.Generator, kind: str = "usual", signal: float = 1.5) -> Simulated:
    """Films of patients who resemble themselves, in what they have and in how they score."""
    patients = np.repeat(np.arange(num_patients), rng.geometric(0.5, num_patients))
    shape = len(patients), len(SHARES[kind])

    def mixed() -> np.ndarray:
        own = rng.standard_normal((num_patients, shape[1]))[patients]
        return np.asarray(np.sqrt(0.6) * own + np.sqrt(0.4) * rng.standard_normal(shape))

    thresholds = [NormalDist().inv_cdf(1 - share) for share in SHARES[kind]]
    targets = (mixed() > thresholds).astype(float)
    return targets, mixed() + signal * targets, patients
