"""Learning-rate multiplier: linear warm-up, then half a cosine."""

import math


def warmup_cosine(
    step: int, *, warmup: int, total: int, start: float = 0.1, peak: float = 1.0, floor: float = 0.5
) -> float:
    """The multiplier at `step`: `start` -> `peak` over `warmup` steps, `peak` -> `floor` at `total`."""
    if step < warmup:
        return start + (peak - start) * step / warmup
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return floor + (peak - floor) / 2 * (1 + math.cos(math.pi * progress))
