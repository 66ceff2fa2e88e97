"""One entry: what may be logged, its one written form, its salted commitment and its line in the private
store.

Here belongs everything about a single entry. Files, ids across entries and the tree do not.

The leaf of an entry is the RFC 6962 leaf hash of `salt + text`: 32 random bytes, then the entry's canonical
JSON. Only that hash enters the log. Without the salt the text cannot be found by guessing, so erasing salt
and text from the private store cuts the link to the log for ever while the log stays as it is.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import NoneType
from typing import Any

from warehouse.ledger.verify import leaf_hash

KINDS = ("custody_event", "release_decision", "specification", "snapshot")
ERASURE = "erasure"  # written by the ledger itself when a content is erased
MAX_BYTES = 65_536
SALT_BYTES = 32
_SALT_DIGITS = 2 * SALT_BYTES
_PLAIN = frozenset({str, int, bool, NoneType})
_TEXT = frozenset({str})
_SALT = re.compile(rb"[0-9a-f]{64} ")
_TOMBSTONE = re.compile(rb"erased [0-9a-f]{32} *\n")

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")).encode
_decode = json.JSONDecoder().raw_decode


class LedgerError(Exception):
    """Permanent: the ledger refuses, with one sentence that says what and how to mend it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a caller logs: a stable id, one of `KINDS`, and a payload of text, whole numbers, lists and
    mappings."""

    id: str
    kind: str
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Stored:
    """A line of the private store. Salt and text are empty once the entry is erased."""

    mark: bytes
    salt: bytes
    text: bytes

    @property
    def erased(self) -> bool:
        """Whether salt and text are gone."""
        return not self.text

    @property
    def leaf(self) -> bytes:
        """The entry's leaf hash. Erased entries have it in the log only."""
        return leaf_hash(self.salt + self.text)


def utc_text(at: datetime) -> str:
    """A time in UTC with microseconds, always of one width so that text order is time order."""
    if at.tzinfo is None:
        raise LedgerError(f"the time {at.isoformat()} has no zone: give it with one, for example in UTC")
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def mark_of(entry_id: str) -> bytes:
    """16 bytes that stand for an id in the private catalogue and in the tombstone of an erased entry."""
    return hashlib.sha256(entry_id.encode("utf-8", "surrogatepass")).digest()[:16]


def _refuse_unclear(value: Any, entry_id: str) -> None:
    if isinstance(value, Mapping):
        if not _TEXT.issuperset(map(type, value)):
            raise LedgerError(f"entry {entry_id}: a field name is no text: name every field with text")
        value = value.values()
    elif not isinstance(value, list | tuple):
        raise LedgerError(
            f"entry {entry_id}: {value!r} is a {type(value).__name__}, which has more than one written form:"
            " give decimal numbers, dates and times as text"
        )
    if not _PLAIN.issuperset(map(type, value)):
        for inner in value:
            if type(inner) not in _PLAIN:
                _refuse_unclear(inner, entry_id)


def canonical(entry: Entry, recorded_at: str) -> bytes:
    """The one written form of an entry: UTF-8 JSON, keys sorted, no spaces, no fractions (they go as text).

    Raises LedgerError for an unknown kind, an empty id, a value with several written forms or too long a
    text.
    """
    if not entry.id or len(entry.id) > 200:
        raise LedgerError(
            f"an entry id must have 1 to 200 characters, not {len(entry.id)}: shorten or fill it"
        )
    _refuse_unclear(entry.payload, entry.id)
    try:
        text = _encode(
            {"id": entry.id, "kind": entry.kind, "payload": dict(entry.payload), "recorded_at": recorded_at}
        ).encode()
    except (UnicodeEncodeError, RecursionError, TypeError) as fault:
        raise LedgerError(
            f"entry {entry.id!r} cannot be written as JSON in UTF-8 ({fault}): mend its text"
        ) from fault
    if len(text) > MAX_BYTES:
        raise LedgerError(
            f"entry {entry.id} is {len(text)} bytes long, more than {MAX_BYTES}: log its SHA-256 instead"
        )
    return text


def to_line(salt: bytes, text: bytes) -> bytes:
    """The entry's line in the private store: salt in hex, a space, the canonical text."""
    return salt.hex().encode() + b" " + text + b"\n"


def tombstone(mark: bytes, length: int) -> bytes:
    """What an erased line becomes: the same length, nothing of the entry but the mark of its id."""
    return (b"erased " + mark.hex().encode()).ljust(length - 1) + b"\n"


def from_line(line: bytes) -> tuple[Stored, dict[str, Any]]:
    """Read a line of the private store: the stored bytes and the entry as JSON (empty when erased).

    Raises ValueError when the line is not one that `to_line` or `tombstone` wrote.
    """
    if line.startswith(b"erased ") and _TOMBSTONE.fullmatch(line):
        return Stored(bytes.fromhex(line[7:39].decode()), b"", b""), {}
    if not _SALT.match(line) or not line.endswith(b"\n"):
        raise ValueError("not a line of the private store")
    text = line[_SALT_DIGITS + 1 : -1]
    words = text.decode()
    entry, end = _decode(words)
    if (
        end != len(words)
        or not isinstance(entry, dict)
        or not isinstance(entry.get("id"), str)
        or entry.keys() != _FIELDS
    ):
        raise ValueError("not an entry")
    return Stored(mark_of(entry["id"]), bytes.fromhex(line[:_SALT_DIGITS].decode()), text), entry


_FIELDS = {"id", "kind", "payload", "recorded_at"}
