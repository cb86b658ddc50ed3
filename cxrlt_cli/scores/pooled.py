"""Predictions of several networks for films of their own, brought to one scale so that they can be ranked together."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from cxrlt_cli.scores import Doubles


def on_one_scale(parts: Sequence[Doubles]) -> list[Doubles]:
    """Parts ``[N_k, C]`` by their ranks, as what has these ranks among all rows of all parts; ties stay ties.

    Each network has an offset of its own: ranked together as they are, films of one part stand above those of another
    whatever they show, and AUROC and AP come out too low. The parts are taken to be alike in how often a finding is
    present, as folds that share it out are. The order within a part stays.
    """
    everything = np.sort(np.concatenate(parts), axis=0)
    places = (np.arange(len(everything)) + 0.5) / len(everything)
    return [
        np.stack(
            [
                np.interp((rankdata(column) - 0.5) / len(part), places, scale)
                for column, scale in zip(part.T, everything.T, strict=True)
            ],
            axis=1,
        )
        for part in parts
    ]
