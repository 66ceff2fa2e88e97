"""Appending: the only code that makes the log longer, and what mends it after a crash.

Here belongs storage of entries. Heads, proofs and audits do not.

Order of a batch, each step on disk before the next: private lines, tree hashes, one line of batches.jsonl.
That last line is the acknowledgement. After a crash the next append sets unfinished bytes aside, and
entries whose private lines are whole are carried on to the end: nothing acknowledged is lost, nothing whole
is thrown away.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from warehouse.ledger.catalogue import Catalogue, Row
from warehouse.ledger.entries import (
    ERASURE,
    KINDS,
    SALT_BYTES,
    Entry,
    LedgerError,
    Stored,
    canonical,
    from_line,
    mark_of,
    to_line,
    tombstone,
    utc_text,
)
from warehouse.ledger.files import (
    Place,
    append_bytes,
    from_json_line,
    last_line,
    line_at,
    node_reader,
    set_aside,
    to_json_line,
)
from warehouse.ledger.heads import last_head
from warehouse.ledger.tree import HASH_BYTES, fold, grow, nodes_in, read_peaks
from warehouse.ledger.verify import leaf_hash

BATCH = 20_000
_TIME_TAIL = len('2026-01-01T00:00:00.000000Z"}')  # a text ends with the time of recording, of one width
BATCH_FIELDS = {"from": None, "size": None, "root": "[0-9a-f]{64}"}


@dataclass(frozen=True, slots=True)
class Appended:
    """What an append did: entries in the log now, its root (hex), entries added, entries that were there
    already."""

    size: int
    root: str
    added: int
    already: int


class _Writer:
    """A ledger held for writing, whole and at its end."""

    def __init__(self, place: Place, catalogue: Catalogue) -> None:
        self.place = place
        self.catalogue = catalogue
        self.size, self.peaks = self._acknowledged()
        self.end = self._mend()

    def _acknowledged(self) -> tuple[int, list[bytes]]:
        place = self.place
        line, end = last_line(place.batches)
        if end < place.batches.stat().st_size:
            set_aside(place.batches, end, place.torn)
        try:
            batch: dict[str, Any] = (
                from_json_line(line, BATCH_FIELDS) if line else {"size": 0, "root": fold([]).hex()}
            )
        except ValueError as fault:
            raise LedgerError(
                f"the last line of {place.batches} was changed: run `cellfleet ledger audit`"
            ) from fault
        size: int = batch["size"]
        self._refuse_less_than(size)
        stored = place.tree.stat().st_size
        if stored > (whole := nodes_in(size) * HASH_BYTES):
            set_aside(place.tree, whole, place.torn)
        with node_reader(place.tree) as read:
            peaks = read_peaks(read, size)
        if fold(peaks).hex() != batch["root"]:
            raise LedgerError(
                f"{place.tree} does not have the root that was acknowledged: run `cellfleet ledger audit`"
            )
        return size, peaks

    def _refuse_less_than(self, size: int) -> None:
        """Something else knows of more entries than were acknowledged: that is no crash, so nothing is
        mended."""
        last, head = self.catalogue.last(), last_head(self.place)
        known = max(last[0] + 1 if last else 0, head.size if head else 0)
        if known > size:
            raise LedgerError(f"the log holds {size} entries of {known}: run `cellfleet ledger audit`")

    def _mend(self) -> int:
        """Bring catalogue and tree up to the private store; return the byte at which its next line begins."""
        place, last = self.place, self.catalogue.last()
        number, start = (
            (0, 0) if last is None else (last[0] + 1, last[1] + len(line_at(place.entries, last[1])))
        )
        if place.entries.stat().st_size == start and number == self.size:
            return start
        rows: list[Row] = []
        leaves: list[bytes] = []
        with place.entries.open("rb") as file:
            file.seek(start)
            for line in file:
                try:
                    stored, _ = from_line(line)
                except ValueError:
                    break
                if number >= self.size and stored.erased:
                    raise LedgerError(
                        f"entry {number} is erased and not in the log: run `cellfleet ledger audit`"
                    )
                rows.append((number, stored.mark, start))
                if number >= self.size:
                    leaves.append(stored.leaf)
                start += len(line)
                number += 1
                if len(rows) >= BATCH:
                    self._carry_on(rows, leaves)
                    rows, leaves = [], []
        self._carry_on(rows, leaves)
        if number < self.size:
            raise LedgerError(
                f"{place.entries} cannot be read from entry {number} on: run `cellfleet ledger audit`"
            )
        if place.entries.stat().st_size > start:
            set_aside(place.entries, start, place.torn)
        self.catalogue.commit()
        return start

    def _carry_on(self, rows: list[Row], leaves: list[bytes]) -> None:
        if not self.catalogue.add(rows):
            raise LedgerError(f"{self.place.entries} holds an id twice: run `cellfleet ledger audit`")
        self._extend(leaves)

    def _extend(self, leaves: list[bytes]) -> None:
        if not leaves:
            return
        append_bytes(self.place.tree, grow(self.peaks, self.size, leaves))
        batch = {"from": self.size, "size": self.size + len(leaves), "root": fold(self.peaks).hex()}
        append_bytes(self.place.batches, to_json_line(batch))
        self.size += len(leaves)

    def earliest(self) -> str:
        """The time before which nothing may be recorded any more: the last entry's or the last head's."""
        last, head = self.catalogue.last(), last_head(self.place)
        recorded = stored_at(self.place, last[1])[2].get("recorded_at", "") if last else ""
        return max(recorded, head.at if head else "")

    def write(self, entries: Iterable[Entry], recorded_at: str) -> tuple[int, int]:
        """Append entries in batches; return how many were added and how many were there already."""
        added = already = 0
        entries = iter(entries)
        while batch := list(islice(entries, BATCH)):
            texts: dict[str, bytes] = {}
            for entry in batch:
                text = canonical(entry, recorded_at)
                if texts.setdefault(entry.id, text) != text:
                    raise LedgerError(
                        f"entry {entry.id} comes twice with different contents: give each its own id"
                    )
            new = self._commit_batch(texts)
            added += new
            already += len(batch) - new
        self.catalogue.commit()
        return added, already

    def _commit_batch(self, texts: dict[str, bytes]) -> int:
        rows, lines, leaves = self._prepare(texts)
        if not self.catalogue.add(rows):
            texts = {entry_id: text for entry_id, text in texts.items() if not self._is_there(entry_id, text)}
            rows, lines, leaves = self._prepare(texts)
            self.catalogue.add(rows)
        if not texts:
            return 0
        data = b"".join(lines)
        append_bytes(self.place.entries, data)
        self.end += len(data)
        self._extend(leaves)
        return len(leaves)

    def _prepare(self, texts: dict[str, bytes]) -> tuple[list[Row], list[bytes], list[bytes]]:
        salts = os.urandom(SALT_BYTES * len(texts))
        rows: list[Row] = []
        lines, leaves = [], []
        start = self.end
        for step, (entry_id, text) in enumerate(texts.items()):
            salt = salts[SALT_BYTES * step : SALT_BYTES * (step + 1)]
            line = to_line(salt, text)
            rows.append((self.size + step, mark_of(entry_id), start))
            lines.append(line)
            leaves.append(leaf_hash(salt + text))
            start += len(line)
        return rows, lines, leaves

    def _is_there(self, entry_id: str, text: bytes) -> bool:
        found = self.catalogue.find(mark_of(entry_id))
        if found is None:
            return False
        _, stored, _ = stored_at(self.place, found[1])
        if not stored.erased and stored.text[:-_TIME_TAIL] != text[:-_TIME_TAIL]:
            raise LedgerError(
                f"entry {entry_id} is in the ledger already with another content:"
                " log the correction under an id of its own"
            )
        return True


def stored_at(place: Place, start: int) -> tuple[bytes, Stored, dict[str, Any]]:
    """The line of the private store that begins at byte `start`, what it holds, and the entry as JSON."""
    line = line_at(place.entries, start)
    try:
        return line, *from_line(line)
    except ValueError as fault:
        raise LedgerError(
            f"{place.entries} was changed at byte {start}: run `cellfleet ledger audit`"
        ) from fault


@contextmanager
def writer(folder: Path) -> Iterator[_Writer]:
    """Hold the ledger in `folder` for writing, mended if the last append was cut off."""
    place = Place(folder)
    place.create()
    with place.locked(write=True):
        try:
            catalogue = Catalogue(place.catalogue, write=True)
            catalogue.last()
        except sqlite3.DatabaseError:
            place.catalogue.unlink()  # derived: `_mend` writes it again from the private store
            catalogue = Catalogue(place.catalogue, write=True)
        try:
            yield _Writer(place, catalogue)
        finally:
            catalogue.close()


def append(folder: Path, entries: Iterable[Entry], at: datetime | None = None) -> Appended:
    """Append entries to the ledger in `folder`, which is begun when missing; return when they are on disk.

    An id that is there already with the same content is passed over, so a repeated call changes nothing.
    Entries are taken in batches of 20,000, each acknowledged as a whole; memory does not grow with their
    number. `at` is the time of recording (default: now) and may not lie before the last entry's or the last
    signed head's. Raises LedgerError with one sentence for a refused entry; batches before it stay
    appended.
    """
    with writer(folder) as ledger:
        earliest = ledger.earliest()
        recorded_at = max(utc_text(datetime.now(UTC)), earliest) if at is None else utc_text(at)
        if recorded_at < earliest:
            raise LedgerError(
                f"{recorded_at} lies before {earliest}, up to which the ledger is recorded: use a later time"
            )
        added, already = ledger.write(_known(entries), recorded_at)
        return Appended(ledger.size, fold(ledger.peaks).hex(), added, already)


def _known(entries: Iterable[Entry]) -> Iterator[Entry]:
    for entry in entries:
        if entry.kind not in KINDS:
            raise LedgerError(f"entry {entry.id} is of kind {entry.kind!r}: use one of {', '.join(KINDS)}")
        yield entry


def erase(folder: Path, entry_id: str, reason: str, at: datetime | None = None) -> None:
    """Erase salt and text of an entry from the private store, and log that it was done and why.

    The log itself does not change. `reason` is logged and must not name a person. Repeating it changes
    nothing. Raises LedgerError when the entry is unknown or itself records an erasure.
    """
    with writer(folder) as ledger:
        found = ledger.catalogue.find(mark_of(entry_id))
        if found is None:
            raise LedgerError(f"entry {entry_id} is not in the ledger: check its id")
        number, start = found
        line, stored, entry = stored_at(ledger.place, start)
        if stored.erased:
            return
        if entry["kind"] == ERASURE:
            raise LedgerError(f"entry {entry_id} records an erasure and stays")
        if ledger.catalogue.find(mark_of(f"{ERASURE}:{number}")) is None:
            earliest = ledger.earliest()
            recorded_at = max(utc_text(datetime.now(UTC) if at is None else at), earliest)
            note = Entry(f"{ERASURE}:{number}", ERASURE, {"entry": number, "reason": reason})
            ledger.write([note], recorded_at)
        with ledger.place.entries.open("r+b") as file:
            file.seek(start)
            file.write(tombstone(stored.mark, len(line)))
            file.flush()
            os.fsync(file.fileno())
