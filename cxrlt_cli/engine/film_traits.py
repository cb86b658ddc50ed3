"""What is known of films beside their scores, as drift is tested by it: familiarity, and how they were taken."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from cxrlt_cli.engine.stated_views import StatedViews
from cxrlt_cli.nets.checkpoints import NOVELTY, Checkpoint
from cxrlt_cli.nets.novelty import Novelty
from cxrlt_cli.nets.view_classifier import ViewClassifier
from cxrlt_cli.scores.drift import CLASSIFIED, STATED, Reference, Traits
from cxrlt_cli.scores.predictions import OOD_SCORE
from cxrlt_cli.tables.label_table import Texts


@dataclass(frozen=True)
class FilmTraits:
    """What tells them; None where nothing does, or nothing of it was kept of the films to compare with."""

    novelty: Novelty | None
    classifier: ViewClassifier | None
    stated: StatedViews | None

    @classmethod
    def of(cls, checkpoint: Checkpoint, stated: StatedViews | None, reference: Reference | None = None) -> "FilmTraits":
        """All that a checkpoint can tell; with a ``reference``, what that has."""
        remembers = f"{NOVELTY}held_out" in checkpoint.novelty
        novelty = Novelty.of(checkpoint.novelty) if remembers else None
        classifier = ViewClassifier.of(checkpoint)
        if reference is None:
            return cls(novelty, classifier, stated)
        return cls(
            novelty if OOD_SCORE in reference.edges else None,
            classifier if CLASSIFIED in reference.views else None,
            stated if STATED in reference.views else None,
        )

    @property
    def need_features(self) -> bool:
        return self.novelty is not None or self.classifier is not None

    def of_films(self, ids: Texts, features: Tensor | None) -> Traits:
        """Of films ``[N]`` with ``features [N, D]``."""
        views = {} if self.stated is None else {STATED: self.stated.comparable(ids)}
        if features is None:
            assert not self.need_features, "they were asked for"
            return Traits(views=views)
        if self.classifier is not None:
            views[CLASSIFIED] = self.classifier.tell(features)
        scores = None if self.novelty is None else self.novelty.score(features).numpy().astype(np.float64)
        return Traits(scores, views)
