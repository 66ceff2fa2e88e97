"""A site's usual course: percentiles of its batches' hourly means, hour by hour, whichever batches are left out.

Which batches are left out changes with each view, what is left does not: every hour's means are sorted once, and the
places of those left out are stepped over. Does not belong here: which hours (`providers/sensors.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dashboards.facts.runs import Envelope
from dashboards.providers.thinning import Floats, Integers

# An hour is told of from so many batches on.
FEWEST = 5
QUANTILES = (0.05, 0.5, 0.95)


@dataclass(frozen=True)
class Course:
    """Hourly means of one quantity, a row a batch of the site and a column an hour since the batches' hour 0.

    `ordered` has each column's means by size and then NaN, `place` where in it a batch's own lies, `known` how many
    there are.
    """

    quantity: str
    hours: Integers
    ordered: Floats
    place: NDArray[np.uint32]
    known: Integers

    def without(self, rows: Sequence[int]) -> Envelope | None:
        """Hours known of enough of the other batches; None where there is none. `rows` has none twice."""
        away = np.sort(self.place[list(rows)].astype(np.int64), axis=0)
        left = self.known - (away < self.known).sum(axis=0)
        enough = left >= FEWEST
        if not enough.any():
            return None
        left, away, ordered = left[enough], away[:, enough], self.ordered[:, enough]

        def ranked(rank: Integers) -> Floats:
            """Of each hour the mean that stands at a rank among those that are left."""
            at = rank.copy()
            for passed in away:
                at += passed <= at
            found: Floats = np.take_along_axis(ordered, at[None], axis=0)[0]
            return found

        def quantile(share: float) -> Floats:
            """Interpolated between neighbours, as DuckDB's `quantile_cont` does."""
            position = share * (left - 1)
            under = np.floor(position).astype(np.int64)
            low, high = ranked(under), ranked(np.minimum(under + 1, left - 1))
            between: Floats = low + (position - under) * (high - low)
            return between

        named = np.ones(len(self.place), dtype=bool)
        named[list(rows)] = False
        low, middle, high = (tuple(quantile(share).tolist()) for share in QUANTILES)
        return Envelope(
            self.quantity,
            tuple((self.hours[enough] + 0.5).tolist()),
            low,
            middle,
            high,
            tuple(ranked(np.zeros_like(left)).tolist()),
            tuple(ranked(left - 1).tolist()),
            int((named & (self.place < self.known).any(axis=1)).sum()),
        )


@dataclass(frozen=True)
class UsualCourse:
    """Every quantity of a site's batches; `rows` are the batches' rows."""

    rows: Mapping[str, int]
    courses: Sequence[Course]

    def without(self, batches: Iterable[str]) -> list[Envelope]:
        """The usual course over the other batches."""
        rows = sorted({self.rows[batch] for batch in batches if batch in self.rows})
        return [e for e in (course.without(rows) for course in self.courses) if e is not None]


def usual_course(
    batches: Sequence[str],
    quantities: Mapping[int, str],
    codes: NDArray[np.uint64],
    rows: Integers,
    hours: Integers,
    means: Floats,
) -> UsualCourse:
    """Made of one mean a batch, quantity and hour: four arrays of the same length, in any order."""
    courses = []
    for code, quantity in sorted(quantities.items(), key=lambda item: item[1]):
        of_it = codes == code
        if not of_it.any():
            continue
        hour = hours[of_it]
        known_hours = np.unique(hour)
        column = np.searchsorted(known_hours, hour)
        table = np.full((len(batches), len(known_hours)), np.nan)
        table[rows[of_it], column] = means[of_it]
        order = np.argsort(table, axis=0, kind="stable")
        place = np.empty(order.shape, dtype=np.uint32)
        np.put_along_axis(place, order, np.arange(len(batches), dtype=np.uint32)[:, None], axis=0)
        known = (~np.isnan(table)).sum(axis=0)
        courses.append(Course(quantity, known_hours, np.take_along_axis(table, order, axis=0), place, known))
    return UsualCourse({batch: row for row, batch in enumerate(batches)}, courses)
