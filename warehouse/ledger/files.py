"""The files of a ledger: their names, their locks, and the few ways in which they are written.

Here belong bytes on disk. What the bytes mean does not.

    ledger/log/tree.bin            hashes of the Merkle tree, 32 bytes each, in the order of tree.py
    ledger/log/batches.jsonl       what was acknowledged: from, size and root after each batch
    ledger/log/heads.jsonl         signed tree heads
    ledger/log/cosignatures.jsonl  cosignatures that the witnesses gave back
    ledger/log/stamps.jsonl        RFC 3161 time stamps on heads
    ledger/private/entries.jsonl   salt and text of each entry: all personal data, with its own access
    ledger/private/catalogue.sqlite  derived, may be deleted
    ledger/torn/                   unfinished ends of files, set aside after a crash
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from warehouse.ledger.entries import LedgerError
from warehouse.ledger.tree import HASH_BYTES, Read, position

T = TypeVar("T")
_TAIL = 8192
_LINE_LIMIT = 1 << 20
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of one ledger."""

    folder: Path

    @property
    def tree(self) -> Path:
        """Hashes of the Merkle tree."""
        return self.folder / "log" / "tree.bin"

    @property
    def batches(self) -> Path:
        """Acknowledged sizes and roots."""
        return self.folder / "log" / "batches.jsonl"

    @property
    def heads(self) -> Path:
        """Signed tree heads."""
        return self.folder / "log" / "heads.jsonl"

    @property
    def cosignatures(self) -> Path:
        """Cosignatures received."""
        return self.folder / "log" / "cosignatures.jsonl"

    @property
    def stamps(self) -> Path:
        """Time stamps received."""
        return self.folder / "log" / "stamps.jsonl"

    @property
    def entries(self) -> Path:
        """Private store."""
        return self.folder / "private" / "entries.jsonl"

    @property
    def catalogue(self) -> Path:
        """Derived index of the private store."""
        return self.folder / "private" / "catalogue.sqlite"

    @property
    def torn(self) -> Path:
        """Unfinished ends set aside."""
        return self.folder / "torn"

    def create(self) -> None:
        """Make the folders and the files that every ledger has; refuse when only some of its files are
        there."""
        files = (self.entries, self.tree, self.batches)
        missing = [path for path in files if not path.exists()]
        if not missing:
            return
        if any(path.stat().st_size for path in files if path not in missing):
            raise LedgerError(
                f"{missing[0]} is missing: restore it from a backup, then run `cellfleet ledger audit`"
            )
        self.entries.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.tree.parent.mkdir(parents=True, exist_ok=True)
        for path in missing:
            path.touch(mode=0o600 if path == self.entries else 0o644)
            sync_folder(path.parent)
        sync_folder(self.folder)

    @contextmanager
    def locked(self, *, write: bool) -> Iterator[None]:
        """Hold the ledger: alone to write, together with other readers to read. Waits for its turn."""
        try:
            handle = os.open(self.tree.parent, os.O_RDONLY)
        except FileNotFoundError as fault:
            raise LedgerError(f"{self.folder} holds no ledger: append an entry to begin one") from fault
        try:
            fcntl.flock(handle, fcntl.LOCK_EX if write else fcntl.LOCK_SH)
            yield
        finally:
            os.close(handle)


def sync_folder(folder: Path) -> None:
    """Make a new name in the folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def append_bytes(path: Path, data: bytes) -> None:
    """Append to a file and return when the bytes are on disk."""
    new = not path.exists()
    with path.open("ab") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if new:
        sync_folder(path.parent)


def append_line(path: Path, line: bytes, torn: Path) -> None:
    """Append a line, setting aside first what a cut-off write may have left at the end."""
    if path.exists():
        _, end = last_line(path)
        if end < path.stat().st_size:
            set_aside(path, end, torn)
    append_bytes(path, line)


def set_aside(path: Path, keep: int, torn: Path) -> Path:
    """Cut a file to its first `keep` bytes after writing what followed into the folder `torn`; say where."""
    torn.mkdir(exist_ok=True, mode=0o700)
    with path.open("r+b") as file:
        file.seek(keep)
        rest = file.read()
        aside = torn / f"{path.name}-{keep}-{hashlib.sha256(rest).hexdigest()[:16]}"
        if not aside.exists():
            append_bytes(aside, rest)
        file.truncate(keep)
        file.flush()
        os.fsync(file.fileno())
    return aside


def to_json_line(content: dict[str, Any]) -> bytes:
    """The one written form of a line: sorted keys, no spaces, UTF-8, newline."""
    return _encode(content).encode() + b"\n"


def from_json_line(line: bytes, fields: Mapping[str, str | None]) -> dict[str, Any]:
    """Read a line written by `to_json_line`; `fields` gives a pattern for text, None for a count.

    Raises ValueError when a single byte differs from what `to_json_line` would write of the same content.
    """
    content = json.loads(line)
    if not isinstance(content, dict) or content.keys() != fields.keys() or to_json_line(content) != line:
        raise ValueError("not in the written form")
    for name, pattern in fields.items():
        value = content[name]
        right = (
            type(value) is int and 0 <= value < 1 << 62
            if pattern is None
            else isinstance(value, str) and re.fullmatch(pattern, value)
        )
        if not right:
            raise ValueError(f"{name} is not of its form")
    return content


def read_lines(path: Path, *, unfinished: bool = False) -> Iterator[bytes]:
    """The lines of a file with their newlines, one at a time, a missing file having none.

    An end without a newline is an unfinished write: it is no line, and given only when asked for.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        while line := file.readline(_LINE_LIMIT):
            if unfinished or line.endswith(b"\n"):
                yield line


def parsed(path: Path, parse: Callable[[bytes], T]) -> tuple[T, ...]:
    """All lines of a file as `parse` reads them, kept in memory until the file changes.

    Raises LedgerError when `parse` raises ValueError.
    """
    if not path.exists():
        return ()
    stat = path.stat()
    found: tuple[T, ...] = _parsed(path, parse, stat.st_ino, stat.st_mtime_ns, stat.st_size)
    return found


@lru_cache(maxsize=8)
def _parsed(path: Path, parse: Callable[[bytes], Any], *_version: int) -> tuple[Any, ...]:
    try:
        return tuple(parse(line) for line in read_lines(path))
    except ValueError as fault:
        raise LedgerError(f"{path} was changed: run `cellfleet ledger audit`") from fault


def last_line(path: Path) -> tuple[bytes, int]:
    """The last whole line of a file and the byte after it; bytes beyond are an unfinished write."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        begin = max(0, end - _TAIL)
        file.seek(begin)
        tail = file.read()
    stop = tail.rfind(b"\n") + 1
    if stop == 0 and begin > 0:
        raise LedgerError(f"{path} does not end in a line of text: run `cellfleet ledger audit`")
    return tail[tail.rfind(b"\n", 0, max(stop - 1, 0)) + 1 : stop], begin + stop


@contextmanager
def node_reader(path: Path) -> Iterator[Read]:
    """Open the tree's file for reading single hashes."""
    handle = os.open(path, os.O_RDONLY)

    def read(level: int, number: int) -> bytes:
        node = os.pread(handle, HASH_BYTES, position(level, number) * HASH_BYTES)
        if len(node) != HASH_BYTES:
            raise LedgerError(f"{path} is shorter than the log it should hold: run `cellfleet ledger audit`")
        return node

    try:
        yield read
    finally:
        os.close(handle)


def line_at(path: Path, start: int) -> bytes:
    """The line that begins at byte `start`."""
    with path.open("rb") as file:
        file.seek(start)
        return file.readline(_LINE_LIMIT)
