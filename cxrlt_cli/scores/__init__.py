"""Predictions and what they are worth: numpy, pandas and scikit-learn, no torch."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]  # of any precision
Doubles = NDArray[np.float64]
