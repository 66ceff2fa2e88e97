"""What the fleet logs in its ledger: custody events, release decisions, specification versions and limits, and
published snapshots, each taken from the newest published snapshot.

Here belongs which rows become entries, which of them are new, and when a head is signed. How the ledger keeps them is
`warehouse/ledger`.

A run writes its rows once, so what is new is told by counting a table's rows by run: only the rows of runs that were
not counted so before are read. The counts lie in `ledger/private/counted.json`, a note that may be deleted: then, and
where the ledger is not the one that the note was made with, everything is read again, which adds nothing twice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb

from warehouse.ledger import (
    Appended,
    Entry,
    Head,
    LedgerError,
    append,
    http_authority,
    new_key,
    read_certificates,
    read_heads,
    read_key,
    sign_head,
    stamp,
)
from warehouse.ledger.files import Place, last_line, parsed
from warehouse.ledger.witness import accepted_of_line
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
    """What one run logged: entries in the ledger now, added by this run, rows read for it, and the head over them."""

    size: int
    added: int
    read: int
    head: Head


def _plain(value: Any) -> Any:
    """A value in its one written form: times in UTC and numbers with decimals as text."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, date):
        return value.isoformat()
    return repr(value) if isinstance(value, float) else value


Counts = dict[str, dict[str, int]]
"""Rows of each logged table by the run that wrote them."""


def count_rows(con: duckdb.DuckDBPyConnection) -> Counts:
    """What a snapshot (open connection) holds of each logged table, by run."""
    return {
        table: dict(
            con.execute(f"SELECT run_id, count(*) FROM history.{table} GROUP BY run_id ORDER BY run_id").fetchall()
        )
        for table in LOGGED
    }  # fmt: skip


def entries(snapshot: Path, counted: Mapping[str, Mapping[str, int]] | None = None) -> Iterator[Entry]:
    """Entries of every version of every logged row in a published snapshot, then of the snapshot itself.

    Rows of runs that `counted` counts as the snapshot does are passed over unread. Raises duckdb.Error where the file
    is no snapshot of ours.
    """
    with duckdb.connect(str(snapshot), read_only=True) as con:
        for table, by_run in count_rows(con).items():
            before = (counted or {}).get(table, {})
            runs = [run for run, rows in by_run.items() if before.get(run) != rows]
            if not runs:
                continue
            kind, own = LOGGED[table]
            names = (*_COMMON, *own)
            cursor = con.execute(
                f"SELECT {', '.join(names)} FROM history.{table} WHERE list_contains(?, run_id) "
                "ORDER BY recorded_at, site_id, record_id",
                [runs],
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
    done = append(folder, entries(snapshot, _counted(folder)))
    _keep_counted(folder, snapshot, done)
    return Logged(
        done.size, done.added, done.added + done.already, head_of_today(folder, key_path, done.size)
    )


def stamp_newest(chosen: Settings) -> datetime:
    """Have the newest head stamped by the authority of the settings; return the authority's time.

    Raises LedgerError where its certificates are not set or its answer does not hold, OSError where it does not answer.
    """
    if not chosen.time_stamp_certificates:
        raise LedgerError("the authority's certificates are not set: give CELLFLEET_TIME_STAMP_CERTIFICATES")
    certificates = read_certificates(Path(chosen.time_stamp_certificates))
    return stamp(chosen.ledger_path, http_authority(chosen.time_stamp_url), certificates)


def _note(folder: Path) -> Path:
    return Place(folder).entries.with_name("counted.json")


def _counted(folder: Path) -> Counts:
    """What was counted when the ledger was as it is now; nothing where the note is missing or of another ledger."""
    path = _note(folder)
    try:
        note = json.loads(path.read_bytes())
        acknowledged = json.loads(last_line(Place(folder).batches)[0])
        same = (note["size"], note["root"]) == (acknowledged["size"], acknowledged["root"])
        counts: Counts = note["counts"] if same else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return counts


def _keep_counted(folder: Path, snapshot: Path, done: Appended) -> None:
    with duckdb.connect(str(snapshot), read_only=True) as con:
        note = {"size": done.size, "root": done.root, "counts": count_rows(con)}
    path = _note(folder)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(note, sort_keys=True), encoding="utf-8")
    part.replace(path)


def heads_of(folder: Path) -> tuple[Head, ...]:
    """The ledger's signed heads, oldest first; none where no ledger was begun."""
    path = Place(folder).heads
    return read_heads(path) if path.exists() else ()


def cosigned(folder: Path) -> dict[str, list[str]]:
    """Sites whose cosignatures the keeper has, by the time of the head."""
    sites: dict[str, list[str]] = {}
    for _, seen in parsed(Place(folder).cosignatures, accepted_of_line):
        sites.setdefault(seen.head.at, []).append(seen.site)
    return {at: sorted(set(names)) for at, names in sites.items()}


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
