"""``ensemble --soup``: checkpoints whose weights are averaged to one, on films that none of them learned from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from cxrlt_cli.config import EnsembleOptions, changed, flags
from cxrlt_cli.data.loading import FilmDataset, on_device
from cxrlt_cli.engine.chosen_rows import chosen_rows
from cxrlt_cli.engine.folder_films import film_list, takes_folder
from cxrlt_cli.engine.launch import launch
from cxrlt_cli.engine.learned import learned_by
from cxrlt_cli.engine.precision import choose_for_predicting
from cxrlt_cli.engine.predict import films_in_order, predict, read_checkpoint, rehearse
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporter import Reporter, Silent, counted
from cxrlt_cli.engine.sources import film_source, keep_films
from cxrlt_cli.engine.topology import lock_outputs_once
from cxrlt_cli.errors import DataError, OptionError, listed
from cxrlt_cli.files import require_file
from cxrlt_cli.nets.batch_norm import norms_of, recompute
from cxrlt_cli.nets.checkpoints import Checkpoint
from cxrlt_cli.nets.classifier import from_checkpoint
from cxrlt_cli.nets.manifest import BEST
from cxrlt_cli.nets.soup import Chosen, average, greedy, require_alike
from cxrlt_cli.scores.calibration import Calibration
from cxrlt_cli.scores.metrics import score
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.tables.label_table import LabelTable, read_exclusions, read_labels
from cxrlt_cli.tables.rows import is_table
from cxrlt_cli.tta import VIEWS, merge

NEEDLESS = ("tta", "merge", "postprocess", "alpha", "normal", "dicom_columns", "weights", "fit", "union", "findings",
            "calibration", "decisions", "fitted")  # fmt: skip
OF_ONE_EPOCH = ("phase", "epoch", "weights")  # what a checkpoint keeps of where it stood in its training


@dataclass(frozen=True)
class Soup:
    """Which members were averaged, to what, and how good that and each of them is."""

    chosen: Chosen
    tensors: Mapping[str, Tensor]
    predictions: Predictions
    ap: float
    aps: tuple[float, ...]  # of the members

    @property
    def best(self) -> int:
        return int(np.argmax(self.aps))


def make_soup(options: EnsembleOptions, reporter: Reporter) -> None:
    """Average checkpoints to one, and write that; nothing in a dry run.

    Raises OptionError, CheckpointError and DataError where they, or the films, do not suit.
    """
    csv = _check(options)
    inputs = (*options.members, *(path / BEST for path in options.members), csv, *options.exclude)
    require_file(options.out, "--out", inputs)
    with lock_outputs_once(options, ("--out", options.out)):
        checkpoints = [read_checkpoint(path, reporter) for path in options.members]
        require_alike(checkpoints, options.members)
        table = _films_to_judge(options, csv, checkpoints)
        films = film_list(options, (), csv, reporter)
        paths = films.paths(table.ids)
        reporter.plan(
            "Soup",
            {
                "films": f"{len(table):,} of {csv}",
                **{f"member {number}": str(path) for number, path in enumerate(options.members, 1)},
                "soup": str(options.soup),
                "process": str(Process.of(options)),
                "out": str(options.out),
            },
        )
        if not options.dry_run:
            keep_films([paths], len(paths), [checkpoints[0].preprocessing], options, reporter)
        soup = launch(_cook, options, reporter, checkpoints, paths, table, options)
        if soup is not None:
            _write(soup, checkpoints, table, options, reporter)


def _check(options: EnsembleOptions) -> Path:
    """What can be told from the options alone; gives ``--csv``."""
    if needless := changed(options) & set(NEEDLESS):
        raise OptionError(
            f"{flags(options, needless)} is of predictions, and --soup averages weights.",
            "Leave it out; it goes with infer, or ensemble, afterwards.",
        )
    if tables := [path for path in options.members if is_table(path)]:
        raise OptionError(f"{listed(tables)}: --soup averages the weights of checkpoints, no predictions.")
    if len(options.members) < 2:
        raise OptionError("--soup averages several checkpoints, and there is one.")
    if options.out.suffix != ".safetensors":
        raise OptionError(
            f"--out {options.out}: --soup writes a checkpoint.", "Give it a name that ends in .safetensors."
        )
    if options.csv is None or takes_folder(options):
        raise OptionError("--soup needs labelled films that no member learned from.", "Pass them with --csv.")
    return options.csv


def _films_to_judge(options: EnsembleOptions, csv: Path, checkpoints: Sequence[Checkpoint]) -> LabelTable:
    """The labelled films of ``--csv``; where members learned from films of it, those that all of them held out."""
    table = read_labels(
        csv,
        id_column=options.id_column,
        patient_column=options.patient_column,
        findings=checkpoints[0].findings,
        needs_patients=False,
        excluded=read_exclusions(options.exclude, options.id_column),
        chosen=chosen_rows(options, csv, options.split, Silent()),
    )
    for path, checkpoint in zip(options.members, checkpoints, strict=True):
        learned = learned_by(path, checkpoint)
        if learned is not None:
            table = table.rows(~np.array(learned.seen(list(table.ids), list(table.patients)), bool))
    if not len(table):
        raise DataError(
            f"There is no film of {csv} that no member learned from.",
            "Members of --folds learned from each other's films: pass labelled films of other patients with --csv. "
            "Members of --seeds hold out the same films; which, stands in the val_predictions.csv beside a checkpoint.",
        )
    if not table.counts.sum() or len(table) < 2:
        raise DataError(
            f"The {counted(len(table), 'film')} of {csv} that no member learned from have no positive label."
        )
    return table


def _cook(
    process: Process,
    reporter: Reporter,
    checkpoints: list[Checkpoint],
    paths: list[Path],
    table: LabelTable,
    options: EnsembleOptions,
) -> Soup | None:
    """The soup, or None after a dry run."""
    model = from_checkpoint(checkpoints[0], options.members[0])
    if norms_of(model) and options.batch_size < 2:
        raise OptionError("--batch-size 1: these networks have batch norms, which need several films in a batch.")
    process = choose_for_predicting(options, process, model, 2 * len(checkpoints) * len(paths), reporter)
    model = model.to(process.device)
    dataset = FilmDataset(film_source(paths, [model.preprocessing], options, reporter))
    if options.dry_run:
        loader = films_in_order(dataset, options.batch_size, process)
        rehearse([model], loader, VIEWS["none"], 2 * len(checkpoints) * len(paths), process, reporter)
        return None
    order = np.random.default_rng(options.seed).permutation(len(paths))
    mixed = FilmDataset(film_source([paths[row] for row in order], [model.preprocessing], options, reporter))

    def images() -> Iterator[Tensor]:
        """Films in an order of chance, in full batches where there is one: statistics of a few are no good."""
        loader = films_in_order(mixed, options.batch_size, process)
        for number, batch in enumerate(on_device(loader, process.device)):
            if number == 0 or len(batch.indices) == options.batch_size:
                yield model.normalize(batch.films[0].float())

    def run(films: Tensor) -> None:
        with process.autocast():
            model(films)

    def judged(title: str) -> tuple[Predictions, float]:
        loader = films_in_order(dataset, options.batch_size, process)
        with reporter.progress(title, len(paths)) as advance:
            (outputs,) = predict([model], loader, process, advance)
        predictions = Predictions(table.ids, model.findings, merge(outputs.logits, "mean").numpy())
        ap = score(table.targets, predictions.probabilities, predictions.findings).macro()["ap"]
        assert ap is not None, "there is a positive label"
        return predictions, ap

    alone = []
    for number, checkpoint in enumerate(checkpoints, 1):
        model.load_state_dict(dict(checkpoint.tensors))
        alone.append(judged(f"member {number}"))
    aps = tuple(ap for _, ap in alone)
    cooked: dict[Chosen, Soup] = {
        (member,): Soup((member,), checkpoint.tensors, *alone[member], aps)
        for member, checkpoint in enumerate(checkpoints)
    }

    def cook(chosen: Chosen) -> float:
        model.load_state_dict(average([checkpoints[member].tensors for member in chosen]))
        if norms_of(model):
            recompute(model, images(), run, process.summed)
        predictions, ap = judged(f"soup of {len(chosen)}")
        tensors = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
        cooked[chosen] = Soup(chosen, tensors, predictions, ap, aps)
        return ap

    if options.soup == "greedy":
        return cooked[greedy(aps, cook)]
    everything = tuple(range(len(checkpoints)))
    cook(everything)
    return cooked[everything]


def _write(
    soup: Soup, checkpoints: Sequence[Checkpoint], table: LabelTable, options: EnsembleOptions, reporter: Reporter
) -> None:
    """The checkpoint: what its best member keeps of its training, its own calibration, and what it is made of."""
    best, names = checkpoints[soup.best], [str(path.resolve()) for path in options.members]
    single = len(soup.chosen) == 1
    policies = {checkpoints[member].policy for member in soup.chosen}
    training: dict[str, Any] = {
        **{name: value for name, value in best.training.items() if single or name not in OF_ONE_EPOCH},
        "val_ap": soup.ap,
        "labels": policies.pop() if len(policies) == 1 else None,
        "calibration": Calibration.fit(soup.predictions, table.targets, table.patients).to_json(),
        "soup": {
            "kind": options.soup,
            "members": [names[member] for member in soup.chosen],
            "left_out": [name for member, name in enumerate(names) if member not in soup.chosen],
            "num_films": len(table),
        },
    }
    replace(best, tensors=soup.tensors, training=training, novelty=best.novelty if single else {}).write(options.out)
    rows = [
        (str(path), f"{ap:.3f}", "yes" if member in soup.chosen else "no")
        for member, (path, ap) in enumerate(zip(options.members, soup.aps, strict=True))
    ]
    reporter.table("Members", ("member", "macro AP", "in the soup"), rows)
    gain = soup.ap - soup.aps[soup.best]
    too_good = ", by which it was chosen, so it is too good" if options.soup == "greedy" else ""
    reporter.result(
        f"Soup of {len(soup.chosen)} of {counted(len(checkpoints), 'member')}: macro AP {soup.ap:.3f}, {gain:+.3f} "
        f"against the best member, on {counted(len(table), 'film')}{too_good}."
    )
    if gain < 0:
        reporter.warn("The soup is worse than its best member; --soup greedy never is on these films.")
    lost = (
        "" if single or not best.novelty else " For --ood-score, cxrlt finetune it: what members kept is of their own."
    )
    reporter.result(f"Wrote {options.out}: one network, calibrated on these films, for every command.{lost}")
