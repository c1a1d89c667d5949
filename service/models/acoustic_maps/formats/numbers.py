"""Numbers as JSON has them: short, and null where there is none."""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

DIGITS = 6
_TINY = 1e-12


def number(value: float | None) -> float | None:
    """Rounded to DIGITS significant ones; 0 for what is _TINY, None for None and for what is not finite."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{DIGITS}g}") if abs(value) > _TINY else 0.0


def numbers(values: Any) -> list[Any]:
    """An array of any shape as nested lists of `number`s."""
    array = np.asarray(values, np.float64)
    if array.ndim > 1:
        return [numbers(row) for row in array]
    return [number(value) for value in array.tolist()]


def to_json(document: Mapping[str, Any]) -> bytes:
    """Compact, in UTF-8; the same document gives the same bytes."""
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
