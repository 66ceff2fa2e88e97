"""Whatever a history holds and however its server pages: what is read is what is there."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.connectors.opcua.history import Disordered, History
from pipelines.connectors.opcua.session import Variable, unece
from pipelines.connectors.opcua.values import EPOCH, Values, empty, values

VARIABLE = Variable("Suite/B1/Temperature", ua.NodeId("t", 2))
START = EPOCH + 1_772_323_200 * 10_000_000
KINDS = {
    ua.VariantType.Double: st.floats(allow_nan=False), ua.VariantType.Boolean: st.booleans(),
    ua.VariantType.Float: st.floats(width=32, allow_nan=False), ua.VariantType.Int16: st.integers(-(2**15), 2**15 - 1),
    ua.VariantType.Byte: st.integers(0, 255), ua.VariantType.Int64: st.integers(-(2**53), 2**53),
    ua.VariantType.UInt32: st.integers(0, 2**32 - 1), ua.VariantType.String: st.text(max_size=20),
}  # fmt: skip
FIRST = datetime(1980, 1, 1, tzinfo=UTC)
MOMENTS = st.none() | st.timedeltas(timedelta(0), timedelta(days=40_000)).map(lambda after: FIRST + after)


@st.composite
def data_values(draw: Any) -> ua.DataValue:
    """A value as a server may give it: any type, none, with or without status and times."""
    kind = draw(st.sampled_from([*KINDS, None]))
    variant = None if kind is None else ua.Variant(draw(KINDS[kind]), kind)
    status = draw(st.sampled_from([0, 0x40000000, 0x80000000, 0x408F0000]))
    return ua.DataValue(variant, ua.StatusCode(status), draw(MOMENTS), draw(MOMENTS))


def ticks(moment: datetime | None) -> int:
    return (
        0
        if moment is None
        else EPOCH + (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 10
    )


@settings(max_examples=150, deadline=None)
@given(st.lists(data_values(), max_size=30).flatmap(lambda v: st.sampled_from([v, v * 20])))
def test_values_are_read_as_asyncua_writes_them(sent: list[ua.DataValue]) -> None:
    body = struct_to_binary(ua.HistoryData(sent))
    read = values(body)
    assert len(read) == len(sent)
    for i, told in enumerate(sent):
        found = told.Value.Value if told.Value is not None else None
        assert read.given[i] == (found is not None and not isinstance(found, str))
        if read.given[i]:
            assert read.number[i] == float(found)
        assert read.text.get(i) == (found if isinstance(found, str) else None)
        assert read.status[i] == told.StatusCode.value
        assert read.ticks[i] == (ticks(told.SourceTimestamp) or ticks(told.ServerTimestamp))


@settings(max_examples=60, deadline=None)
@given(st.lists(data_values(), min_size=1, max_size=8), st.integers(1, 40))
def test_an_answer_that_is_cut_short_is_refused(sent: list[ua.DataValue], lost: int) -> None:
    # The last value is of a known length, so that what is cut off belongs to a value.
    sent.append(ua.DataValue(ua.Variant(1.0, ua.VariantType.Double), ua.StatusCode(0), FIRST, FIRST))
    body = struct_to_binary(ua.HistoryData(sent))
    whole = len(values(body))
    assert whole == len(sent)
    with pytest.raises((ValueError, ua.UaError, EOFError, IndexError)):
        values(body[: max(4, len(body) - lost)])


@dataclass
class Server:
    """A server in the small: its history in the order of storage, and how it pages and lies."""

    stored: list[tuple[int, float]]
    cut: int | None
    points: bool
    repeat: bool
    luck: random.Random = field(default_factory=lambda: random.Random(5))
    where: str = "a server"
    open: dict[bytes, list[tuple[int, float]]] = field(default_factory=dict)
    system: Any = None

    def leave(self) -> None:
        self.open.clear()

    def page(
        self, variable: Variable, start: int, end: int, count: int, point: bytes | None
    ) -> tuple[bytes | None, Values]:
        del variable
        if point is not None:
            rows = self.open.pop(point)
        else:
            # Times go over the wire in microseconds, the end rounded up.
            rows = [r for r in self.stored if start // 10 * 10 <= r[0] <= (end + 9) // 10 * 10]
        least = min(count, self.cut or count)
        given, rest = rows[:least], rows[least:]
        if self.repeat:
            given = [r for r in given for _ in range(self.luck.choice((1, 1, 2)))]
        further = None
        if rest and self.points:
            further = str(self.luck.random()).encode()
            self.open[further] = rest
        read = empty(len(given))
        read.ticks[:] = [t for t, _ in given]
        read.number[:] = [n for _, n in given]
        return further, read


def read_all(server: Server, start: int, end: int) -> list[tuple[int, float]]:
    history = History(server)  # type: ignore[arg-type]
    got: list[tuple[int, float]] = []
    for _ in range(2):
        try:
            for block in history.between(VARIABLE, start, end):
                assert bool(np.all(np.diff(block.ticks) >= 0))
                got += zip(block.ticks.tolist(), block.number.tolist(), strict=True)
            return got
        except Disordered:
            continue
    raise AssertionError("disordered twice")


@settings(max_examples=100, deadline=None)
@given(
    steps=st.lists(st.sampled_from([0, 1, 3, 10, 10_000_000, 36_000_000_000]), max_size=60),
    count=st.integers(2, 20), cut=st.none() | st.integers(10, 20), points=st.booleans(), repeat=st.booleans(),
    shuffled=st.booleans(),
)  # fmt: skip
def test_however_a_server_pages_nothing_is_missing(
    steps: list[int], count: int, cut: int | None, points: bool, repeat: bool, shuffled: bool
) -> None:
    times: list[int] = (START + np.cumsum(steps)).tolist() if steps else []
    # More values at one moment than a silent cut lets through can be told by nobody.
    if cut is not None and times and max(Counter(t // 10 for t in times).values()) >= cut:
        times = sorted({t * 10 for t in times})
    rows = [(t, float(i)) for i, t in enumerate(times)]
    stored = list(rows)
    if shuffled:
        random.Random(3).shuffle(stored)
        # Two or three values in disorder may be in order by chance, which then shows nobody that there are others.
        count = max(count, 10)
    server = Server(stored, cut, points, repeat, system=SimpleNamespace(page_values=count))
    got = read_all(server, START, (max(times) if times else START) + 50)
    assert set(got) == set(rows)
    if not repeat and not shuffled:
        assert got == rows


def test_unit_codes_are_the_characters_of_their_number() -> None:
    assert unece(4_408_652) == "CEL"
    assert unece(20_529) == "P1"
    assert unece(-1) == unece(0) == ""
