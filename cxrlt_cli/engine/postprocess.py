"""From a model's logits to the probabilities and decisions that are written: views, calibration, gating, novelty."""

from collections.abc import Sequence
from dataclasses import dataclass

from cxrlt_cli.config import InferOptions, PredictOptions
from cxrlt_cli.engine.deciding import Deciding, Watch
from cxrlt_cli.engine.film_traits import FilmTraits
from cxrlt_cli.engine.local_file import require_findings
from cxrlt_cli.engine.predict import Outputs
from cxrlt_cli.engine.stated_views import StatedViews
from cxrlt_cli.errors import OptionError, listed
from cxrlt_cli.labels import LabelSpace
from cxrlt_cli.names import meant
from cxrlt_cli.nets.checkpoints import Checkpoint
from cxrlt_cli.nets.novelty import Novelty
from cxrlt_cli.scores.calibration import Calibration
from cxrlt_cli.scores.drift import NOTHING
from cxrlt_cli.scores.local_fit import LocalFit
from cxrlt_cli.scores.predictions import OOD_SCORE, Predictions, normal_gating
from cxrlt_cli.tables.label_table import Texts
from cxrlt_cli.tta import VIEWS, merge


@dataclass(frozen=True)
class Postprocess:
    """What ``cxrlt infer`` makes of the outputs of one model."""

    options: InferOptions
    known: tuple[str, ...]  # the findings of the model
    findings: tuple[str, ...]  # those that are written
    normal: str | None  # the finding that gates the others
    deciding: Deciding | None
    novelty: Novelty | None
    traits: FilmTraits | None = None  # of which the films that ``--fitted`` was fitted on keep something

    @classmethod
    def of(
        cls,
        options: InferOptions,
        checkpoint: Checkpoint,
        local: LocalFit | None = None,
        stated: StatedViews | None = None,
    ) -> "Postprocess":
        """``local``: what ``--fitted`` says of this model; ``stated``: how the films were taken, to be held against it.

        Raises OptionError and CheckpointError where the model or that lacks what the options ask for.
        """
        known = checkpoint.findings
        findings = options.findings or known
        unknown = [name for name in findings if name not in known]
        if unknown:
            raise OptionError(
                f"--findings: the model does not know {listed(unknown)}.{meant(unknown[0], known)}",
                f"It has {listed(known, 40)}.",
            )
        normal, deciding = normal_finding(options, known), None
        if local is not None and options.fitted is not None:
            require_findings(local, findings, options.fitted)
            if normal is not None and normal not in local.findings:
                raise OptionError(f"normal_gating needs {normal}, of which --fitted {options.fitted} has nothing.")
            deciding = Deciding(local.calibration, local, options.decide)
        elif options.calibration != "none" or options.decisions is not None:
            deciding = Deciding(Calibration.of(checkpoint.training, known), None, options.decide)
        novelty = Novelty.of(checkpoint.novelty) if options.ood_score else None
        traits = None if local is None else FilmTraits.of(checkpoint, stated, local.reference)
        return cls(options, known, findings, normal, deciding, novelty, traits)

    @property
    def need_features(self) -> bool:
        return self.novelty is not None or (self.traits is not None and self.traits.need_features)

    def watch(self) -> Watch | None:
        """What counts films, on their way; None where nothing is calibrated or decided."""
        return None if self.deciding is None else Watch(self.deciding, self.findings)

    def predictions(self, ids: Texts, outputs: Outputs, watch: Watch | None = None) -> tuple[Predictions, ...]:
        """For ``--out`` and, if it is asked for, ``--decisions``; ``watch`` sees them."""
        predictions = Predictions(ids, self.known, merge(outputs.logits, self.options.merge).numpy())
        needed = (*self.findings, *([self.normal] if self.normal and self.normal not in self.findings else []))
        predictions, decided = predictions.select(needed), None
        if self.deciding is not None and self.options.decisions is not None:
            decided = self.deciding.decide(predictions.select(self.findings))
        if watch is not None:
            traits = NOTHING if self.traits is None else self.traits.of_films(ids, outputs.features)
            watch.see(predictions.select(self.findings), decided, traits)
        if self.deciding is not None and self.options.calibration != "none":
            predictions = self.deciding.calibration.calibrate(predictions, self.options.calibration)
        if self.normal is not None:
            predictions = normal_gating(predictions, self.options.alpha, self.normal)
        predictions = predictions.select(self.findings)
        if self.novelty is not None:
            assert outputs.features is not None, "asked for"
            predictions = predictions.with_column(OOD_SCORE, self.novelty.score(outputs.features).numpy())
        return (predictions,) if decided is None else (predictions, decided)


def normal_finding(options: PredictOptions, findings: Sequence[str]) -> str | None:
    """The finding that gates the others, where that is asked for; raises OptionError where there is none."""
    if options.postprocess == "none":
        return None
    normal = options.normal or LabelSpace.of(findings).normal
    if normal not in findings:
        what = f"--normal: the model does not know {normal}" if options.normal else "No finding means normal"
        raise OptionError(f"{what}; normal_gating needs one.", f"Name it with --normal: {listed(findings, 40)}.")
    return normal


def plan_of_views(options: PredictOptions, normal: str | None) -> dict[str, str]:
    views = VIEWS[options.tta]
    names = ", ".join(view.name for view in views)
    facts = {"views": f"{options.tta} ({names}), merged by {options.merge}"} if len(views) > 1 else {}
    gating = {"gating": f"every finding times (1 - {normal}) to the power of {options.alpha:g}"} if normal else {}
    return {**facts, **gating}
