"""``--shard``: which part of the films one of several commands takes that share the work."""

import re
from typing import Annotated, Self

from pydantic import AfterValidator, model_validator

from cxrlt_cli.config.fields import Options, flags, option


def shard_of(text: str) -> tuple[int, int]:
    """``(3, 16)`` of ``3/16``; raises ValueError where it is written otherwise."""
    found = re.fullmatch(r"([1-9][0-9]*)/([1-9][0-9]*)", text)
    if found is None or int(found[1]) > int(found[2]):
        raise ValueError("it is written 3/16, for the third of 16 parts, which are 1/16 to 16/16")
    return int(found[1]), int(found[2])


def _checked(text: str) -> str:
    shard_of(text)
    return text


class ShardOptions(Options):
    shard: Annotated[str, AfterValidator(_checked)] | None = option(
        None,
        "Part of the films to take, such as 3/16; it is added to the file name: predictions-03-of-16.csv.",
        panel="Processes",
        rare=True,
    )

    @model_validator(mode="after")
    def _check_shard(self) -> Self:
        together = ("report", "fit", "soup") if "members" in type(self).model_fields else ("report",)
        given = {name for name in together if getattr(self, name, None)}
        if self.shard is not None and given:
            raise ValueError(f"{flags(self, given)} judges all films together: leave --shard out")
        if self.shard is not None and getattr(self, "merge", "mean") == "rank":
            raise ValueError("--merge rank ranks all films together: leave --shard out, or take another --merge")
        return self
