"""A batch's readings made fit for drawing: the smallest and largest of each stretch, and where none came.

On arrays, one a channel: a batch has a hundred thousand readings, and a page must not wait for as many Python objects.
Does not belong here: which readings (`providers/sensors.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

GOOD, OTHER = 1, -1
# A gap is this many usual steps without a reading, and at least so long.
GAP_STEPS, GAP_LEAST_MS = 3.0, 60_000.0


@dataclass(frozen=True)
class Readings:
    """One channel in order of time: `at` in ms since 1970, `values` (NaN where none), `status` GOOD, OTHER or 0."""

    channel: str
    quantity: str
    at: Integers
    values: Floats
    status: NDArray[np.int8]

    def between(self, start_ms: float, end_ms: float) -> Readings:
        """Those of a stretch of time, ends included."""
        part = slice(np.searchsorted(self.at, start_ms, "left"), np.searchsorted(self.at, end_ms, "right"))
        return Readings(self.channel, self.quantity, self.at[part], self.values[part], self.status[part])

    def gaps(self) -> tuple[float, list[tuple[int, int]]]:
        """The usual step in ms, and first and last moment of each stretch far longer without a reading."""
        steps = np.diff(self.at)
        if steps.size == 0:
            return 0.0, []
        usual = float(np.median(steps))
        found = np.flatnonzero(steps > max(GAP_STEPS * usual, GAP_LEAST_MS))
        return usual, [(int(self.at[i]), int(self.at[i + 1])) for i in found]

    def thinned(self, points: int) -> tuple[Integers, Floats]:
        """Times and values of the smallest and largest good reading of each of `points` / 2 stretches."""
        good = (self.status == GOOD) & ~np.isnan(self.values)
        at, values = self.at[good], self.values[good]
        if at.size <= points:
            return at, values
        half = points // 2
        stretch = np.minimum(half - 1, (at - at[0]) * half // (at[-1] - at[0] + 1))
        starts = np.flatnonzero(np.diff(stretch, prepend=-1))
        place = np.arange(at.size)
        ends = []
        for extreme in (np.minimum, np.maximum):
            found = np.repeat(extreme.reduceat(values, starts), np.diff(starts, append=at.size))
            ends.append(np.minimum.reduceat(np.where(values == found, place, at.size), starts))
        chosen = np.unique(np.concatenate(ends))
        return at[chosen], values[chosen]


def by_channel(
    names: dict[int, tuple[str, str]],
    code: NDArray[np.uint64],
    at: Integers,
    values: Floats,
    status: NDArray[np.int8],
) -> Iterator[Readings]:
    """Rows of many channels as channels; `names` has channel and quantity of each code."""
    if not len(code):
        return
    starts = np.flatnonzero(np.diff(code, prepend=~code[:1]))
    back = np.flatnonzero(np.diff(at) < 0) + 1
    # They lie in the snapshot by channel and time; only what does not is sorted.
    if len(np.unique(code[starts])) < len(starts) or not np.isin(back, starts).all():
        order = np.lexsort((at, code))
        code, at, values, status = code[order], at[order], values[order], status[order]
        starts = np.flatnonzero(np.diff(code, prepend=~code[:1]))
    for start, end in zip(starts, np.append(starts[1:], len(code)), strict=True):
        yield Readings(*names[int(code[start])], at[start:end], values[start:end], status[start:end])
