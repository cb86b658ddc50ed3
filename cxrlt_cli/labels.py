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

NORMAL_NAMES = ("normal", "no finding", "no findings")  # in any case, with spaces or underscores
DEVICE_NAMES = ("support devices", "support device")  # a film with nothing else is normal: CheXpert's labels say so


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
        """The space of these findings; the first that is called ``Normal``, or else ``No Finding``, is the normal."""
        names = tuple(findings)
        spelled = {plain_name(name): name for name in reversed(names)}
        return cls(names, next((spelled[name] for name in NORMAL_NAMES if name in spelled), None))

    @property
    def devices(self) -> tuple[str, ...]:
        """The findings that stand beside normal without a contradiction."""
        return tuple(name for name in self.findings if plain_name(name) in DEVICE_NAMES)

    def __len__(self) -> int:
        return len(self.findings)


def plain_name(name: str) -> str:
    """A name as it is compared where spelling says nothing: without case, spaces for underscores and dashes."""
    return " ".join(name.replace("_", " ").replace("-", " ").casefold().split())


def band(prevalence: float) -> Band:
    """Frequency band of a finding: head above 10 % of the training films, tail below 1 %, medium between.

    The convention of CXR-LT 2024 (Lin et al., Medical Image Analysis 106, 2025).
    """
    if prevalence > 0.10:
        return "head"
    return "tail" if prevalence < 0.01 else "medium"
