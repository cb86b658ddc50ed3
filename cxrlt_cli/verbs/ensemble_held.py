"""``ensemble`` of checkpoints where the blend needs all films at once: ``--fit``, ``--merge rank``, or ``--per-study``
without ``--by-view``.

What the members say grows on the disk beside ``--out``, and goes on growing after a stop; it is blended when all films
are predicted, a few findings at a time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cxrlt_cli.engine.blending import MemberOutputs, finished
from cxrlt_cli.engine.disk_space import require_room_for_rows
from cxrlt_cli.engine.film_facts import FilmFacts
from cxrlt_cli.engine.films import FilmList
from cxrlt_cli.engine.launch import launch
from cxrlt_cli.engine.logit_file import LogitFile
from cxrlt_cli.engine.member_films import Blend, Looking, Part, prepare, stated_views
from cxrlt_cli.engine.partial import Output, write_predictions
from cxrlt_cli.engine.predict import stretches
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporter import Advance, Reporter, counted, told_of_written
from cxrlt_cli.engine.stated_views import StatedViews
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.scores.studies import Studies
from cxrlt_cli.tables.label_table import Texts
from cxrlt_cli.tta import VIEWS

Chooser = Callable[[MemberOutputs, Reporter], Predictions]  # how --fit blends what members said; picklable


@dataclass(frozen=True)
class Held:
    """What is made of the logits of all films, when they are there."""

    blend: Blend
    films: FilmList
    facts: FilmFacts
    stated: StatedViews | None
    studies: Studies | None
    chooser: Chooser | None  # None: as the options say

    def logits(self, path: Path) -> LogitFile:
        """As they stand in this file."""
        widths = tuple(len(model.findings) for model in self.blend.members.models.values())
        return LogitFile(path, len(VIEWS[self.blend.options.tta]), widths)

    def finish(self, reporter: Reporter, rows: Path, path: Path) -> None:
        """Blend the logits of ``rows``, which are gone then, for ``path`` and ``--decisions``."""
        blend, options = self.blend, self.blend.options
        outputs = self._outputs(self.logits(rows))
        blended = outputs.blended(blend.normal, options) if self.chooser is None else self.chooser(outputs, reporter)
        blended, decided = finished(blended.select(blend.findings), blend.watch, self.stated, options)
        id_column = options.id_column if self.studies is None else options.study_column
        if options.decisions is not None and decided is not None:
            replaced = options.decisions.is_file()
            self.facts.added(decided, reporter).write(options.decisions, id_column)
            reporter.result(told_of_written(options.decisions, replaced, self.films.number, self.what))
        self.facts.added(blended, reporter).write(path, id_column)
        rows.unlink()

    def _outputs(self, kept: LogitFile) -> MemberOutputs:
        members = self.blend.members
        (ids,) = self.films.stretches([self.films.number])
        files = {place: file.rows(list(ids)) for place, file in members.files.items()}
        known = tuple(map(members.known, range(len(members.paths))))
        way = self.blend.options.per_study or "mean"
        return MemberOutputs(kept.probabilities, files, ids, known, self.blend.needed, self.studies, way)

    @property
    def what(self) -> str:
        of_studies = "" if self.studies is None else f" of {counted(len(self.studies), 'study', 'studies')}"
        return counted(len(self.blend.findings), "finding") + of_studies


def predict_held(
    blend: Blend,
    films: FilmList,
    facts: FilmFacts,
    studies: Studies | None,
    chooser: Chooser | None,
    reporter: Reporter,
) -> None:
    """Write the blend of every film, or of every study. After a stop, the same command goes on where it was."""
    held = Held(blend, films, facts, stated_views(blend, films), studies, chooser)
    if not blend.options.dry_run:
        num_bytes = films.number * held.logits(blend.options.out).film_bytes
        require_room_for_rows("--out", blend.options.out, num_bytes, f"logits of {films.number:,} films")
    prepare(blend, films, reporter)
    launch(_predict, blend.options, reporter, held)


def _predict(process: Process, reporter: Reporter, held: Held) -> None:
    blend, films, options = held.blend, held.films, held.blend.options
    looking, kept = Looking(blend, films, process, reporter), held.logits(options.out)
    everyone = range(len(blend.members.paths))
    if options.dry_run:
        looking.rehearse(next(films.stretches([films.number])), everyone, reporter)
        return

    def predicted(ids: Texts, advance: Advance) -> Part:
        return looking.predict(ids, everyone, advance)

    def rows(ids: Texts, part: Part, first: bool) -> list[bytes]:
        return [kept.rows([one.logits for one in part.outputs])]

    output = Output(options.out, held.what, partial(held.finish, reporter))
    sizes, key = stretches(options.batch_size, looking.process), blend.key(films, looking.process)
    write_predictions([output], key, films, sizes, predicted, rows, looking.process, reporter)
    if process.is_main and blend.watch is not None:
        blend.watch.tell(reporter)
