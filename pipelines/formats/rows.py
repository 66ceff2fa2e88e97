"""Where the records of a delimited file begin and end, found on the bytes without a CSV parser.

Here: record boundaries, the number of values in each, and which records are malformed, in one pass of
numpy over blocks of the file. This is the independent count behind `received`, and what lets the parser
see only well-formed records. Turning records into values belongs in `delimited`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from pipelines.formats.protocol import Reason, UnreadableFile

BLOCK = 8 << 20
READ = 1 << 30
QUICK_BLOCK = 1 << 20  # what is only counted stays in the processor's own memory
_LONGEST_QUOTED_LINES = 200  # a quoted value that runs over more lines than this is an unclosed quote
_MOST_BAD = 100_000  # more is not a file with bad rows but a file of another layout
_CR, _LF = 13, 10


class Data(Protocol):
    """Bytes of which any part can be had, wherever they lie."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> bytes | memoryview: ...


class FileBytes:
    """A file's bytes from `start` on, read part by part: mapped, all of it would count as this process's memory."""

    def __init__(self, handle: BinaryIO, start: int = 0) -> None:
        self._handle, self._start = handle, start
        self._size = os.fstat(handle.fileno()).st_size - start

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        at, end, _ = part.indices(self._size)
        pieces = []
        while at < end:
            # One read gives at most 2 GiB, and nothing where the file was cut since it was opened.
            piece = os.pread(self._handle.fileno(), min(READ, end - at), self._start + at)
            if not piece:
                raise UnreadableFile(
                    Path(self._handle.name),
                    f"byte {self._start + at + 1}",
                    "the file became shorter while it was read",
                    "It is read when it has arrived whole.",
                )
            pieces.append(piece)
            at += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


@dataclass(frozen=True)
class Bad:
    """A malformed record: its number from 1, its bytes [start, end) including the line end, and why."""

    row: int
    start: int
    end: int
    reason: Reason
    found: int


@dataclass
class Rows:
    """Boundaries of one file: counts over all records, spans of those that must not reach the parser."""

    received: int = 0
    bad: list[Bad] = field(default_factory=list)
    blank: list[tuple[int, int]] = field(default_factory=list)
    longest: int = 0
    crlf: int = 0
    lf: int = 0
    returns: bool = False  # lines end in a carriage return alone
    inner: bool = False  # some quoted value holds a line end


def count_regular(data: Data, start: int, *, delimiter: str, quote: str, values: int) -> Rows | None:
    """Count the records of `data` from byte `start` on where all look alike, many times faster than `find_rows`.

    None where a quoted value holds a line end or a quote stands elsewhere than around a value, lines end in several
    ways, or the delimiters are not as many as the lines ask for: then `find_rows` must look. Two rows that make up for
    each other pass here; the parser refuses them.
    """
    lines = delimiters = returns = together = 0
    last = _LF
    mark = ord(quote) if quote else None
    for block in _whole_lines(data, start):
        if not block:
            return None
        array = np.frombuffer(block, dtype=np.uint8)
        lines += int(np.count_nonzero(array == _LF))
        delimiters += int(np.count_nonzero(array == ord(delimiter)))
        if mark is not None and block.find(mark) >= 0:
            quoted = _quoted(array, (ord(delimiter), mark, _LF))
            if quoted is None:
                return None
            delimiters -= quoted
        if block.find(b"\r") >= 0:
            returns += block.count(b"\r")
            together += block.count(b"\r\n")
        last = block[-1]
    ends = lines
    lines += last != _LF
    regular = lines > 0 and values > 1 and delimiters == lines * (values - 1)
    if not regular or returns != together or returns not in (0, ends):
        return None
    return Rows(received=lines, crlf=returns, lf=ends - returns)


def _whole_lines(data: Data, start: int) -> Iterator[bytes]:
    """Blocks that end with a line; an empty one where a line is longer than a block."""
    while start < len(data):
        block = bytes(data[start : start + QUICK_BLOCK])
        if start + len(block) < len(data):
            block = block[: block.rfind(b"\n") + 1]
        yield block
        start += len(block) or len(data)


def _quoted(block: npt.NDArray[np.uint8], marks: tuple[int, int, int]) -> int | None:
    """How many delimiters stand within quotes; None where a line end does, or a quote where none belongs."""
    quotes = np.flatnonzero(block == marks[1])
    if len(quotes) % 2:
        return None
    try:
        _check_quotes(block, quotes, marks)
    except _StrayQuoteError:
        return None
    opening, closing = quotes[0::2], quotes[1::2]
    if (closing == opening + 1).all():  # as some write nothing at all
        return 0
    within = np.searchsorted(quotes, np.flatnonzero((block == _LF) | (block == _CR))) % 2
    if within.any():
        return None
    return int(np.count_nonzero(np.searchsorted(quotes, np.flatnonzero(block == marks[0])) % 2))


class _StrayQuoteError(Exception):
    """A quote inside a value that is not quoted: parity says nothing any more, go line by line."""


def find_rows(data: Data, start: int, *, delimiter: str, quote: str, values: int, path: Path) -> Rows:
    """Find the records of `data` from byte `start` on; each must have `values` values."""
    newline = _LF if _has(data, 0, _LF) else _CR
    marks = (ord(delimiter), ord(quote) if quote else -1, newline)
    try:
        rows = _fast(data, start, marks, values, path)
    except _StrayQuoteError:
        rows = _line_by_line(data, start, marks, values)
    rows.returns = newline == _CR
    return rows


def _has(data: Data, start: int, byte: int) -> bool:
    return any(block.find(byte) >= 0 for block in _blocks(data, start))


def _blocks(data: Data, start: int) -> Iterator[bytes]:
    for at in range(start, len(data), BLOCK):
        yield bytes(data[at : at + BLOCK])


def _fast(data: Data, start: int, marks: tuple[int, int, int], values: int, path: Path) -> Rows:
    rows = Rows()
    size = BLOCK
    at = start
    while at < len(data):
        last = at + size >= len(data)
        block = np.frombuffer(data[at : at + size], dtype=np.uint8)
        if last and block[-1] != marks[2]:
            block = np.append(block, np.uint8(marks[2]))
            rows.lf -= marks[2] == _LF and block[-2] != _CR  # that line end is ours, not the file's
            rows.crlf -= marks[2] == _LF and block[-2] == _CR
        used = _block(block, at, marks, values, rows)
        if used == 0 and last:
            raise _StrayQuoteError  # an odd number of quotes to the end of the file
        if used == 0:
            size *= 2  # one record longer than the block
            continue
        if last and used < len(block):
            raise _StrayQuoteError
        at += used
        size = BLOCK
        if len(rows.bad) > _MOST_BAD:
            raise UnreadableFile(
                path,
                f"record {rows.bad[-1].row}",
                f"more than {_MOST_BAD} records do not have the {values} values the column names ask for",
                "Check the delimiter and the line of the column names in the contract.",
            )
    return rows


def _block(
    block: npt.NDArray[np.uint8], offset: int, marks: tuple[int, int, int], values: int, rows: Rows
) -> int:
    """Take the whole records at the start of a block; return how many bytes they are."""
    delimiter, quote, newline = marks
    is_mark = (block == newline) | (block == delimiter)
    is_return = block == _CR
    if quote >= 0:
        is_quote = block == quote
        if is_quote.any():
            inside = np.bitwise_xor.accumulate(is_quote.view(np.uint8)).view(np.bool_)
            is_mark &= ~inside
            is_return &= ~inside
            rows.inner = rows.inner or bool((inside & ((block == _LF) | (block == _CR))).any())
            _check_quotes(block, np.flatnonzero(is_quote), marks)
    at = np.flatnonzero(is_mark)
    which = np.flatnonzero(block[at] == newline)
    if len(which) == 0:
        return 0
    ends = at[which]
    found = np.diff(which, prepend=-1)  # marks in the record, its line end included = its values
    starts = np.empty_like(ends)
    starts[0] = 0
    starts[1:] = ends[:-1] + 1
    lengths = ends - starts
    if newline == _LF:
        has_cr = (lengths > 0) & (block[np.maximum(ends - 1, 0)] == _CR)
        rows.crlf += int(np.count_nonzero(has_cr))
        rows.lf += int(len(ends) - np.count_nonzero(has_cr))
        lengths -= has_cr
    blank = lengths == 0
    number = rows.received + np.cumsum(~blank)
    for i in np.flatnonzero(blank):
        rows.blank.append((offset + int(starts[i]), offset + int(ends[i]) + 1))
    for i in np.flatnonzero((found != values) & ~blank):
        rows.bad.append(
            Bad(
                int(number[i]),
                offset + int(starts[i]),
                offset + int(ends[i]) + 1,
                "ragged_row",
                int(found[i]),
            )
        )
    if newline == _LF:
        returns = np.flatnonzero(is_return)
        returns = returns[block[np.minimum(returns + 1, len(block) - 1)] != newline]
        ragged = {bad.row for bad in rows.bad}
        for i in np.unique(np.searchsorted(ends, returns)):
            if i < len(ends) and int(number[i]) not in ragged:
                span = offset + int(starts[i]), offset + int(ends[i]) + 1
                rows.bad.append(Bad(int(number[i]), *span, "stray_line_end", 0))
        rows.bad.sort(key=lambda bad: bad.row)
    rows.received = int(number[-1])
    rows.longest = max(rows.longest, int(lengths.max()))
    return int(ends[-1]) + 1


def _check_quotes(
    block: npt.NDArray[np.uint8], quotes: npt.NDArray[np.intp], marks: tuple[int, int, int]
) -> None:
    """Each quote must open at the start of a value or close at its end; two in a row are one in the value."""
    delimiter, quote, newline = marks
    opening, closing = quotes[0::2], quotes[1::2]
    before = np.where(opening > 0, block[opening - 1], newline)
    if not np.isin(before, (delimiter, quote, newline)).all():
        raise _StrayQuoteError
    last = len(block) - 1
    after = np.where(closing < last, block[np.minimum(closing + 1, last)], newline)
    if not np.isin(after, (delimiter, quote, newline, _CR)).all():
        raise _StrayQuoteError


def _line_by_line(data: Data, start: int, marks: tuple[int, int, int], values: int) -> Rows:
    """The slow way, for files with a stray quote: only the lines that have it are refused."""
    d, q = re.escape(bytes([marks[0]])), re.escape(bytes([marks[1]]))
    quoted = b"%s(?:[^%s]|%s%s)*%s" % (q, q, q, q, q)
    value = b"(?:%s|[^%s%s\r\n]*)" % (quoted, d, q)
    well_formed = re.compile(b"%s(?:%s%s)*\r?\n?" % (value, d, value))
    only_quoted = re.compile(quoted)
    is_open = re.compile(b"(?:%s%s)*%s(?:[^%s]|%s%s)*" % (value, d, q, q, q, q))
    lines = bytes(data[start:]).splitlines(keepends=True)
    if marks[2] == _LF:
        lines = re.findall(rb"[^\n]*\n|[^\n]+", bytes(data[start:]))
    rows = Rows()
    at, i = start, 0
    while i < len(lines):
        record, taken = lines[i], 1
        while is_open.fullmatch(record) and taken < _LONGEST_QUOTED_LINES and i + taken < len(lines):
            record += lines[i + taken]
            taken += 1
        good = well_formed.fullmatch(record) is not None
        if not good:
            record, taken = lines[i], 1
        end = at + len(record)
        bare = record.rstrip(b"\r\n")
        if not bare:
            rows.blank.append((at, end))
        else:
            rows.received += 1
            rows.longest = max(rows.longest, len(record))
            rows.inner = rows.inner or b"\n" in bare or b"\r" in bare
            rows.crlf += record.endswith(b"\r\n")
            rows.lf += record.endswith(b"\n") and not record.endswith(b"\r\n")
            found = only_quoted.sub(b"", bare).count(bytes([marks[0]])) + 1
            if not good:
                rows.bad.append(Bad(rows.received, at, end, "stray_quote", 0))
            elif found != values:
                rows.bad.append(Bad(rows.received, at, end, "ragged_row", found))
        at, i = end, i + taken
    return rows
