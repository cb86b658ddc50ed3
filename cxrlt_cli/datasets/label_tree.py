"""PadChest's label tree: which findings are a kind of which.

The relations are those that the set's authors published (auriml/Rx-thorax-automatic-captioning).
"""

from functools import cache

# What each is a kind of: parent: children.
CHILDREN: dict[str, tuple[str, ...]] = {
    "adenopathy": ("calcified adenopathy",),
    "alveolar pattern": ("air bronchogram", "consolidation"),
    "aortic elongation": (
        "aortic button enlargement", "ascendent aortic elongation", "descendent aortic elongation",
        "supra aortic elongation",
    ),
    "artificial heart valve": ("artificial aortic heart valve", "artificial mitral heart valve"),
    "atelectasis": (
        "atelectasis basal", "laminar atelectasis", "lobar atelectasis", "round atelectasis", "segmental atelectasis",
        "total atelectasis",
    ),
    "atypical pneumonia": ("viral pneumonia",),
    "calcified adenopathy": ("calcified mediastinal adenopathy",),
    "calcified densities": (
        "calcified adenopathy", "calcified fibroadenoma", "calcified granuloma", "calcified pleural plaques",
        "calcified pleural thickening", "heart valve calcified",
    ),
    "catheter": ("central venous catheter",),
    "central venous catheter": (
        "central venous catheter via jugular vein", "central venous catheter via subclavian vein",
        "central venous catheter via umbilical vein", "reservoir central venous catheter",
    ),
    "consolidation": ("air bronchogram",),
    "electrical device": ("dai", "dual chamber device", "pacemaker", "single chamber device"),
    "endoprosthesis": ("aortic endoprosthesis",),
    "fissure thickening": ("loculated fissural effusion", "major fissure thickening", "minor fissure thickening"),
    "fracture": ("clavicle fracture", "humeral fracture", "rib fracture", "vertebral fracture"),
    "granuloma": ("calcified granuloma",),
    "hilar enlargement": ("adenopathy", "vascular hilar enlargement"),
    "infiltrates": ("alveolar pattern", "interstitial pattern"),
    "interstitial pattern": (
        "ground glass pattern", "miliary opacities", "reticular interstitial pattern",
        "reticulonodular interstitial pattern",
    ),
    "mass": ("breast mass", "mediastinal mass", "pleural mass", "pulmonary mass", "soft tissue mass"),
    "mediastinal enlargement": (
        "aortic aneurysm", "ascendent aortic elongation", "descendent aortic elongation", "hiatal hernia",
        "mediastinal mass", "superior mediastinal enlargement",
    ),
    "metal": ("osteosynthesis material", "sternotomy", "suture material"),
    "nodule": ("multiple nodules",),
    "pleural effusion": (
        "empyema", "hemothorax", "hydropneumothorax", "loculated fissural effusion", "loculated pleural effusion",
    ),
    "pleural plaques": ("calcified pleural plaques",),
    "pleural thickening": ("apical pleural thickening", "calcified pleural thickening"),
    "pneumonia": ("atypical pneumonia",),
    "pneumothorax": ("hydropneumothorax",),
    "prosthesis": ("endoprosthesis", "humeral prosthesis", "mammary prosthesis"),
    "pseudonodule": ("end on vessel", "nipple shadow"),
    "pulmonary fibrosis": ("asbestosis signs", "post radiotherapy changes"),
    "pulmonary hypertension": ("pulmonary artery hypertension", "pulmonary venous hypertension"),
    "rib fracture": ("callus rib fracture",),
    "sclerotic bone lesion": ("blastic bone lesion",),
    "superior mediastinal enlargement": ("goiter", "supra aortic elongation"),
    "surgery": (
        "bone cement", "metal", "prosthesis", "surgery breast", "surgery heart", "surgery humeral", "surgery lung",
        "surgery neck",
    ),
    "surgery breast": ("mastectomy",),
    "thoracic cage deformation": ("cervical rib", "kyphosis", "pectum carinatum", "pectum excavatum", "scoliosis"),
    "tuberculosis": ("tuberculosis sequelae",),
    "vascular hilar enlargement": ("pulmonary artery enlargement",),
    "vascular redistribution": ("central vascular redistribution",),
    "vertebral compression": ("vertebral anterior compression",),
    "vertebral degenerative changes": ("vertebral compression",),
    "viral pneumonia": ("COVID 19", "COVID 19 uncertain"),
}  # fmt: skip

PARENTS: dict[str, tuple[str, ...]] = {}
for _parent, _children in CHILDREN.items():
    for _child in _children:
        PARENTS[_child] = (*PARENTS.get(_child, ()), _parent)


@cache
def ancestors(name: str) -> frozenset[str]:
    """Everything that a finding is a kind of, by any way."""
    parents = PARENTS.get(name, ())
    return frozenset(parents).union(*map(ancestors, parents))
