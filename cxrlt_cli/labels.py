"""Names of findings: the challenge's vocabularies, which of them means "normal", and the bands of the long tail."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Band = Literal["head", "medium", "tail"]
BANDS: tuple[Band, ...] = ("head", "medium", "tail")

# CXR-LT 2026 Task 1, in the order of the training CSV's columns and of the winner's logits; spelling and case matter.
CXR_LT_2026 = (
    "Normal",
    "aortic elongation",
    "cardiomegaly",
    "pleural effusion",
    "Nodule",
    "atelectasis",
    "pleural thickening",
    "aortic atheromatosis",
    "Support Devices",
    "alveolar pattern",
    "fracture",
    "Hernia",
    "Emphysema",
    "azygos lobe",
    "Hydropneumothorax",
    "Kyphosis",
    "Mass",
    "Pneumothorax",
    "Subcutaneous Emphysema",
    "pneumoperitoneo",
    "vascular hilar enlargement",
    "vertebral degenerative changes",
    "hyperinflated lung",
    "interstitial pattern",
    "central venous catheter",
    "hypoexpansion",
    "bronchiectasis",
    "hemidiaphragm elevation",
    "sternotomy",
    "calcified densities",
)

# CXR-LT 2026 Task 2, in the order of the submission.
UNSEEN = ("Scoliosis", "Osteopenia", "Bulla", "Infarction", "Adenopathy", "goiter")

NORMAL_NAMES = ("Normal", "No Finding")


@dataclass(frozen=True)
class LabelSpace:
    """Ordered names of findings, and which one says that there is none."""

    findings: tuple[str, ...]
    normal: str | None = None

    def __post_init__(self) -> None:
        assert len(set(self.findings)) == len(self.findings), "findings must be unique"
        assert self.normal is None or self.normal in self.findings, "normal must be one of the findings"

    @classmethod
    def of(cls, findings: Iterable[str]) -> "LabelSpace":
        """The space of these findings; the first of ``Normal`` and ``No Finding`` that is among them is the normal."""
        names = tuple(findings)
        return cls(names, next((name for name in NORMAL_NAMES if name in names), None))

    def __len__(self) -> int:
        return len(self.findings)


def band(prevalence: float) -> Band:
    """Frequency band of a finding: head above 10 % of the training films, tail below 1 %, medium between.

    The convention of CXR-LT 2024 (Lin et al., Medical Image Analysis 106, 2025).
    """
    if prevalence > 0.10:
        return "head"
    return "tail" if prevalence < 0.01 else "medium"
