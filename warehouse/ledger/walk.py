"""The audit's one pass over all entries: private lines, tree hashes, acknowledged and signed roots side by
side.

Here belongs what needs that pass, and the findings it writes down. Heads and witnesses are checked in
audit.py. Memory does not grow with the log: a stack of subtree roots, and the indexes of erased entries.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from warehouse.ledger.catalogue import Catalogue
from warehouse.ledger.entries import ERASURE, KINDS, from_line
from warehouse.ledger.files import Place, from_json_line, read_lines
from warehouse.ledger.heads import Head
from warehouse.ledger.log import BATCH_FIELDS
from warehouse.ledger.tree import HASH_BYTES, fold
from warehouse.ledger.verify import node_hash
from warehouse.ledger.witness import Seen

ENOUGH = 100


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong: which check says so, a sentence, and the first and last entry that may be the first
    bad one.

    `doubt` is None when no entry is in doubt (a lost cosignature). `entry_id` is known when the private
    line is.
    """

    check: str
    sentence: str
    doubt: tuple[int, int] | None = None
    entry_id: str | None = None


class Enough(Exception):  # noqa: N818 - a way out, not a fault
    """So much is wrong that going on says nothing more."""


@dataclass
class Book:
    """Findings so far."""

    findings: list[Finding] = field(default_factory=list)

    def note(
        self, check: str, sentence: str, doubt: tuple[int, int] | None = None, entry_id: str | None = None
    ) -> None:
        """Write a finding down; raises Enough when there are as many as anyone reads."""
        self.findings.append(Finding(check, sentence, doubt, entry_id))
        if len(self.findings) >= ENOUGH:
            self.findings.append(Finding("stopped", f"the audit stopped after {ENOUGH} findings"))
            raise Enough


class Signed:
    """What was signed of the log: for each size the roots, each with who says so.

    `vouched` are the sizes that someone besides the keeper saw, or the keeper's own where nobody else is
    heard: only there can the log be said to be good so far.
    """

    def __init__(self, heads: Sequence[Head], seen: Sequence[Seen]) -> None:
        self.roots: dict[int, dict[str, str]] = {}
        for head in heads:
            self.roots.setdefault(head.size, {})[head.root] = f"were signed at {head.at}"
        for one in seen:
            told = f"{one.site} saw signed at {one.head.at}"
            self.roots.setdefault(one.head.size, {}).setdefault(one.head.root, told)
        self.vouched = {one.head.size for one in seen} or {head.size for head in heads}


class Roots:
    """Roots that were acknowledged or signed, each compared when the walk has passed as many entries."""

    def __init__(self, place: Place, signed: Signed, book: Book) -> None:
        self._place, self._signed, self._vouched, self._book = place, signed.roots, signed.vouched, book
        self._batches = self._read()
        self._next = next(self._batches, None)
        self.agreed = 0
        self.acknowledged = 0

    def _read(self) -> Iterator[tuple[int, str, str]]:
        reached = 0
        for number, line in enumerate(read_lines(self._place.batches, unfinished=True), start=1):
            where = f"line {number} of {self._place.batches.name}"
            try:
                batch = from_json_line(line, BATCH_FIELDS)
            except ValueError as fault:
                self._book.note("batch", f"{where} was changed or cut off: {fault}", (reached, reached))
                continue
            if batch["from"] != reached or batch["size"] <= reached:
                self._book.note("batch", f"{where} does not follow on {reached} entries", (reached, reached))
            reached = max(reached, batch["size"])
            yield batch["size"], batch["root"], where

    @property
    def over(self) -> bool:
        """Whether every acknowledged batch has been passed."""
        return self._next is None

    def compare(self, size: int, peaks: list[bytes]) -> None:
        """Compare the log's root over `size` entries with every root written down for that size."""
        while self._next is not None and self._next[0] <= size:
            if self._next[0] == size and self._next[1] != fold(peaks).hex():
                sentence = f"the root after {size} entries is not that of {self._next[2]}"
                self._book.note("batch", sentence, (self.acknowledged, size - 1))
            self.acknowledged = max(self.acknowledged, self._next[0])
            self._next = next(self._batches, None)
        if size not in self._signed:
            return
        root = fold(peaks).hex()
        wrong = [who for other, who in self._signed[size].items() if other != root]
        for who in wrong:
            self._book.note(
                "history", f"the first {size} entries are not those that {who}", (self.agreed, size - 1)
            )
        if not wrong and size in self._vouched:
            self.agreed = size

    def finish(self, size: int) -> None:
        """Say what should follow after the log's last entry, and what was never acknowledged."""
        beyond = None
        while self._next is not None:
            if self._next[0] > size:
                beyond = beyond or self._next[2]
            self.acknowledged = max(self.acknowledged, self._next[0])
            self._next = next(self._batches, None)
        if self.acknowledged > size:
            self._book.note(
                "missing",
                f"the log ends after {size} entries where {self.acknowledged} were acknowledged, first by {beyond}",
                (size, size),
            )
        for other in sorted(self._signed):
            if other > size:
                who = next(iter(self._signed[other].values()))
                sentence = f"the log ends after {size} entries and is not as {who}"
                self._book.note("missing", sentence, (self.agreed, size))
        if self.acknowledged < size:
            self._book.note(
                "unfinished",
                f"entries {self.acknowledged} to {size - 1} are not acknowledged: append finishes them",
                (self.acknowledged, size - 1),
            )


class Private:
    """The private lines in their order: content against the log, times, kinds, ids, erasures."""

    def __init__(self, catalogue: Catalogue, heads: Sequence[Head], roots: Roots, book: Book) -> None:
        self._catalogue, self._heads, self._roots, self._book = catalogue, heads, roots, book
        self._rows = catalogue.rows()
        self._catalogued = 0
        self._start = 0
        self._head = 0
        self._recorded_at = ""
        self.erased: set[int] = set()
        self._erasures: set[int] = set()

    def check(self, number: int, line: bytes, leaf: bytes, *, fits: bool) -> None:
        """Check the line of entry `number` against its leaf hash in the log.

        `fits` says whether the hash over this leaf and the one before, where there is one, is theirs. When it
        is not and the one before is erased, that one can only be seen here: then it is in doubt as well.
        """
        start, self._start = self._start, self._start + len(line)
        here, row = (number, number), next(self._rows, None)
        self._catalogued += row is not None
        try:
            stored, entry = from_line(line)
        except ValueError as fault:
            self._book.note(
                "entry", f"the private line of entry {number} was changed or cut off: {fault}", here
            )
            return
        name = None
        if stored.erased:
            self.erased.add(number)
        else:
            name = entry["id"]
            if stored.leaf != leaf:
                doubt = here if fits or number - 1 not in self.erased else (number - 1, number)
                self._book.note("entry", f"entry {number} ({name}) is not what was logged", doubt, name)
                return
            self._check_content(number, entry)
        if row is not None and row != (number, stored.mark, start):
            self._book.note(
                "catalogue",
                f"the catalogue does not lead to entry {number}: delete it and append",
                here,
                name,
            )

    def _check_content(self, number: int, entry: dict[str, object]) -> None:
        here, name = (number, number), str(entry["id"])
        kind, payload, recorded_at = entry["kind"], entry["payload"], str(entry["recorded_at"])
        while self._head < len(self._heads) and self._heads[self._head].size <= number:
            self._recorded_at = max(self._recorded_at, self._heads[self._head].at)
            self._head += 1
        after = self._heads[self._head].at if self._head < len(self._heads) else recorded_at
        if not self._recorded_at <= recorded_at <= after:
            self._book.note(
                "time",
                f"entry {number} ({name}) claims to be recorded at {recorded_at}: its place denies that",
                (self._roots.agreed, number),
                name,
            )
        self._recorded_at = max(self._recorded_at, recorded_at)
        if kind == ERASURE and isinstance(payload, dict) and type(payload.get("entry")) is int:
            self._erasures.add(payload["entry"])
        elif kind not in KINDS:
            self._book.note("kind", f"entry {number} ({name}) is of the unknown kind {kind!r}", here, name)

    def finish(self, size: int) -> None:
        """Say what the pass as a whole shows: erasures against their records, the catalogue's length."""
        for number in sorted(self.erased - self._erasures):
            # Either this entry was erased on the quiet, or the record of it, further on, was taken away.
            sentence = f"entry {number} was erased and the log does not say so"
            self._book.note("erased", sentence, (number, size))
        for number in sorted(self._erasures - self.erased):
            self._book.note(
                "erased", f"entry {number} is logged as erased and is still there: erase it again"
            )
        if self._catalogued != size or next(self._rows, None) is not None:
            self._book.note("catalogue", f"the catalogue does not name {size} entries: append, or delete it")
        if damage := self._catalogue.damage():
            self._book.note("catalogue", f"the catalogue is damaged ({damage}): delete it and append")


def walk(
    place: Place,
    heads: Sequence[Head],
    signed: Signed,
    book: Book,
    *,
    public_only: bool,
) -> tuple[int, str, int]:
    """Pass the whole log; return its size, its root (hex) and how many entries are erased.

    Findings go to `book`; `public_only` passes the log without the private store.
    """
    roots = Roots(place, signed, book)
    if public_only:
        size, peaks = _pass(place, roots, None, book)
        return size, fold(peaks).hex(), 0
    try:
        catalogue = Catalogue(place.catalogue)
        try:
            private = Private(catalogue, heads, roots, book)
            size, peaks = _pass(place, roots, private, book)
            private.finish(size)
        finally:
            catalogue.close()
    except sqlite3.Error as fault:
        book.note(
            "catalogue", f"{place.catalogue} cannot be read ({fault}): delete it and append, it is derived"
        )
        size, peaks = _pass(place, Roots(place, signed, book), None, book)
        return size, fold(peaks).hex(), 0
    return size, fold(peaks).hex(), len(private.erased)


def _pass(place: Place, roots: Roots, private: Private | None, book: Book) -> tuple[int, list[bytes]]:
    peaks: list[bytes] = []
    if not place.tree.exists():
        book.note("missing", f"{place.tree} is missing: restore it from a backup", (0, 0))
        return 0, peaks
    lines = read_lines(place.entries, unfinished=True) if private else iter(())
    with place.tree.open("rb") as tree:
        number = 0
        while True:
            line, leaf = next(lines, None), tree.read(HASH_BYTES)
            if not leaf and line is None:
                break
            completed = (~number & (number + 1)).bit_length() - 1  # ones at the end of `number`
            parents = tree.read(HASH_BYTES * completed)
            whole = len(leaf) == HASH_BYTES and len(parents) == HASH_BYTES * completed
            if not whole or (private and line is None):
                check = "unfinished" if roots.over else "missing"
                lacking = "the log" if not whole else "the private store"
                book.note(check, f"entry {number} is missing from {lacking}", (number, number))
                break
            node, fits = leaf, True
            for level in range(len(parents) // HASH_BYTES):
                stored = parents[level * HASH_BYTES : (level + 1) * HASH_BYTES]
                if node_hash(peaks.pop(), node) != stored:
                    first, fits = number + 1 - (2 << level), fits and level > 0
                    book.note(
                        "tree", f"the hash over entries {first} to {number} is not theirs", (first, number)
                    )
                node = stored
            peaks.append(node)
            if private and line is not None:
                private.check(number, line, leaf, fits=fits)
            number += 1
            roots.compare(number, peaks)
    roots.finish(number)
    return number, peaks
