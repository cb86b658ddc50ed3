"""The films of a report: thumbnails, heat maps of where the model looked, and training films that they resemble."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cxrlt_cli.config import EvaluateOptions
from cxrlt_cli.data.levels import Film
from cxrlt_cli.data.thumbnails import data_uri, overlaid, thumbnail
from cxrlt_cli.engine.film_folder import finder
from cxrlt_cli.engine.film_looks import Seen, readable
from cxrlt_cli.engine.reporter import Reporter, counted
from cxrlt_cli.errors import DataError
from cxrlt_cli.report import HeatMap, Mistake, Neighbour, Picture
from cxrlt_cli.scores.nearest import Known
from cxrlt_cli.tables.embeddings import Embeddings
from cxrlt_cli.tables.label_table import LabelTable
from cxrlt_cli.tables.study_columns import Place, read_known_places

if TYPE_CHECKING:
    from cxrlt_cli.engine.heat_map_model import HeatMapModel

NUM_SHOWN = 3  # training films beside each film
SMALL = 160  # pixels of theirs
MOST_BYTES = 15_000_000  # of pictures on a page


def with_places(mistakes: Sequence[Mistake], csv: Path, options: EvaluateOptions) -> list[Mistake]:
    """The mistakes with the patient, study and view of their films, where the CSV says them."""
    names = {mistake.film for mistake in mistakes}
    columns = (options.id_column, options.patient_column, options.study_column, options.view_column)
    places = read_known_places(csv, names, columns)
    return [replace(mistake, whose=_whose(places[mistake.film])) for mistake in mistakes]


def _whose(place: Place) -> str:
    known = (("patient", place.patient), ("study", place.study), ("view", place.view))
    return ", ".join(f"{name} {value}" for name, value in known if value)


def pictures_of(
    mistakes: Sequence[Mistake],
    csv: Path,
    truth: LabelTable,
    model: "HeatMapModel | None",
    options: EvaluateOptions,
    reporter: Reporter,
) -> list[Picture]:
    """The films of the mistakes that can be read; none where the folder is not told and not beside the CSV."""
    names = list(dict.fromkeys(mistake.film for mistake in mistakes))
    try:
        where = finder(csv, options.image_dir, list(map(str, truth.ids)), "follow", reporter.progress)
        found = where.find(lambda: [names])
    except DataError:
        reporter.note("The report has no films: pass their folder with --image-dir.")
        return []
    for fault in found.faults():
        reporter.warn(f"Not in the report: {fault}.")
    films = readable(names, found, reporter)
    pictures = _drawn(mistakes, films, csv, model, options, reporter)
    kept = _within(pictures, MOST_BYTES)
    if len(kept) < len(pictures):
        reporter.note(
            f"The report shows {len(kept)} of {counted(len(pictures), 'picture')}, so that it stays below 20 MB; the "
            "other films are listed by name."
        )
    return kept


def _drawn(
    mistakes: Sequence[Mistake],
    films: Mapping[str, Film],
    csv: Path,
    model: "HeatMapModel | None",
    options: EvaluateOptions,
    reporter: Reporter,
) -> list[Picture]:
    """A picture of each mistake whose film was read, with what the model saw in it."""
    mistakes = [mistake for mistake in mistakes if mistake.film in films]
    if model is None:
        reporter.note("The report shows films without heat maps: pass the model with --checkpoint.")
        shown = {name: data_uri(thumbnail(film)) for name, film in films.items()}
        return [Picture(mistake, shown[mistake.film]) for mistake in mistakes]
    seen = model.seen(films, reporter)
    if model.preprocessing.fit == "pad":  # so that maps lie where the model looked
        films = {name: model.preprocessing(film) for name, film in films.items()}
    neighbours = {} if options.among is None else _neighbours(options.among, seen, csv, options, reporter)
    thumbnails = {name: thumbnail(film) for name, film in films.items()}
    pictures = []
    for mistake in mistakes:
        small, mine = thumbnails[mistake.film], seen[mistake.film]
        heat_map = None
        if mistake.finding in mine.maps:
            values = mine.maps[mistake.finding]
            heat_map = HeatMap(data_uri(overlaid(small, values)), mine.kind, not values.any(), mine.grid)
        pictures.append(Picture(mistake, data_uri(small), heat_map, neighbours.get(mistake.film, ())))
    return pictures


def _within(pictures: Sequence[Picture], most: int) -> list[Picture]:
    """As many pictures as ``most`` bytes hold, of each finding the clearest first, in the order that they are in."""
    turns: Counter[tuple[str, bool]] = Counter()
    ranked = []
    for place, picture in enumerate(pictures):
        kind = picture.mistake.finding, picture.mistake.present
        ranked.append((turns[kind], place))
        turns[kind] += 1
    kept, used = [], 0
    for _, place in sorted(ranked):
        used += pictures[place].num_bytes
        if used > most:
            break
        kept.append(place)
    return [pictures[place] for place in sorted(kept)]


def _neighbours(
    among: Path, seen: Mapping[str, Seen], csv: Path, options: EvaluateOptions, reporter: Reporter
) -> dict[str, list[Neighbour]]:
    """The training films that each film resembles most, with thumbnails of those that are found."""
    if not seen:
        return {}
    ids = np.array(list(seen), object)
    near = Known(Embeddings.read(among)).nearest(ids, np.stack([one.features for one in seen.values()]))
    names = list(dict.fromkeys(name for films in near.films for name in films[:NUM_SHOWN]))
    small = {
        name: data_uri(thumbnail(film, SMALL)) for name, film in _known_films(names, csv, options, reporter).items()
    }
    if lost := len(names) - len(small):
        what = counted(lost, "training film is", "training films are")
        reporter.note(f"{what} named in the report, not shown: neither --image-dir nor the CSVs' folders have them.")
    return {
        film: [Neighbour(name, cosine, small.get(name)) for name, cosine in list(zip(*both, strict=True))[:NUM_SHOWN]]
        for film, *both in zip(ids, near.films, near.cosines, strict=True)
    }


def _known_films(names: Sequence[str], csv: Path, options: EvaluateOptions, reporter: Reporter) -> dict[str, Film]:
    """From ``--image-dir``, else where the films of ``--train-csv`` would be, else where those of the CSV would."""
    places = [(csv, options.image_dir)] if options.image_dir else []
    for beside, folder in (*places, *((path, None) for path in (options.train_csv, csv) if path is not None)):
        with suppress(DataError):
            found = finder(beside, folder, names, "follow", reporter.progress).find(lambda: [list(names)])
            if len(found.lost) < len(names):
                return readable(names, found, reporter)
    return {}
