"""Random tampering with the files of a ledger, and what an audit must say of each.

Here belong the attacks and their counting; `test_ledger_tampering.py` runs 1,000 of them, the benchmark more:

    python tests/integration/ledger/tampering.py COUNT SEED FOLDER

An attack either changes single files (bits, lines, hashes) or is coherent: it rewrites private store, tree,
batches and catalogue so that they fit each other, and, as the keeper, signs every head again.
"""

from __future__ import annotations

import collections
import json
import random
import sqlite3
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from warehouse.ledger import (
    Entry,
    accept,
    append,
    audit,
    consistency,
    cosign,
    erase,
    last_seen,
    public_hex,
    sign_head,
)
from warehouse.ledger.entries import from_line
from warehouse.ledger.files import Place, to_json_line
from warehouse.ledger.heads import head_of_line, make_head
from warehouse.ledger.tree import HASH_BYTES, fold, grow, nodes_in, position

START = datetime(2026, 3, 1, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
ERASED = (5, 22)


@dataclass(frozen=True)
class Expected:
    """What the audit must name: entries among which the first bad one is (exactly these, or a range holding
    them), or a file whose line it must name."""

    entries: tuple[int, int] | None = None
    exact: bool = False
    says: str = ""


class Fleet:
    """A ledger of some 50 entries over six days, two of them erased, with two witnesses; restored after
    each attack."""

    def __init__(self, home: Path, seed: int) -> None:
        self.home, self.draw = home, random.Random(seed)
        self.place = Place(home / "hub")
        self.witnesses = [home / name for name in ("alpha", "beta")]
        for day in range(6):
            self._a_day(day)
        assert self.audit().ok, self.audit().findings
        self.clean = self._read()
        self.lines = self.clean[self.place.entries].splitlines(keepends=True)
        self.leaves = [
            self.clean[self.place.tree][position(0, n) * HASH_BYTES :][:HASH_BYTES]
            for n in range(len(self.lines))
        ]

    def _a_day(self, day: int) -> None:
        at = START + timedelta(days=day)
        for part in range(2):
            count = self.draw.randint(2, 6)
            entries = [
                Entry(f"{day}-{part}-{n}", "custody_event", {"place": f"dock {n}", "temperature_c": "-150.2"})
                for n in range(count)
            ]
            append(self.place.folder, entries, at=at + timedelta(hours=part))
        if day in (1, 4):
            number = ERASED[day // 4]
            lines = self.place.entries.read_bytes().splitlines(keepends=True)
            # What is erased must be there, and the note of the first erasure must not be what is erased second.
            while len(lines) == ERASED[1] or len(lines) <= number:
                more = Entry(f"{day}-more-{len(lines)}", "custody_event", {"place": "dock 9"})
                append(self.place.folder, [more], at=at + timedelta(hours=1))
                lines = self.place.entries.read_bytes().splitlines(keepends=True)
            line = lines[number]
            erase(self.place.folder, from_line(line)[1]["id"], "asked for", at=at + timedelta(hours=2))
        head = sign_head(self.place.folder, KEY, at + timedelta(hours=3))
        for home in self.witnesses:
            last = last_seen(home)
            proof = consistency(self.place.folder, last.size if last else 0, head.size)
            own = Ed25519PrivateKey.from_private_bytes(home.name.encode().ljust(32))
            seen = cosign(
                home,
                head,
                proof,
                site=home.name,
                key=own,
                keeper=public_hex(KEY),
                seen_at=at + timedelta(hours=4),
            )
            accept(self.place.folder, seen)

    def audit(self):
        return audit(self.place.folder, self.witnesses, key=public_hex(KEY))

    def _read(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in self.home.rglob("*") if path.is_file()}

    def changed(self) -> bool:
        return self._read() != self.clean

    def restore(self) -> None:
        for path, content in self._read().items():
            if path not in self.clean:
                path.unlink()
            elif content != self.clean[path]:
                path.write_bytes(self.clean[path])
        for path in self.clean.keys() - self._read().keys():
            path.write_bytes(self.clean[path])

    # Coherent rewriting, as someone with every file of the hub in hand would do it.

    def heads(self):
        return [head_of_line(line) for line in self.clean[self.place.heads].splitlines(keepends=True)]

    def rebuild(self, lines: list[bytes], leaves: list[bytes], *, sign: bool = False) -> None:
        sizes = [json.loads(line)["size"] for line in self.clean[self.place.batches].splitlines()]
        sizes = sorted({*(size for size in sizes if size < len(lines)), len(lines)})
        peaks: list[bytes] = []
        tree, batches, roots = b"", b"", {}
        for number, leaf in enumerate(leaves):
            tree += grow(peaks, number, [leaf])
            roots[number + 1] = fold(peaks).hex()
        for first, size in zip([0, *sizes], sizes, strict=False):
            batches += to_json_line({"from": first, "size": size, "root": roots[size]})
        self.place.entries.write_bytes(b"".join(lines))
        self.place.tree.write_bytes(tree)
        self.place.batches.write_bytes(batches)
        self.change_catalogue("DELETE FROM entry", [()])
        rows, start = [], 0
        for number, line in enumerate(lines):
            rows.append((number, from_line(line)[0].mark, start))
            start += len(line)
        self.change_catalogue("INSERT INTO entry VALUES (?, ?, ?)", rows)
        if sign:
            signed = [
                make_head(min(head.size, len(lines)), roots[min(head.size, len(lines))], head.at, KEY)
                for head in self.heads()
            ]
            self.place.heads.write_bytes(b"".join(to_json_line(head.content) for head in signed))

    def change_catalogue(self, statement: str, rows: list[tuple]) -> None:
        db = sqlite3.connect(self.place.catalogue)
        db.execute("PRAGMA synchronous = OFF")
        db.executemany(statement, rows)
        db.commit()
        db.close()

    def forged(self, line: bytes) -> tuple[bytes, bytes]:
        """Another content for an entry, with its leaf."""
        new = line.replace(b"dock", b"d0ck").replace(b"asked", b"a5ked")
        return new, from_line(new)[0].leaf

    def any_entry(self, *, after: int = 0) -> int:
        """An entry that is not erased."""
        return self.draw.choice([n for n in range(after, len(self.lines)) if n not in ERASED])

    def sure(self, number: int) -> bool:
        """Whether a changed leaf can be told from its neighbour's: an erased content cannot be hashed
        again."""
        return number not in ERASED and not (number % 2 and number - 1 in ERASED)

    def evidence(self) -> list[Path]:
        return [path for path in self.clean if path != self.place.catalogue]


def flip(fleet: Fleet) -> Expected:
    """One bit of one file."""
    path = fleet.draw.choice(fleet.evidence())
    data = bytearray(fleet.clean[path])
    byte = fleet.draw.randrange(len(data))
    data[byte] ^= 1 << fleet.draw.randrange(8)
    path.write_bytes(data)
    return expected_at(fleet, path, byte)


def expected_at(fleet: Fleet, path: Path, byte: int) -> Expected:
    """Which entry, node or line stands at a byte."""
    if path == fleet.place.tree:
        node = byte // HASH_BYTES
        number = max(n for n in range(len(fleet.lines)) if position(0, n) <= node)
        level = node - position(0, number)
        if level == 0:
            return Expected((number, number), exact=fleet.sure(number))
        return Expected((number + 1 - (1 << level), number))
    line = fleet.clean[path][:byte].count(b"\n")
    if path == fleet.place.entries:
        return Expected((line, line), exact=True)
    return Expected(says=f"line {line + 1} of")


def drop(fleet: Fleet) -> Expected:
    """One line or one hash out of one file."""
    path = fleet.draw.choice(fleet.evidence())
    if path == fleet.place.tree:
        node = fleet.draw.randrange(nodes_in(len(fleet.lines)))
        data = fleet.clean[path]
        path.write_bytes(data[: node * HASH_BYTES] + data[(node + 1) * HASH_BYTES :])
        return expected_at(fleet, path, node * HASH_BYTES)
    lines = fleet.clean[path].splitlines(keepends=True)
    number = fleet.draw.randrange(len(lines))
    del lines[number]
    path.write_bytes(b"".join(lines))
    return Expected((number, number), exact=True) if path == fleet.place.entries else Expected()


def insert(fleet: Fleet) -> Expected:
    """A copy of a line or hash, or a forged entry, somewhere in one file."""
    path = fleet.draw.choice(fleet.evidence())
    if path == fleet.place.tree:
        data, node = fleet.clean[path], fleet.draw.randrange(nodes_in(len(fleet.lines)))
        at = node * HASH_BYTES
        path.write_bytes(data[:at] + fleet.draw.randbytes(HASH_BYTES) + data[at:])
        return expected_at(fleet, path, at)
    lines = fleet.clean[path].splitlines(keepends=True)
    number = fleet.draw.randrange(len(lines))
    lines.insert(number, fleet.draw.choice(lines))
    path.write_bytes(b"".join(lines))
    if path == fleet.place.entries:
        same = next((n for n, line in enumerate(lines) if line != [*fleet.lines, b""][n]), len(fleet.lines))
        return Expected((same, same), exact=True)
    return Expected()


def reorder(fleet: Fleet) -> Expected:
    """Two lines or two leaves change places in one file."""
    path = fleet.draw.choice(fleet.evidence())
    if path == fleet.place.tree:
        first, second = sorted(fleet.draw.sample(range(len(fleet.leaves)), 2))
        data = bytearray(fleet.clean[path])
        for number, leaf in ((first, fleet.leaves[second]), (second, fleet.leaves[first])):
            at = position(0, number) * HASH_BYTES
            data[at : at + HASH_BYTES] = leaf
        path.write_bytes(data)
        return Expected((first, first), exact=fleet.sure(first))
    lines = fleet.clean[path].splitlines(keepends=True)
    first, second = sorted(fleet.draw.sample(range(len(lines)), 2))
    lines[first], lines[second] = lines[second], lines[first]
    path.write_bytes(b"".join(lines))
    return Expected((first, first), exact=True) if path == fleet.place.entries else Expected()


def truncate(fleet: Fleet) -> Expected:
    """One file cut anywhere."""
    path = fleet.draw.choice(fleet.evidence())
    byte = fleet.draw.randrange(len(fleet.clean[path]))
    path.write_bytes(fleet.clean[path][:byte])
    at = expected_at(fleet, path, byte)
    if at.entries is None:
        return Expected()
    return Expected((at.entries[1], at.entries[1])) if path == fleet.place.tree else at


def remove(fleet: Fleet) -> Expected:
    """A whole file gone."""
    fleet.draw.choice(list(fleet.clean)).unlink()
    return Expected()


def back_date(fleet: Fleet) -> Expected:
    """An earlier time of recording in an entry, or an earlier time in a head."""
    if fleet.draw.random() < 0.3:
        lines = fleet.clean[fleet.place.heads].splitlines(keepends=True)
        number = fleet.draw.randrange(len(lines))
        lines[number] = lines[number].replace(b'"at":"2026-', b'"at":"2025-')
        fleet.place.heads.write_bytes(b"".join(lines))
        return Expected(says=f"line {number + 1} of heads.jsonl")
    number = fleet.any_entry()
    lines = list(fleet.lines)
    lines[number] = lines[number].replace(b'"recorded_at":"2026-', b'"recorded_at":"2025-')
    if fleet.draw.random() < 0.5:
        fleet.place.entries.write_bytes(b"".join(lines))
        return Expected((number, number), exact=True)
    leaves = list(fleet.leaves)
    leaves[number] = from_line(lines[number])[0].leaf
    fleet.rebuild(lines, leaves)
    return Expected((number, number))


def late_entry(fleet: Fleet) -> Expected:
    """A new entry, everything fitting, that claims to be recorded before the last head was signed."""
    number = len(fleet.lines)
    source = fleet.lines[fleet.any_entry()]
    line = source.replace(b'"id":"', b'"id":"late-')
    fleet.rebuild([*fleet.lines, line], [*fleet.leaves, from_line(line)[0].leaf])
    return Expected((number, number), exact=True)


def swap_salts(fleet: Fleet) -> Expected:
    """Two entries exchange their salts."""
    first = fleet.any_entry()
    second = fleet.any_entry()
    first, second = min(first, second), max(first, second)
    lines = list(fleet.lines)
    lines[first] = fleet.lines[second][:64] + fleet.lines[first][64:]
    lines[second] = fleet.lines[first][:64] + fleet.lines[second][64:]
    fleet.place.entries.write_bytes(b"".join(lines))
    return Expected((first, first), exact=True)


def replay_head(fleet: Fleet) -> Expected:
    """An old head stands again after newer ones, or instead of the newest."""
    lines = fleet.clean[fleet.place.heads].splitlines(keepends=True)
    old = fleet.draw.choice(lines[:-1])
    if fleet.draw.random() < 0.5:
        fleet.place.heads.write_bytes(b"".join([*lines, old]))
        return Expected(says=f"line {len(lines) + 1} of heads.jsonl is a head")
    fleet.place.heads.write_bytes(b"".join([*lines[:-1], old]))
    return Expected(says=f"line {len(lines)} of heads.jsonl is a head")


def hide(fleet: Fleet) -> Expected:
    """The newest entries and the heads over them are gone, and everything else fits."""
    keep = fleet.draw.randrange(len(fleet.lines))
    fleet.rebuild(fleet.lines[:keep], fleet.leaves[:keep]) if keep else [
        path.write_bytes(b"") for path in (fleet.place.entries, fleet.place.tree, fleet.place.batches)
    ]
    heads = [head for head in fleet.heads() if head.size <= keep]
    fleet.place.heads.write_bytes(b"".join(to_json_line(head.content) for head in heads))
    fleet.place.cosignatures.unlink()
    return Expected((keep, keep))


def rewrite(fleet: Fleet, *, sign: bool = False) -> Expected:
    """An entry dropped, forged, doubled under another id or moved, and everything made to fit again."""
    lines, leaves = list(fleet.lines), list(fleet.leaves)
    number = fleet.any_entry()
    how = fleet.draw.choice(["drop", "forge", "insert", "reorder"])
    if how == "drop":
        del lines[number], leaves[number]
        number = next((n for n in range(len(leaves)) if leaves[n] != fleet.leaves[n]), len(leaves))
    elif how == "forge":
        lines[number], leaves[number] = fleet.forged(lines[number])
    elif how == "insert":
        line = fleet.lines[number].replace(b'"id":"', b'"id":"new-')
        lines.insert(number, line)
        leaves.insert(number, from_line(line)[0].leaf)
    else:
        other = fleet.draw.choice([n for n in range(len(lines)) if n != number])
        for items in (lines, leaves):
            items[number], items[other] = items[other], items[number]
        number = min(number, other)
    fleet.rebuild(lines, leaves, sign=sign)
    return Expected((number, number))


def fork(fleet: Fleet) -> Expected:
    """The keeper itself rewrites history, signs every head again and forgets the cosignatures."""
    expected = rewrite(fleet, sign=True)
    fleet.place.cosignatures.unlink()
    return expected


def unlogged_erasure(fleet: Fleet) -> Expected:
    """A content erased in the private store without a record of it."""
    number = fleet.any_entry()
    lines = list(fleet.lines)
    mark = from_line(lines[number])[0].mark
    lines[number] = (b"erased " + mark.hex().encode()).ljust(len(lines[number]) - 1) + b"\n"
    fleet.place.entries.write_bytes(b"".join(lines))
    return Expected(says=f"entry {number} was erased and the log does not say so")


def mislead(fleet: Fleet) -> Expected:
    """The catalogue leads an id to another entry, or forgets one."""
    first, second = sorted(fleet.draw.sample(range(len(fleet.lines)), 2))
    marks = [from_line(fleet.lines[number])[0].mark for number in (first, second)]
    if fleet.draw.random() < 0.5:
        changes = [(b"x", first), (marks[0], second), (marks[1], first)]
        fleet.change_catalogue("UPDATE entry SET mark = ? WHERE number = ?", changes)
    else:
        fleet.change_catalogue("DELETE FROM entry WHERE number = ?", [(first,)])
    return Expected((first, first), exact=True)


ATTACKS: list[Callable[[Fleet], Expected]] = [
    *(flip, flip, flip, drop, insert, reorder, truncate, remove, back_date, late_entry),
    *(swap_salts, replay_head, hide, rewrite, fork, unlogged_erasure, mislead),
]


def attack(fleet: Fleet) -> tuple[str, str | None]:
    """Make one random attack; return its name and, when the audit failed to see or name it, what happened."""
    while True:
        act = fleet.draw.choice(ATTACKS)
        expected = act(fleet)
        if fleet.changed():
            break
    report = fleet.audit()
    fleet.restore()
    name, bad = act.__name__, report.first_bad
    if report.ok:
        return name, f"{act.__doc__} not seen"
    if expected.says and not any(expected.says in finding.sentence for finding in report.findings):
        return name, f"{expected.says!r} not said in {report.findings[:3]}"
    if expected.entries is not None:
        first, last = expected.entries
        if bad is None or bad.doubt is None or not (bad.doubt[0] <= last and first <= bad.doubt[1]):
            return name, f"entry {expected.entries} not named by {bad}"
        if expected.exact and bad.doubt != expected.entries:
            return name, f"entry {expected.entries} not named exactly by {bad}"
    return name, None


def main(count: int, seed: int, home: Path) -> int:
    """Run `count` attacks and print one JSON row with what was seen."""
    fleet, made, missed = Fleet(home, seed), collections.Counter[str](), []
    begin = time.perf_counter()
    for _ in range(count):
        name, fault = attack(fleet)
        made[name] += 1
        if fault is not None:
            missed.append(f"{name}: {fault}")
    row = {
        "figure": "tampering",
        "attacks": count,
        "detected_and_named": count - len(missed),
        "by_kind": dict(sorted(made.items())),
        "missed": missed[:5],
        "seconds": round(time.perf_counter() - begin, 1),
    }
    sys.stdout.write(json.dumps(row) + "\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
