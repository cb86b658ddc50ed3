"""Mean and deviation of the levels, as the configuration beside a file of weights names them: timm's, transformers'
or open_clip's. Weights that were trained on one normalisation are of little use with another, and nothing else tells.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cxrlt_cli.documents import read_json
from cxrlt_cli.errors import CheckpointError
from cxrlt_cli.nets.checkpoints import LARGE, Triple, three

TYPED = "Pass --mean and --std."
# File, the object that holds them (the file's own where it is empty), and what they are called there.
CONFIGS = (
    ("config.json", "pretrained_cfg", "mean", "std"),
    ("preprocessor_config.json", "", "image_mean", "image_std"),
    ("open_clip_config.json", "preprocess_cfg", "mean", "std"),
)


class Normalization(NamedTuple):
    """Of red, green and blue, for levels from 0 to 1."""

    mean: Triple
    std: Triple


def beside(folder: Path) -> tuple[Normalization, str] | None:
    """What a folder's configurations name, and which of them did; None where none does.

    Raises CheckpointError where one cannot be read, or two of them differ.
    """
    named = {name: found for name, *_ in CONFIGS if (found := of_file(folder / name)) is not None}
    if not named:
        return None
    (first, found), *others = named.items()
    for name, other in others:
        if other != found:
            raise CheckpointError(f"{folder}: {first} and {name} name different means and deviations.", TYPED)
    return found, first


def of_file(path: Path) -> Normalization | None:
    """What one configuration names, by its file's name; None where there is no such file, or it names neither.

    Raises CheckpointError where it cannot be read, or scales levels otherwise than to 0 to 1 first.
    """
    (part, mean, std), *_ = [names for name, *names in CONFIGS if name == path.name]
    if not path.is_file():
        return None
    try:
        content: Any = read_json(path)
        values = content.get(part) if part and isinstance(content, dict) else content
        if not isinstance(values, Mapping) or not {mean, std} & set(values):
            return None
        if abs(values.get("rescale_factor", 1 / 255) * 255 - 1) > 1e-3 or values.get("do_normalize") is False:
            raise ValueError("it scales levels otherwise than to 0 to 1, or does not normalise them")
        return Normalization(three(values, mean, least=-LARGE), three(values, std, least=1e-9))
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise CheckpointError(f"{path} names no mean and deviation that could be used: {reason}.", TYPED) from error
