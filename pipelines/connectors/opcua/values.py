"""A HistoryRead answer of OPC UA as columns, straight from its bytes (OPC 10000-6, 5.2.2.16 and 5.2.2.17).

A Python object a value would cost more than the network does. Runs of values that are encoded alike, which is nearly
all of a history, are read as one array. Does not belong here: asking for pages (`extract.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import nodeid_from_binary, struct_from_binary, variant_from_binary
from numpy.typing import NDArray

# 100 ns intervals since 1601, as OPC UA counts time.
TICKS_A_SECOND = 10_000_000
EPOCH = 116_444_736_000_000_000
VALUE, STATUS, SOURCE, SERVER, SOURCE_FINE, SERVER_FINE = 1, 2, 4, 8, 16, 32
NUMBERS = {
    1: "u1", 2: "i1", 3: "u1", 4: "<i2", 5: "<u2", 6: "<i4", 7: "<u4", 8: "<i8", 9: "<u8", 10: "<f4", 11: "<f8",
}  # fmt: skip
FIRST_LOOK = 16


@dataclass(frozen=True)
class Values:
    """Values in the order received: times in ticks (0: none given), numbers (NaN: none), other values as text."""

    ticks: NDArray[np.int64]
    server_ticks: NDArray[np.int64]
    number: NDArray[np.float64]
    given: NDArray[np.bool_]
    status: NDArray[np.uint32]
    text: dict[int, str]

    def __len__(self) -> int:
        return len(self.ticks)

    def distinct(self) -> int:
        """How many differ, by time, number and status."""
        rows = np.stack([self.ticks, self.number.view(np.int64), self.status.astype(np.int64)], axis=1)
        return len(np.unique(rows, axis=0))

    def where(self, chosen: NDArray[np.bool_]) -> Values:
        """Those rows, in the same order."""
        text = {}
        if self.text:
            place = np.cumsum(chosen) - 1
            text = {int(place[i]): t for i, t in self.text.items() if chosen[i]}
        return Values(
            self.ticks[chosen], self.server_ticks[chosen], self.number[chosen], self.given[chosen],
            self.status[chosen], text,
        )  # fmt: skip

    def taken(self, order: NDArray[np.int64]) -> Values:
        """The same rows in another order."""
        place = {int(old): new for new, old in enumerate(order)} if self.text else {}
        return Values(
            self.ticks[order], self.server_ticks[order], self.number[order], self.given[order],
            self.status[order], {place[i]: t for i, t in self.text.items()},
        )  # fmt: skip


def empty(n: int = 0) -> Values:
    """`n` values of nothing, to be filled."""
    return Values(
        np.zeros(n, np.int64), np.zeros(n, np.int64), np.full(n, np.nan), np.zeros(n, np.bool_),
        np.zeros(n, np.uint32), {},
    )  # fmt: skip


def answer(data: Buffer) -> tuple[ua.StatusCode, bytes | None, Values]:
    """Status, continuation point and values of the one node that was asked for.

    Raises asyncua's UaStatusCodeError where the service as a whole failed, ValueError where the bytes are no answer.
    """
    nodeid_from_binary(data)
    struct_from_binary(ua.ResponseHeader, data).ServiceResult.check()
    if int.from_bytes(data.read(4), "little", signed=True) != 1:
        raise ValueError("a history was asked of one node and not answered for one")
    status = ua.StatusCode(int.from_bytes(data.read(4), "little"))
    length = int.from_bytes(data.read(4), "little", signed=True)
    point = bytes(data.read(length)) if length > 0 else None
    kind = nodeid_from_binary(data)
    encoded = data.read(1)[0]
    if not encoded & 1:
        return status, point, empty()
    size = int.from_bytes(data.read(4), "little", signed=True)
    body = bytes(data.read(size)) if size > 0 else b""
    if kind.Identifier != ua.ObjectIds.HistoryData_Encoding_DefaultBinary or not body:
        return status, point, empty()
    return status, point, values(body)


def values(body: bytes) -> Values:
    """The DataValues of a HistoryData body. Raises ValueError where it ends before its count is reached."""
    count = max(0, int.from_bytes(body[:4], "little", signed=True))
    if count > len(body):
        raise ValueError(f"{count} values were announced in {len(body)} bytes")
    read = empty(count)
    octets = np.frombuffer(body, np.uint8)
    at, row = 4, 0
    while row < count:
        if at >= len(body):
            raise ValueError(f"{count} values were announced, {row} came")
        mask = body[at]
        kind = body[at + 1] if mask & VALUE else 0
        layout = _layout(mask, kind)
        if layout is None:
            at = _one(body, at, read, row)
            row += 1
            continue
        run = _run(octets[at:], layout.itemsize, mask, kind, count - row)
        if run == 0:
            raise ValueError(f"{count} values were announced, {row} came")
        part = np.frombuffer(body, layout, run, at)
        here = slice(row, row + run)
        names = layout.names or ()
        if "number" in names:
            read.number[here], read.given[here] = part["number"], True
        if "status" in names:
            read.status[here] = part["status"]
        if "source" in names:
            read.ticks[here] = part["source"]
        if "server" in names:
            read.server_ticks[here] = part["server"]
        at, row = at + run * layout.itemsize, row + run
    unstamped = read.ticks == 0
    read.ticks[unstamped] = read.server_ticks[unstamped]
    return read


@cache
def _layout(mask: int, kind: int) -> np.dtype[np.void] | None:
    """How a value of this mask and type lies in the bytes; None where its length is its own."""
    fields: list[tuple[str, str]] = [("mask", "u1")]
    if mask & VALUE:
        if kind != 0 and kind not in NUMBERS:
            return None
        fields.append(("kind", "u1"))
        if kind:
            fields.append(("number", NUMBERS[kind]))
    for bit, name, form in (
        (STATUS, "status", "<u4"), (SOURCE, "source", "<i8"), (SOURCE_FINE, "source_fine", "<u2"),
        (SERVER, "server", "<i8"), (SERVER_FINE, "server_fine", "<u2"),
    ):  # fmt: skip
        if mask & bit:
            fields.append((name, form))
    return np.dtype(fields)


def _run(octets: NDArray[np.uint8], stride: int, mask: int, kind: int, most: int) -> int:
    """How many values from here on are encoded like the first."""
    most = min(most, len(octets) // stride)
    done, look = 0, FIRST_LOOK
    while done < most:
        n = min(look, most - done)
        rows = octets[done * stride : (done + n) * stride].reshape(n, stride)
        alike = rows[:, 0] == mask
        if mask & VALUE:
            alike &= rows[:, 1] == kind
        if not alike.all():
            return done + int(np.argmin(alike))
        done, look = done + n, look * 8
    return done


def _one(body: bytes, at: int, read: Values, row: int) -> int:
    """Read a value of a length of its own (text, arrays) into `read`; returns where the next begins."""
    mask = body[at]
    data = Buffer(body, at + 1, len(body) - at - 1)
    found = variant_from_binary(data).Value
    if found is not None:
        read.text[row] = str(getattr(found, "Text", found))
    at = len(body) - len(data)
    for bit, size, into in (
        (STATUS, 4, read.status), (SOURCE, 8, read.ticks), (SOURCE_FINE, 2, None),
        (SERVER, 8, read.server_ticks), (SERVER_FINE, 2, None),
    ):  # fmt: skip
        if mask & bit:
            if into is not None:
                into[row] = int.from_bytes(body[at : at + size], "little", signed=size == 8)
            at += size
    return at
