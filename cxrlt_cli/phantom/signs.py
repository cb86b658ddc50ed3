"""Which sign draws which finding."""

from collections.abc import Callable
from dataclasses import dataclass

from cxrlt_cli.phantom import hardware, shape, substance
from cxrlt_cli.phantom.anatomy import SIDES, Anatomy, Generator, Scene
from cxrlt_cli.phantom.drawing import Box

MIDDLE, RIGHT = (0,), (-1,)  # the patient's right is on the left of the film


@dataclass(frozen=True)
class Sign:
    """How a finding is drawn: a change of the chest's shape, of its maps, or of both.

    ``focal``: it has a place, where a reader would point.
    """

    sides: tuple[int, ...] = MIDDLE
    shape: Callable[[Anatomy, Generator, float, int], Box] | None = None
    substance: Callable[[Scene, Generator, float, int], Box] | None = None
    focal: bool = True


SIGNS: dict[str, Sign] = {
    "aortic elongation": Sign(shape=shape.aortic_elongation, focal=False),
    "cardiomegaly": Sign(shape=shape.cardiomegaly),
    "pleural effusion": Sign(SIDES, substance=substance.pleural_effusion),
    "Nodule": Sign(SIDES, substance=substance.nodule),
    "atelectasis": Sign(SIDES, substance=substance.atelectasis),
    "pleural thickening": Sign(SIDES, substance=substance.pleural_thickening),
    "aortic atheromatosis": Sign(substance=hardware.aortic_atheromatosis),
    "Support Devices": Sign(SIDES, substance=hardware.support_devices),
    "alveolar pattern": Sign(SIDES, substance=substance.alveolar_pattern),
    "fracture": Sign(SIDES, substance=hardware.fracture),
    "Hernia": Sign(substance=substance.hernia),
    "Emphysema": Sign(shape=shape.emphysema, focal=False),
    "azygos lobe": Sign(RIGHT, substance=substance.azygos_lobe),
    "Hydropneumothorax": Sign(SIDES, substance=substance.hydropneumothorax),
    "Kyphosis": Sign(shape=shape.kyphosis, substance=substance.stooped_spine, focal=False),
    "Mass": Sign(SIDES, substance=substance.mass),
    "Pneumothorax": Sign(SIDES, substance=substance.pneumothorax),
    "Subcutaneous Emphysema": Sign(SIDES, substance=substance.subcutaneous_emphysema),
    "pneumoperitoneo": Sign(RIGHT, substance=substance.pneumoperitoneum),
    "vascular hilar enlargement": Sign(shape=shape.vascular_hilar_enlargement),
    "vertebral degenerative changes": Sign(substance=hardware.vertebral_degenerative_changes),
    "hyperinflated lung": Sign(shape=shape.hyperinflated_lung, focal=False),
    "interstitial pattern": Sign(substance=substance.interstitial_pattern, focal=False),
    "central venous catheter": Sign(RIGHT, substance=hardware.central_venous_catheter),
    "hypoexpansion": Sign(shape=shape.hypoexpansion, focal=False),
    "bronchiectasis": Sign(SIDES, substance=substance.bronchiectasis),
    "hemidiaphragm elevation": Sign(SIDES, shape=shape.hemidiaphragm_elevation),
    "sternotomy": Sign(substance=hardware.sternotomy),
    "calcified densities": Sign(SIDES, substance=hardware.calcified_densities),
    "Scoliosis": Sign(SIDES, shape=shape.scoliosis, focal=False),
    "Osteopenia": Sign(shape=shape.osteopenia, focal=False),
    "Bulla": Sign(SIDES, substance=substance.bulla),
    "Infarction": Sign(SIDES, substance=substance.infarction),
    "Adenopathy": Sign(substance=substance.adenopathy),
    "goiter": Sign(SIDES, shape=shape.displaced_trachea, substance=substance.goiter),
}
