"""From the nearest windows to the nearest items, whichever engine finds the windows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from service.vectors.base import Hit, Match
from service.vectors.filters import Value

_WINDOWS_PER_ITEM = 4  # asked for at once; an item with more near ones costs one more question


@dataclass(frozen=True)
class Window:
    """A window that an engine found."""

    id: str  # of its item
    metadata: Mapping[str, Value]
    match: Match


def nearest_items(nearest_windows: Callable[[int, Sequence[str]], Sequence[Window]], k: int, matches: int) -> list[Hit]:
    """Asks `nearest_windows(limit, without)` (best first, none of the items `without`) until `k` items are together.

    Each further question leaves out the items that are found already, so that an item of many near windows hides no
    other: the `k` items are those that a ranking of all windows would give.
    """
    found: dict[str, list[Window]] = {}
    complete = False
    while len(found) < k and not complete:
        limit = _WINDOWS_PER_ITEM * (k - len(found)) + _WINDOWS_PER_ITEM
        windows = nearest_windows(limit, list(found))
        complete = len(windows) < limit
        for window in windows:
            found.setdefault(window.id, []).append(window)
    return [_hit(windows, matches) for windows in list(found.values())[:k]]


def _hit(windows: Sequence[Window], matches: int) -> Hit:
    best = windows[0]
    return Hit(best.id, best.metadata, best.match.score, [window.match for window in windows[:matches]])
