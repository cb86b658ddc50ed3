"""The members of an ensemble: what was named, what they know, and what they say of the same films."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
from torch import Tensor

from cxrlt_cli.config import EnsembleOptions, changed, flags
from cxrlt_cli.engine.deciding import Deciding, Watch
from cxrlt_cli.engine.default_films import films_csv
from cxrlt_cli.engine.folder_films import takes_folder
from cxrlt_cli.engine.learned import Learned, learned_by
from cxrlt_cli.engine.predict import read_checkpoint
from cxrlt_cli.engine.reporter import Reporter, tell_needless
from cxrlt_cli.engine.several import out_of_fold
from cxrlt_cli.engine.stated_views import StatedViews
from cxrlt_cli.errors import DataError, OptionError, listed
from cxrlt_cli.names import meant
from cxrlt_cli.nets.checkpoints import Checkpoint
from cxrlt_cli.nets.classifier import Classifier, from_checkpoint
from cxrlt_cli.nets.view_classifier import ViewClassifier
from cxrlt_cli.scores import Doubles
from cxrlt_cli.scores.drift import NOTHING, STATED, Traits
from cxrlt_cli.scores.predictions import Predictions, blend_known, normal_gating, require_same
from cxrlt_cli.scores.selection import ViewWeights
from cxrlt_cli.scores.studies import PerStudy, Studies
from cxrlt_cli.tables.label_table import LabelTable, Texts
from cxrlt_cli.tables.rows import is_table
from cxrlt_cli.tta import merge

# A merge of views, and the columns of each model, to what each of them says, ``[N, columns]``.
Said = Callable[[str, Sequence[Sequence[int]]], Sequence[Doubles]]

BLENDED_BYTES = 2**24  # of what all members say of the findings that are blended at a time


@dataclass(frozen=True)
class Members:
    """What was named: models by their place, and predictions by theirs."""

    paths: tuple[Path, ...]
    models: dict[int, Classifier]
    files: dict[int, Predictions]
    csv: Path | None  # of the films; None where a folder has them, or all members are predictions and none was given
    view_classifiers: dict[int, ViewClassifier] = field(default_factory=dict)  # of those that learned views
    learned: dict[int, Learned | None] = field(default_factory=dict)  # of checkpoints, with --fit

    @classmethod
    def read(cls, options: EnsembleOptions, reporter: Reporter) -> "Members":
        """Every member, before any film is read; with ``--fit``, of a run with folds what it predicted out of fold."""
        models: dict[int, Classifier] = {}
        files: dict[int, Predictions] = {}
        checkpoints: dict[int, Checkpoint] = {}
        judged = {path: out_of_fold(path) if options.fit else None for path in options.members}
        for index, path in enumerate(options.members):
            if (table := judged[path] or path) and is_table(table):
                files[index] = Predictions.read(table, options.id_column)
                if np.isin(files[index].probabilities, (0.0, 1.0)).all():
                    reporter.warn(f"{table} holds only 0 and 1, as labels do. Members are what models predicted.")
            else:
                checkpoints[index] = read_checkpoint(path, reporter)
                models[index] = from_checkpoint(checkpoints[index], path)
        needless = changed(options) & {"tta", "image_dir", "cache", "links", "max_pixels", "dicom_columns"}
        if not models and needless:
            runs = (
                " and runs with --folds, of which --fit takes the out-of-fold predictions"
                if any(judged.values())
                else ""
            )
            raise OptionError(
                f"{flags(options, needless)} has no effect on prediction CSVs alone{runs}: no film is read.",
                "Pass checkpoints, or leave it out.",
            )
        if len(options.members) == 1 and options.tta == "none" and options.merge != "rank":
            tell_needless(reporter, options, ["weights", "merge"], "there is one member, and one view")
        if not options.fit:
            tell_needless(reporter, options, ["patient_column"], "only --fit looks at patients")
        needs_csv = models and not takes_folder(options)
        csv = films_csv(options.csv, list(checkpoints.values()), reporter) if needs_csv else options.csv
        learned = {}
        if options.fit:
            learned = {index: learned_by(options.members[index], one) for index, one in checkpoints.items()}
        tellers = {index: ViewClassifier.of(checkpoint) for index, checkpoint in checkpoints.items()}
        known = {index: teller for index, teller in tellers.items() if teller is not None}
        return cls(options.members, models, files, csv, known, learned)

    def warn_of_seen(self, truth: LabelTable, csv: Path, reporter: Reporter) -> None:
        """Where a member learned from films that it is to be judged by, or from other films of their patients."""
        for index, learned in self.learned.items():
            if learned is None or not (number := learned.number(truth)):
                continue
            way = "Pass labelled films on which it was not trained, or train with --folds"
            if learned.in_folds:
                way = "Name the folder of the whole run: --fit then takes its out-of-fold predictions"
            reporter.warn(
                f"{self.paths[index]} was trained on {number:,} of the {len(truth):,} films of {csv}, or on others of "
                f"their patients: its predictions there are too good, and --fit would prefer it for that. {way}."
            )

    def only(self, places: Sequence[int]) -> "Members":
        """Those at some places."""
        return Members(
            tuple(self.paths[place] for place in places),
            {number: self.models[place] for number, place in enumerate(places) if place in self.models},
            {number: self.files[place] for number, place in enumerate(places) if place in self.files},
            self.csv,
        )

    def known(self, index: int) -> tuple[str, ...]:
        """The findings of a member."""
        return self.models[index].findings if index in self.models else self.files[index].findings

    def judged_by(self, index: int) -> str:
        """What is said behind the name of a member that is a run, and stands for its predictions out of fold."""
        return " (out of fold)" if index in self.files and self.paths[index].is_dir() else ""

    def require_films(self, index: int, ids: Iterable[str], source: Path) -> None:
        """Raise DataError where a prediction CSV lacks some of the films of ``source``."""
        known = set(self.files[index].ids)
        if missing := sorted({film for film in ids if film not in known}):
            raise DataError(
                f"{self.paths[index]}{self.judged_by(index)} lacks the films {listed(missing)} of {source}.",
                "Leave films out with --exclude.",
            )

    def findings(self, options: EnsembleOptions) -> tuple[str, ...]:
        """The findings to write; every member must know them, and without ``--findings`` all must have the same.

        With ``--union``, one member that knows a finding will do. Raises DataError and OptionError.
        """
        names = [str(path) for path in self.paths]
        if options.union:
            union = tuple(dict.fromkeys(chain(*(self.known(index) for index in range(len(names))))))
            missing = [finding for finding in options.findings or () if finding not in union]
            if missing:
                raise OptionError(f"--findings: no member knows {listed(missing)}.{meant(missing[0], union)}")
            return options.findings or union
        for index, name in enumerate(names):
            known = self.known(index)
            if options.findings is None:
                require_same("finding", self.known(0), known, names[0], name)
            else:
                missing = [finding for finding in options.findings if finding not in known]
                if missing:
                    raise OptionError(f"--findings: {name} does not know {listed(missing)}.{meant(missing[0], known)}")
        return options.findings or self.known(0)


@dataclass(frozen=True)
class MemberOutputs:
    """What the members said of the same films and findings."""

    models: Said  # all members but the files
    files: Mapping[int, Predictions]  # by the place of the member
    ids: Texts
    findings: tuple[tuple[str, ...], ...]  # of each member
    needed: tuple[str, ...]  # the findings that are written or gate the others
    studies: Studies | None = None  # None: films are predicted one by one
    per_study: PerStudy = "mean"

    def merged(
        self, mode: str, view_weights: ViewWeights = None, names: Sequence[str] | None = None
    ) -> list[Predictions]:
        """A prediction a member; the views of a model are merged by ``mode``, by their mean where that is ``rank``.

        Then the films of a study, where those are predicted, by ``per_study`` and ``view_weights``. ``names``: of which
        findings; by default, all that are needed.
        """
        wanted = self.needed if names is None else names
        films = self._films(mode, [tuple(name for name in wanted if name in mine) for mine in self.findings])
        if self.studies is None:
            return films
        return [self.studies.predictions(one, self.per_study, view_weights) for one in films]

    def _films(self, mode: str, names: Sequence[tuple[str, ...]]) -> list[Predictions]:
        """What each member says of the films; ``names``: the findings to take of it."""
        models = [index for index in range(self.num_members) if index not in self.files]
        columns = [[self.findings[index].index(name) for name in names[index]] for index in models]
        values = dict(zip(models, self.models("mean" if mode == "rank" else mode, columns), strict=True))
        return [
            Predictions(self.ids, mine, values[index]) if index in values else self.files[index].select(mine)
            for index, mine in enumerate(names)
        ]

    @property
    def num_members(self) -> int:
        return len(self.findings)

    def blended(self, normal: str | None, options: EnsembleOptions) -> Predictions:
        """One prediction of all members, gated by ``normal`` where that is asked for.

        Findings are blended a few at a time: what all members say of them takes ``BLENDED_BYTES``, or as much as the
        blend where that is more.
        """
        one = self.num_members * len(self.ids) * np.dtype(float).itemsize
        few = max(1, len(self.needed) // self.num_members, BLENDED_BYTES // one)
        parts = []
        for start in range(0, len(self.needed), few):
            names = self.needed[start : start + few]
            merged = self.merged(options.merge, options.view_weights, names)
            parts.append(blend_known(merged, names, options.weights, options.merge))
        together = np.concatenate([part.probabilities for part in parts], axis=1)
        blended = Predictions(parts[0].ids, self.needed, together)
        return blended if normal is None else normal_gating(blended, options.alpha, normal)


def said(logits: Sequence[Tensor]) -> Said:
    """Of the logits ``[V, N, C]`` of each model, in memory."""
    return lambda mode, columns: [
        merge(one[:, :, list(mine)], mode).numpy() for one, mine in zip(logits, columns, strict=True)
    ]


def watching(deciding: Deciding, findings: Sequence[str], options: EnsembleOptions, reporter: Reporter) -> Watch:
    """What counts films on their way, when it was told what decisions rest on. Raises OptionError of what lacks."""
    if missing := [name for name in findings if name not in deciding.calibration.platt]:
        raise OptionError(f"--fitted {options.fitted} has nothing of {listed(missing)}.", "Leave it out by --findings.")
    if options.decisions is not None:
        deciding.tell(findings, reporter)
    return Watch(deciding, findings)


def finished(
    blended: Predictions, watch: Watch | None, stated: StatedViews | None, options: EnsembleOptions
) -> tuple[Predictions, Predictions | None]:
    """A blend for ``--out``, and its decisions where they are asked for; ``watch`` counts both.

    ``stated``: how the films were taken, which is counted too.
    """
    if watch is None:
        return blended, None
    deciding = watch.deciding
    decided = None if options.decisions is None else deciding.decide(blended)
    watch.see(blended, decided, NOTHING if stated is None else Traits(views={STATED: stated.comparable(blended.ids)}))
    if options.calibration != "none":
        blended = deciding.calibration.calibrate(blended, options.calibration)
    return blended, decided
