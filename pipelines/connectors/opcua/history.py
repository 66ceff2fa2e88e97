"""The whole history of a variable between two times, page by page, whatever the server does with pages.

A server may page by continuation points, cut a page short without saying so, drop the connection, forget its
continuation points or answer out of order. Does not belong here: the session (`session.py`), what is kept of the
values (`extract.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipelines.connectors.opcua.session import PointGone, Session, Variable
from pipelines.connectors.opcua.values import TICKS_A_SECOND, Values
from pipelines.connectors.protocol import patiently
from pipelines.failures import PermanentFailure, TransientFailure

DAY = 86_400 * TICKS_A_SECOND
LEAST_SPAN = 60 * TICKS_A_SECOND
MICROSECOND = 10
# A server may answer without values and with a continuation point while it searches; not for ever.
EMPTY_PAGES = 1_000
MOST_VALUES = 1_000_000
# A value without its time: its number's bytes, its status, its text.
Said = tuple[bytes, int, str | None]


class Disordered(Exception):  # noqa: N818 - a state of the server, told to the caller
    """The server answers out of order: what was read of this variable may lack values. Read it again from the start."""


@dataclass(frozen=True)
class _Part:
    """What was asked for, and how many values came with it (a request is widened to microseconds), how many differ."""

    values: Values
    came: int
    differ: int


class History:
    """Reads histories over one session.

    A server once seen to answer out of order is `disordered`: its last value says nothing about what is missing, so
    each span is halved until its parts prove whole.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.disordered = False
        self._count = session.system.page_values
        # A server that cuts answers short does so at this many values or more: as they come, and without repetitions.
        self._largest = (0, 0)

    def between(self, variable: Variable, start: int, end: int) -> Iterator[Values]:
        """Values with start ≤ source time ≤ end (ticks), each once and in order of time.

        The span asked for at once grows where little comes and shrinks where much does. Raises Disordered the first
        time that the server is found to be, TransientFailure where it stays away, PermanentFailure where it cannot be
        read wholly.
        """
        span = DAY
        while start <= end:
            until, came = min(end, start + span), 0
            for values in (self._halves if self.disordered else self._span)(variable, start, until):
                came += len(values)
                yield values
            start = until + 1
            if came < self._count:
                span *= 4
            elif came > 8 * self._count:
                span = max(LEAST_SPAN, span // 4)

    def _span(self, variable: Variable, last: int, until: int) -> Iterator[Values]:
        """One span. It is complete only when asking from the last value on brings nothing further."""
        point: bytes | None = None
        started, empty = last, 0
        # What was given on at the time `last`: asking from there brings it again.
        there: set[Said] = set()
        while True:
            if point is None:
                started = last
            further, page = self._page(variable, started, until, point)
            if page is None:
                point = None
                continue
            inside = page.where((page.ticks >= started) & (page.ticks <= until))
            if len(inside) and (inside.ticks[0] < last or bool(np.any(np.diff(inside.ticks) < 0))):
                self.disordered = True
                raise Disordered
            fresh = _without(inside, last, there)
            if len(fresh):
                newest = int(fresh.ticks[-1])
                there = _said(fresh, newest) | (there if newest == last else set())
                last, empty = newest, 0
                yield fresh
            elif further is None and len(page) < self._count:
                return
            elif further is None:
                self._more_at_once(variable, last)
            else:
                empty += 1
            if empty > EMPTY_PAGES:
                raise PermanentFailure(
                    f"{self.session.where}: {variable.path}: {EMPTY_PAGES} pages without a value.",
                    "Ask the site to look at its server's historian.",
                )
            point = further

    def _halves(self, variable: Variable, start: int, until: int) -> Iterator[Values]:
        """One span of a server that answers out of order, in order.

        An answer is whole where it is smaller than another that the server gave, or where its two halves, asked for
        alone, are both there, smaller, and as many together.
        """
        parts = [(start, until, self._asked(variable, start, until))]
        while parts:
            low, high, page = parts.pop()
            if high - low < MICROSECOND:
                yield from _sorted(self._moment(variable, low, high, page).values)
                continue
            if page is not None and self._smaller(page):
                yield from _sorted(page.values)
                continue
            middle = low + (high - low) // 2
            left, right = self._asked(variable, low, middle), self._asked(variable, middle + 1, high)
            if page is None or left is None or right is None:
                parts += [(middle + 1, high, right), (low, middle, left)]
            elif self._smaller(left) and self._smaller(right) and _adds_up(page, left, right):
                yield from _sorted(left.values)
                yield from _sorted(right.values)
            elif len(left.values) + len(right.values):
                parts += [(middle + 1, high, right), (low, middle, left)]
            else:
                yield from _sorted(page.values)

    def _smaller(self, page: _Part) -> bool:
        """Whether the server has given more than this at once, so that it did not cut it short."""
        return page.came < self._largest[0] and page.differ < self._largest[1]

    def _moment(self, variable: Variable, low: int, high: int, page: _Part | None) -> _Part:
        """A range that cannot be halved: all of it at once, whatever it takes."""
        while page is None or page.came >= self._count:
            self._more_at_once(variable, low)
            page = self._asked(variable, low, high)
        return page

    def _asked(self, variable: Variable, low: int, high: int) -> _Part | None:
        """What one request for that range brings; None where it is only a part, as the server says itself."""
        further, page = self._page(variable, low, high, None)
        if page is None or further is not None:
            return None
        inside = page.where((page.ticks >= low) & (page.ticks <= high))
        return _Part(inside, len(page), page.distinct())

    def _page(
        self, variable: Variable, start: int, end: int, point: bytes | None
    ) -> tuple[bytes | None, Values | None]:
        """One page; without values where the same must be asked again without the point, or for less."""

        def ask() -> tuple[bytes | None, Values | None]:
            try:
                return self.session.page(variable, start, end, self._count, point)
            except PointGone as gone:
                if gone.smaller:
                    self._count = max(2, self._count // 2)
                return None, None

        if point is None:
            further, page = patiently(ask, self.session.leave)
        else:
            # A continuation point lives as long as its session: with one there is no second try, but a fresh start.
            try:
                further, page = ask()
            except TransientFailure:
                self.session.leave()
                return None, None
        if self.disordered and page is not None and further is None:
            self._largest = max(self._largest[0], len(page)), max(self._largest[1], page.distinct())
        return further, page

    def _more_at_once(self, variable: Variable, last: int) -> None:
        """A full page brought nothing new: more values share one moment than fit on it."""
        if self._count >= MOST_VALUES:
            raise PermanentFailure(
                f"{self.session.where}: {variable.path}: more than {self._count:,} values at one moment (tick {last}), "
                "or the server does not start where it is told to.",
                "Nothing of the rest was taken; ask the site to look at its server's historian.",
            )
        self._count = min(MOST_VALUES, self._count * 10)


def _adds_up(page: _Part, left: _Part, right: _Part) -> bool:
    both = len(left.values) and len(right.values)
    return bool(both) and left.values.distinct() + right.values.distinct() == page.values.distinct()


def _sorted(values: Values) -> Iterator[Values]:
    if len(values):
        yield values.taken(np.argsort(values.ticks, kind="stable"))


def _said(values: Values, at: int) -> set[Said]:
    """The values at that time."""
    return {
        (values.number[i].tobytes(), int(values.status[i]), values.text.get(int(i)))
        for i in np.flatnonzero(values.ticks == at)
    }


def _without(values: Values, last: int, there: set[Said]) -> Values:
    """Without the values at the time `last` that were given on before."""
    again = [
        int(i)
        for i in np.flatnonzero(values.ticks == last)
        if (values.number[i].tobytes(), int(values.status[i]), values.text.get(int(i))) in there
    ]
    if not again:
        return values
    kept = np.ones(len(values), np.bool_)
    kept[again] = False
    return values.where(kept)
