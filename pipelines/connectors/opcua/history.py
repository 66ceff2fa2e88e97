"""The whole history of a variable between two times, page by page, whatever the server does with pages.

A server may page by continuation points, cut a page short without saying so, drop the connection, forget its
continuation points or answer out of order. Does not belong here: the session (`session.py`), what is kept of the
values (`extract.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

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


class Disordered(Exception):  # noqa: N818 - a state of the server, told to the caller
    """The server answers out of order: what was read of this variable may lack values. Read it again from the start."""


class History:
    """Reads histories over one session.

    A server once seen to answer out of order is `disordered`: its last value says nothing about what is missing, so
    each span is halved until its parts prove whole.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.disordered = False
        self._count = session.system.page_values
        # A server that cuts answers short does so at this many values or more.
        self._largest = 0

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
        # Values at the time `last` that were given on already; pages without any.
        there = empty = 0
        while True:
            further, page = self._page(variable, last, until, point)
            if page is None:
                point = None
                continue
            inside = page.where((page.ticks >= last) & (page.ticks <= until))
            if bool(np.any(np.diff(inside.ticks) < 0)):
                self.disordered = True
                raise Disordered
            fresh = inside if point is not None else _without(inside, last, there)
            if len(fresh):
                newest = int(fresh.ticks[-1])
                at_newest = int(np.count_nonzero(fresh.ticks == newest))
                there = there + at_newest if newest == last else at_newest
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
        alone, are both there and as many together.
        """
        parts = [(start, until, self._asked(variable, start, until))]
        while parts:
            low, high, page = parts.pop()
            if page is not None and (len(page) < self._largest or high - low < MICROSECOND):
                yield from _sorted(page)
                continue
            middle = low + (high - low) // 2
            left, right = self._asked(variable, low, middle), self._asked(variable, middle + 1, high)
            if page is not None and left and right and len(left) + len(right) == len(page):
                yield from _sorted(left)
                yield from _sorted(right)
            elif page is None or left is None or right is None or len(left) + len(right):
                parts += [(middle + 1, high, right), (low, middle, left)]

    def _asked(self, variable: Variable, low: int, high: int) -> Values | None:
        """What one request for that range brings; None where it is only a part, as the server says itself."""
        further, page = self._page(variable, low, high, None)
        if page is None or (further is not None and high - low >= MICROSECOND):
            return None
        return page.where((page.ticks >= low) & (page.ticks <= high))

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
        if page is not None and further is None:
            self._largest = max(self._largest, len(page))
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


def _sorted(values: Values) -> Iterator[Values]:
    if len(values):
        yield values.taken(np.argsort(values.ticks, kind="stable"))


def _without(values: Values, last: int, there: int) -> Values:
    """Without the first `there` values at the time `last`, which were given on before."""
    if there == 0:
        return values
    at_last = values.ticks == last
    return values.where(~at_last | (np.cumsum(at_last) > there))
