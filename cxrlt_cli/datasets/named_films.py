"""Sets whose labels are in the films' names: Shenzhen and Montgomery (tuberculosis), JSRT (nodules).

Jaeger et al., Quantitative Imaging in Medicine and Surgery 2014; Shiraishi et al., AJR 2000.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cxrlt_cli.data.listing import stem_of
from cxrlt_cli.datasets.raw_table import texts
from cxrlt_cli.datasets.records import Records, ages_of, joined, sexes_of
from cxrlt_cli.datasets.set_files import SetFiles
from cxrlt_cli.errors import DataError

UNCONVERTED = ".IMG that is not converted"
CONVERT = (
    "Write each as a 16-bit PNG of the same stem: numpy.fromfile(path, '>u2').reshape(2048, 2048), then cv2.imwrite; "
    "mind that low values are bright."
)
_TUBERCULOSIS = re.compile(r"(?:CHNCXR|MCUCXR)_\d+_([01])")
_NODULE = re.compile(r"JPC([LN])N\d{3}")
_SEX = re.compile(r"\b(f)?(?:e?mal(?:e|\b))|sex:\s*([fm])\b", re.IGNORECASE)  # Femal, too
_AGE = re.compile(r"(\d+)\s*(y|yrs?|years?|months?|weeks?|days?)\b", re.IGNORECASE)  # 5 mm is none
_IN_A_YEAR = {"y": 1, "m": 12, "w": 52, "d": 365}

Person = tuple[str, str]  # sex and age


def is_named(film: str) -> bool:
    stem = _stem(film)
    return bool(_TUBERCULOSIS.fullmatch(stem) or _NODULE.fullmatch(stem))


def unconverted(paths: Sequence[str], films: Sequence[str]) -> list[str]:
    """JSRT's ``.IMG``, which no film is read from, without a film of the same stem.

    Raises DataError where that are all.
    """
    known = {_stem(film) for film in films}
    raw = [path for path in paths if path.lower().endswith(".img") and _NODULE.fullmatch(Path(path).stem)]
    left = [path for path in raw if Path(path).stem not in known]
    if left and not any(map(_NODULE.fullmatch, known)):
        raise DataError(f"JSRT's {len(left):,} .IMG are numbers without a header, which no command reads.", CONVERT)
    return left


def read_names(films: Sequence[str], files: SetFiles) -> Records:
    """Films all of which ``is_named``, of one of these sets or of several."""
    tuberculosis = [film for film in films if _TUBERCULOSIS.fullmatch(_stem(film))]
    nodules = [film for film in films if _NODULE.fullmatch(_stem(film))]
    sets = []
    if tuberculosis:
        states = [int(_stem(film)[-1]) for film in tuberculosis]
        sets.append(_records(tuberculosis, "Tuberculosis", states, _readings(files)))
    if nodules:
        states = [int(_stem(film)[3] == "L") for film in nodules]
        sets.append(_records(nodules, "Nodule", states, _clinical(files)))
    return joined(sets)


def _records(films: Sequence[str], finding: str, states: Sequence[int], people: Mapping[str, Person]) -> Records:
    held = [people.get(_stem(film), ("", "")) for film in films]
    lacking, infants = sum("" in person for person in held), sum(age == "0" for _, age in held)
    notes = [f"Sex or age of {lacking:,} of {len(films):,} films is not told."] if people and lacking else []
    notes += [f"Ages below one year are written as 0 ({infants:,})."] if infants else []
    return Records(
        texts(films),
        (finding,),
        np.array(states, np.int8)[:, None],
        sexes=sexes_of(texts(sex for sex, _ in held)) if people else None,
        ages=ages_of(texts(age for _, age in held)) if people else None,
        rows_read=len(films),
        notes=tuple(notes),
    )


def _readings(files: SetFiles) -> dict[str, Person]:
    """Sex and age from ``ClinicalReadings/<stem>.txt``: ``male 45yrs``, ``Patient's Age: 033Y``; 9 months are 0."""
    people = {}
    for path in files.named("CHNCXR_*.txt", "MCUCXR_*.txt"):
        text = path.read_text(encoding="utf-8", errors="replace")
        sex, age = _SEX.search(text), _AGE.search(text)
        years = "" if age is None else str(int(age[1]) // _IN_A_YEAR[age[2][0].lower()])
        people[path.stem] = "" if sex is None else sex[1] or sex[2] or "M", years
    return people


def _clinical(files: SetFiles) -> dict[str, Person]:
    """Sex and age from JSRT's two tables, of tabs and CRs, in whichever order; ``?`` is not known."""
    people = {}
    for path in files.named("CLNDAT*.txt", "CNNDAT*.txt"):
        first = 3 if path.name.upper().startswith("CL") else 1
        for row, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            cells = [cell.strip().removesuffix("?") for cell in line.split("\t")]
            if cells == [""]:
                continue
            pair = cells[first : first + 2]
            sexes = [cell for cell in pair if cell.lower() in ("male", "female")]
            ages = [cell for cell in pair if cell.isdecimal() or not cell]
            if len(sexes) != 1 or len(ages) != 1:
                raise DataError(f"{path}, row {row}: no sex and age where JSRT has them: {line[:80]!r}.")
            people[Path(cells[0]).stem] = sexes[0], ages[0]
    return people


def _stem(film: str) -> str:
    return stem_of(film.rpartition("/")[2])
