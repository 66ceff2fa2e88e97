"""What the fleet logs in its ledger: custody events, release decisions, specification versions and limits, and
published snapshots, each taken from the newest published snapshot.

Here belongs which rows become entries and when a head is signed. How the ledger keeps them is `warehouse/ledger`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb

from warehouse.ledger import Entry, Head, LedgerError, append, new_key, read_heads, read_key, sign_head
from warehouse.ledger.files import Place
from warehouse.publish import newest, numbers
from warehouse.settings import Settings

# Columns are listed, not taken from the dictionary: a logged entry never changes, so neither may its form. Another
# form needs another prefix of the id. Ids hold the record's hash, which names no person.
LOGGED: dict[str, tuple[str, tuple[str, ...]]] = {
    "custody_event": (
        "custody_event",
        (
            "event_id", "coi_id", "custody_object", "custody_kind", "from_party", "to_party", "place", "happened_at",
            "verified_by_two", "custody_temperature_c", "sequence_no", "previous_hash", "leaf_hash",
        ),
    ),
    "release_decision": (
        "release_decision",
        ("release_id", "batch_id", "decision", "spec_id", "spec_version", "signer_role", "signed_at", "conditional_on"),
    ),
    "specification": (
        "specification",
        ("spec_id", "product_id", "spec_version", "effective_from", "effective_to", "approved_by_role"),
    ),
    "spec_limit": (
        "specification",
        ("spec_id", "spec_version", "attribute", "low", "high", "inclusive", "stage", "blocking"),
    ),
}  # fmt: skip
_COMMON = ("site_id", "record_id", "source_file_sha256", "source_row")
_FETCH = 20_000


@dataclass(frozen=True)
class Logged:
    """What one run logged: entries in the ledger now, added by this run, and the head that covers them."""

    size: int
    added: int
    head: Head


def _plain(value: Any) -> Any:
    """A value in its one written form: times in UTC and numbers with decimals as text."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, date):
        return value.isoformat()
    return repr(value) if isinstance(value, float) else value


def entries(snapshot: Path) -> Iterator[Entry]:
    """Entries of every version of every logged row in a published snapshot, then of the snapshot itself.

    Raises duckdb.Error where the file is no snapshot of ours.
    """
    with duckdb.connect(str(snapshot), read_only=True) as con:
        for table, (kind, own) in LOGGED.items():
            names = (*_COMMON, *own)
            cursor = con.execute(
                f"SELECT {', '.join(names)} FROM history.{table} ORDER BY recorded_at, site_id, record_id"
            )
            while block := cursor.fetchmany(_FETCH):
                for row in block:
                    payload = {name: _plain(value) for name, value in zip(names, row, strict=True)}
                    yield Entry(f"{table}:{payload['site_id']}:{payload['record_id']}", kind, payload)
        facts = {
            str(fact): str(value)
            for fact, value in con.execute("SELECT fact, value FROM meta.snapshot").fetchall()
        }
    with snapshot.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    yield Entry(
        f"snapshot:{facts['number']}:{digest[:16]}", "snapshot", {"file_sha256": digest, "facts": facts}
    )


def log_fleet(chosen: Settings) -> Logged:
    """Append what the newest snapshot holds and the ledger does not, and sign a head over it.

    A head is signed where the last one does not cover the log or is of an earlier UTC day. The key is drawn with the
    first head. Raises LedgerError where nothing is published, the key is missing though heads were signed, or the
    ledger refuses.
    """
    snapshot = newest(chosen.published_path)
    if snapshot is None or not numbers(chosen.published_path):
        raise LedgerError(f"Nothing is published in {chosen.published_path}: run `cellfleet run` first")
    folder, key_path = chosen.ledger_path, chosen.ledger_key_path
    done = append(folder, entries(snapshot))
    return Logged(done.size, done.added, head_of_today(folder, key_path, done.size))


def heads_of(folder: Path) -> tuple[Head, ...]:
    """The ledger's signed heads, oldest first; none where no ledger was begun."""
    path = Place(folder).heads
    return read_heads(path) if path.exists() else ()


def head_of_today(folder: Path, key_path: Path, size: int) -> Head:
    """The head over all `size` entries, signed now where there is none of today (UTC) that covers them."""
    signed = heads_of(folder)
    now = datetime.now(UTC)
    if signed and signed[-1].size == size and signed[-1].at[:10] == now.date().isoformat():
        return signed[-1]
    if not key_path.exists():
        if signed:
            raise LedgerError(
                f"the signing key {key_path} is missing and the ledger was signed with {signed[-1].key}: restore it, "
                "or name it with CELLFLEET_LEDGER_KEY"
            )
        new_key(key_path)
    return sign_head(folder, read_key(key_path), now)
