"""The audit: every byte of a ledger against every other, in one pass and little memory.

Here belong heads, witnesses and stamps against each other, and the report. The pass over the entries is in
walk.py. Nothing here writes.

It recomputes each leaf from salt and text, each node from its children, each acknowledged root, every
signed head and every witness's head, and checks times, ids, erasures and stamps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.x509 import Certificate

from warehouse.ledger.entries import LedgerError
from warehouse.ledger.files import Place, read_lines
from warehouse.ledger.heads import Head, head_of_line
from warehouse.ledger.stamps import check_stamp, read_stamp
from warehouse.ledger.walk import Book, Enough, Finding, Signed, walk
from warehouse.ledger.witness import CONFLICTS, FILE, Seen, accepted_of_line, seen_of_line


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What an audit saw: counts of what was looked at, and the findings. `ok` is true when there are none."""

    size: int
    root: str
    heads: int
    cosignatures: int
    stamps: int
    erased: int
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def first_bad(self) -> Finding | None:
        """The finding that names the first bad entry most closely, None when no entry is in doubt.

        A finding says that the first bad entry is none after its range, so the range that ends first names
        it.
        """
        named = [
            (found.doubt[1], -found.doubt[0], found) for found in self.findings if found.doubt is not None
        ]
        return min(named, key=lambda one: one[:2])[2] if named else None


def audit(
    folder: Path,
    witnesses: Sequence[Path] = (),
    *,
    key: str | None = None,
    authority: Sequence[Certificate] = (),
    public_only: bool = False,
) -> AuditReport:
    """Check the whole ledger in `folder` and report what is wrong, if anything.

    `witnesses` are the folders of sites (with witness.jsonl): without them a keeper who rewrites everything
    and signs again is not seen. `key` is the ledger's public key in hex, known from elsewhere; without it
    the first head's is taken. `authority` holds the time stamp authority's certificates; without it stamps
    are only compared with their hash. `public_only` audits a copy without the private folder. Raises
    LedgerError when there is no ledger.
    """
    place, book = Place(folder), Book()
    heads: list[Head] = []
    seen: list[Seen] = []
    stamps, size, root, erased = 0, 0, "", 0
    with place.locked(write=False):
        try:
            heads = _check_heads(place, key, book)
            seen = _check_cosignatures(
                place, witnesses, heads, key or (heads[0].key if heads else None), book
            )
            stamps = _check_stamps(place, heads, authority, book)
            size, root, erased = walk(place, heads, Signed(heads, seen), book, public_only=public_only)
        except Enough:
            pass  # the findings are in the book
    return AuditReport(size, root, len(heads), len(seen), stamps, erased, tuple(book.findings))


def _check_heads(place: Place, key: str | None, book: Book) -> list[Head]:
    """Form, key, signature and order of the heads; those that hold, oldest first."""
    heads: list[Head] = []
    for number, line in enumerate(read_lines(place.heads, unfinished=True), start=1):
        where, covered = f"line {number} of {place.heads.name}", heads[-1].size if heads else 0
        try:
            head = head_of_line(line)
        except ValueError as fault:
            book.note("head", f"{where} is no signed head: {fault}")
            continue
        key = key or head.key
        doubt = (covered, max(covered, head.size - 1))
        if head.key != key:
            book.note("head", f"{where}, of {head.at}, is signed with key {head.key} and not {key}", doubt)
        elif not head.holds:
            book.note("head", f"{where}, of {head.at}: the signature does not fit", doubt)
        elif heads and not (heads[-1].at < head.at and heads[-1].size <= head.size):
            book.note("head", f"{where} is a head of {head.at}, replayed after the one of {heads[-1].at}")
        else:
            heads.append(head)
    return heads


def _check_cosignatures(
    place: Place, witnesses: Sequence[Path], heads: Sequence[Head], key: str | None, book: Book
) -> list[Seen]:
    """Cosignatures here and at the sites: each holds, is under a head that is here, and is in both places."""
    known = {head.at: head for head in heads}
    ours = _read_accepted(place.cosignatures, key, book)
    for one in ours:
        if known.get(one.head.at) != one.head:
            book.note(
                "cosignature",
                f"the head of {one.head.at} that {one.site} cosigned is gone",
                _after(heads, one),
            )
    found = dict.fromkeys(ours)
    for folder in witnesses:
        if not (folder / FILE).exists():
            book.note("witness", f"{folder} holds no {FILE}: give the folder of a witness")
            continue
        if (folder / CONFLICTS).exists():
            book.note("fork", f"{folder / CONFLICTS} holds two signed heads that cannot both be true")
        theirs = dict.fromkeys(_read_seen(folder / FILE, key, book))
        sites = {(one.site, one.site_key) for one in theirs}
        for one in theirs:
            if known.get(one.head.at) != one.head:
                book.note(
                    "witness", f"the head of {one.head.at} that {one.site} saw is gone", _after(heads, one)
                )
            elif one not in found:
                book.note(
                    "witness", f"the cosignature of {one.site} of {one.seen_at} is not here: accept it again"
                )
        for one in ours:
            if (one.site, one.site_key) in sites and one not in theirs:
                book.note("witness", f"{folder} lost what {one.site} cosigned at {one.seen_at}")
        found |= theirs
    return list(found)


def _after(heads: Sequence[Head], seen: Seen) -> tuple[int, int]:
    """Entries in doubt when a head that someone saw is not here: those after the last one that is older."""
    older = max((head.size for head in heads if head.at < seen.head.at), default=0)
    return min(older, seen.head.size - 1), seen.head.size - 1


def _read_accepted(path: Path, key: str | None, book: Book) -> list[Seen]:
    """The keeper's cosignatures that hold."""
    found: list[Seen] = []
    for number, line in enumerate(read_lines(path, unfinished=True)):
        where = f"line {number + 1} of {path.name}"
        try:
            own_number, one = accepted_of_line(line)
        except ValueError as fault:
            book.note("cosignature", f"{where} is no cosigned head: {fault}")
            continue
        if own_number != number:
            book.note(
                "cosignature", f"{where} was line {own_number + 1}: lines were moved, dropped or put in"
            )
        elif not one.holds or key not in (None, one.head.key):
            book.note("cosignature", f"{where}: a signature does not fit")
        else:
            found.append(one)
    return found


def _read_seen(path: Path, key: str | None, book: Book) -> list[Seen]:
    """What a witness saw that holds, in the order of the heads."""
    found: list[Seen] = []
    for number, line in enumerate(read_lines(path, unfinished=True), start=1):
        where = f"line {number} of {path}"
        try:
            one = seen_of_line(line)
        except ValueError as fault:
            book.note("witness", f"{where} is no cosigned head: {fault}")
            continue
        if not one.holds or key not in (None, one.head.key):
            book.note("witness", f"{where}: a signature does not fit")
        elif found and found[-1].head.at >= one.head.at:
            book.note("witness", f"{where} is out of order or there twice")
        else:
            found.append(one)
    return found


def _check_stamps(place: Place, heads: Sequence[Head], authority: Sequence[Certificate], book: Book) -> int:
    """Time stamps: unchanged, under a head that is here, and by the authority when its certificates are
    given."""
    known = {head.at: head for head in heads}
    good = 0
    for number, line in enumerate(read_lines(place.stamps, unfinished=True)):
        try:
            own_number, head_at, response = read_stamp(line)
            if own_number != number:
                raise LedgerError(f"it was line {own_number + 1}")
            if head_at not in known:
                raise LedgerError(f"the head of {head_at} is not here")
            if authority:
                check_stamp(known[head_at], response, authority)
            good += 1
        except (ValueError, LedgerError) as fault:
            book.note("stamp", f"line {number + 1} of {place.stamps.name} is no valid time stamp: {fault}")
    return good
