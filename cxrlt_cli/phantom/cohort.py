"""Who has what: patients with several films, findings that occur together, and a long tail.

Frequencies are PadChest's (Bustos et al., Medical Image Analysis 66, 2020, arXiv:1901.07441; 160,861 films), its raw
labels grouped into the findings of CXR-LT 2026, or an exponential tail. Findings are drawn through a Gaussian copula:
each keeps its frequency exactly, while shared factors (a failing heart, an operation, smoking, an accident, age) make
some of them occur together, and a share that belongs to the patient makes them last from film to film.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.labels import CXR_LT_2026, UNSEEN

NUM_PADCHEST = 160_861
COUNTS = {
    "pleural effusion": 9853 + 6784,  # and blunted costophrenic angles
    "cardiomegaly": 15022,
    "Support Devices": 5390 + 3508 + 2429 + 1825,  # feeding, endotracheal and tracheostomy tubes, pacemakers
    "aortic elongation": 10824,
    "Nodule": 3748 + 3194 + 2241,  # and granulomas, pseudonodules
    "atelectasis": 2905 + 5190,  # and plates
    "interstitial pattern": 7799,
    "hyperinflated lung": 689 + 6147,  # and air trapping
    "central venous catheter": 445 + 3204 + 1654 + 549,
    "alveolar pattern": 5738,
    "Kyphosis": 5215,
    "vertebral degenerative changes": 4878,
    "pleural thickening": 1055 + 3625,  # and apical
    "vascular hilar enlargement": 4517,
    "fracture": 2967 + 848 + 369,
    "sternotomy": 2849,
    "bronchiectasis": 2698,
    "aortic atheromatosis": 2546,
    "hemidiaphragm elevation": 2466,
    "Hernia": 2363,
    "Emphysema": 1538,
    "hypoexpansion": 1297,
    "calcified densities": 1221,
    "Mass": 1039 + 56,
    "Pneumothorax": 533,
    "azygos lobe": 483,
    "Subcutaneous Emphysema": 213,
    "pneumoperitoneo": 70,
    "Hydropneumothorax": 48,
}
FACTORS: tuple[dict[str, float], ...] = (
    {"cardiomegaly": 0.6, "pleural effusion": 0.5, "interstitial pattern": 0.4, "vascular hilar enlargement": 0.6},
    {"sternotomy": 0.7, "Support Devices": 0.6, "central venous catheter": 0.6, "cardiomegaly": 0.3},
    {"Emphysema": 0.7, "hyperinflated lung": 0.7, "Bulla": 0.6, "bronchiectasis": 0.3, "hypoexpansion": -0.7},
    {"Pneumothorax": 0.7, "Hydropneumothorax": 0.7, "Subcutaneous Emphysema": 0.7, "fracture": 0.5},
    {"aortic elongation": 0.6, "aortic atheromatosis": 0.6, "vertebral degenerative changes": 0.5, "Kyphosis": 0.5,
     "Osteopenia": 0.6, "Scoliosis": 0.3},
    {"alveolar pattern": 0.6, "atelectasis": 0.4, "pleural effusion": 0.4, "Infarction": 0.4},
)  # fmt: skip
AGE = 4  # of the factors, the one that makes patients older
SPREAD = 18.0  # s.d. of their ages, years
PATIENT_SHARE = 0.6  # of the variance of what a patient has
UNSEEN_PREVALENCE = 0.12  # of each unseen finding among the films of Task 2
LATERAL_SHARE = 0.8  # of the studies of patients who can stand
FLOOR = 8  # films that the rarest finding has, on average


@dataclass(frozen=True)
class Case:
    """One film to draw. ``findings`` are the study's, whether or not they show on this film."""

    patient: int
    from_front: bool
    findings: tuple[str, ...]
    age: int
    study: int
    lateral: bool = False

    @property
    def view(self) -> str:
        """As ``data import`` writes it."""
        return "L" if self.lateral else "AP" if self.from_front else "PA"


def prevalences(num_films: int, imbalance: float | None = None) -> dict[str, float]:
    """Share of the films with each finding of Task 1 (``Normal``, the absence of all, apart).

    PadChest's; or with ``imbalance``, an exponential tail of that ratio from the most to the least frequent, in
    PadChest's order. None falls below ``FLOOR`` films of ``num_films``.
    """
    ordered = sorted(COUNTS, key=lambda name: -COUNTS[name])
    if imbalance is None:
        shares = {name: COUNTS[name] / NUM_PADCHEST for name in ordered}
    else:
        fall = imbalance ** (-1 / (len(ordered) - 1))
        shares = {name: 0.15 * fall**rank for rank, name in enumerate(ordered)}
    return {name: min(0.5, max(shares[name], FLOOR / num_films)) for name in ordered}


def sample(
    num_films: int, prevalence: dict[str, float], rng: np.random.Generator, *, in_bed: float = 0.15, age: float = 58.0
) -> list[Case]:
    """Films of patients who have 2.4 on average, each a study of its own.

    ``in_bed``: share of the patients who get AP films. ``age``: their mean, in years; the old have more of the findings
    that come with age.
    """
    films_of = rng.geometric(1 / 2.4, num_films)
    patients = np.repeat(np.arange(num_films), films_of)[:num_films]
    lasting, factors = _latents(prevalence, patients[-1] + 1, rng)
    latent = np.sqrt(PATIENT_SHARE) * lasting[patients]
    latent += np.sqrt(1 - PATIENT_SHARE) * _latents(prevalence, num_films, rng)[0]
    has = latent > _thresholds(np.array(list(prevalence.values())))
    lies = rng.random(patients[-1] + 1)[patients] < in_bed
    years = np.clip(np.round(age + SPREAD * factors[:, AGE]), 18, 95).astype(int)[patients]
    names = np.array(list(prevalence))
    return [
        Case(int(patient), bool(front), tuple(names[row]), int(old), study)
        for study, (patient, front, row, old) in enumerate(zip(patients, lies, has, years, strict=True))
    ]


def with_laterals(studies: Sequence[Case], num_films: int, rng: np.random.Generator) -> list[Case]:
    """The first ``num_films`` films of these studies: behind a PA film there is mostly a lateral one; never in bed."""
    films = []
    for study in studies:
        films.append(study)
        if rng.random() < LATERAL_SHARE and not study.from_front:
            films.append(replace(study, lateral=True))
    return films[:num_films]


def unseen_prevalences(num_films: int) -> dict[str, float]:
    """Task 2: each unseen finding often enough to be judged, over a third of the usual ones."""
    usual = {name: share / 3 for name, share in prevalences(num_films).items()}
    return {**dict.fromkeys(UNSEEN, UNSEEN_PREVALENCE), **usual}


def task1_labels(film: Case) -> tuple[int, ...]:
    """0 or 1 for each of CXR-LT 2026's 30 findings; Normal means none of the others."""
    return tuple(int(not film.findings if name == "Normal" else name in film.findings) for name in CXR_LT_2026)


def task2_labels(film: Case) -> tuple[int, ...]:
    return tuple(int(name in film.findings) for name in UNSEEN)


def _latents(
    prevalence: dict[str, float], number: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Standard normals ``[number, C]``, correlated by the factors that findings share; and those factors."""
    names = list(prevalence)
    loadings = np.array([[factor.get(name, 0.0) for name in names] for factor in FACTORS])
    alone = np.sqrt(1 - (loadings**2).sum(axis=0))
    factors = rng.standard_normal((number, len(FACTORS)))
    latents = factors @ loadings + rng.standard_normal((number, len(names))) * alone
    return np.asarray(latents, np.float64), np.asarray(factors, np.float64)


def _thresholds(prevalence: NDArray[np.float64]) -> NDArray[np.float64]:
    """The standard normal's upper quantiles."""
    return np.array([NormalDist().inv_cdf(1 - share) for share in prevalence])
