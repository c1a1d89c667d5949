"""Vectors of windows to one vector of the whole."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import InferenceFailed

_MIN_NORM = 1e-12


def vectors(output: NDArray[Any]) -> NDArray[np.float32]:
    """The model's embedding [B, D] in float32. Raises InferenceFailed for what no index may ever hold."""
    rows = output.astype(np.float32, copy=False)
    if not np.isfinite(rows).all():
        raise InferenceFailed("the model answered numbers that are not finite")
    return rows


class Pool:
    """The mean of vectors that come one by one, back on the unit sphere."""

    def __init__(self, dims: int) -> None:
        self._sum = np.zeros(dims, np.float64)

    def add(self, vector: NDArray[np.float32], weight: float) -> None:
        self._sum += weight * vector.astype(np.float64)

    @property
    def vector(self) -> NDArray[np.float32]:
        """[D] of norm 1."""
        return (self._sum / max(float(np.linalg.norm(self._sum)), _MIN_NORM)).astype(np.float32)
