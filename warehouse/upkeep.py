"""Maintenance of a home's files: what is past its time or belongs to nothing, found and, where asked for, removed.

Nothing here changes an answer: the lake's rows are never touched, only in how many files they lie, its own old
snapshots, the files that none of those kept names, leftovers of killed processes, and logs. A lake snapshot that a
published one is pinned to is kept, so is everything younger than a day, which may be of a run under way. Does not
belong here: Dagster's history and pages of audits (`pipelines/maintenance.py`), retention of backups (`backup.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import duckdb

from warehouse import lake, lake_files, lake_layout
from warehouse.dictionary import dictionary
from warehouse.dictionary.render import quoted
from warehouse.publish import CURRENT, newest, numbers
from warehouse.settings import Settings

# What is younger may be of a run, a publication or a reader under way.
GRACE = timedelta(days=1)
NOTES_KEPT = 100


@dataclass(frozen=True)
class Swept:
    """One kind of what is kept for a time: how many there are, how many are past it, their bytes."""

    what: str
    rule: str
    there: int
    past: int
    bytes: int


def sweep(
    chosen: Settings, *, apply: bool, now: datetime | None = None, grace: timedelta = GRACE
) -> Iterator[Swept]:
    """Each kind of leftover of the home; with `apply` it is removed. Raises LakeError as `lake.attach` does."""
    at = now or datetime.now(UTC)
    with closing(lake.attach(chosen)) as con:
        if lost := lake_files.missing(con, chosen):
            raise lake.LakeError(lake_files.in_words(lost, lake_files.data_path(chosen)))
        yield _compacted(con, apply=apply)
        yield _snapshots(con, chosen, at, apply=apply)
        yield _unnamed(con, "lake files of no snapshot kept", "cleanup_old_files", at - grace, apply=apply)
        yield _unnamed(con, "orphaned lake files", "delete_orphaned_files", at - grace, apply=apply)
    yield _published(chosen, apply=apply)
    yield _aged(
        "logs", f"kept {chosen.logs_days} days", chosen.home_path / "logs", "*",
        at - timedelta(days=float(chosen.logs_days)), apply=apply,
    )  # fmt: skip
    yield _aged(
        "arrivals cut off",
        "left by killed processes",
        chosen.shared_path / "vault",
        ".arriving*.part",
        at - grace,
        apply=apply,
    )
    yield _aged(
        "spilled and half-written files",
        "left by killed processes",
        chosen.home_path / "tmp",
        "*",
        at - grace,
        apply=apply,
    )


def compact(chosen: Settings, *, apply: bool) -> Swept:
    """Small files of the lake merged: readings to one a site and month, other tables to one. Raises LakeError."""
    with closing(lake.attach(chosen)) as con:
        return _compacted(con, apply=apply)


def _compacted(con: duckdb.DuckDBPyConnection, *, apply: bool) -> Swept:
    """A table at a time, so that writers beside wait little."""
    told, names = lake_layout.small_files(con)
    if apply:
        for table in (t for t in dictionary().tables.values() if t.name in names):
            lake.commit(
                con, partial(lake_layout.merge, con, table), "cellfleet", f"compact {table.qualified}"
            )
    return Swept(
        "small lake files",
        "merged: readings by site and month, others by table",
        told.there,
        told.merged,
        told.bytes,
    )


def _snapshots(con: duckdb.DuckDBPyConnection, chosen: Settings, at: datetime, *, apply: bool) -> Swept:
    """The lake's own snapshots: they serve restores to a moment, never answers."""
    oldest = at - timedelta(days=float(chosen.lake_snapshots_days))
    all_snapshots = con.execute(
        "SELECT snapshot_id, snapshot_time FROM ducklake_snapshots('lake')"
    ).fetchall()
    kept = {lake.latest_snapshot(con), *_pinned(chosen)}
    past = sorted(n for n, made in all_snapshots if made < oldest and n not in kept)
    if apply and past:
        con.execute(f"CALL ducklake_expire_snapshots('lake', versions => {past})")
    return Swept(
        "lake snapshots", f"kept {chosen.lake_snapshots_days} days, and while a published snapshot is pinned to it",
        len(all_snapshots), len(past), 0,
    )  # fmt: skip


def _pinned(chosen: Settings) -> Iterator[int]:
    """Lake snapshots that published ones were made of. One that cannot be read pins nothing; doctor tells of it."""
    for n in numbers(chosen.published_path):
        try:
            with duckdb.connect(str(chosen.published_path / f"fleet-{n}.duckdb"), read_only=True) as con:
                found = con.execute("SELECT value FROM meta.snapshot WHERE fact = 'lake_snapshot'").fetchone()
        except duckdb.Error:
            continue
        if found and found[0]:
            yield int(found[0])


def _unnamed(
    con: duckdb.DuckDBPyConnection, what: str, function: str, before: datetime, *, apply: bool
) -> Swept:
    """Files that DuckLake's own function finds to be of no snapshot."""
    older = f"older_than => TIMESTAMPTZ {quoted(before.isoformat())}"
    found = [
        path
        for (path,) in con.execute(f"CALL ducklake_{function}('lake', dry_run => true, {older})").fetchall()
    ]
    size = sum(Path(p).stat().st_size for p in found if not p.startswith("s3://") and Path(p).exists())
    if apply and found:
        con.execute(f"CALL ducklake_{function}('lake', dry_run => false, {older})")
    return Swept(
        what,
        f"removed a day after ({'expiry' if 'old' in function else 'the run that left them'})",
        len(found),
        len(found),
        size,
    )


def _published(chosen: Settings, *, apply: bool) -> Swept:
    """Published snapshots beyond those kept; the one that readers see is always among the kept."""
    found = numbers(chosen.published_path)
    paths = [
        chosen.published_path / f"fleet-{n}.duckdb" for n in found[: -max(int(chosen.snapshots_kept), 1)]
    ]
    paths = [p for p in paths if p != newest(chosen.published_path)]
    return _removed(
        "published snapshots", f"the newest {chosen.snapshots_kept} are kept", len(found), paths, apply=apply
    )


def _aged(what: str, rule: str, folder: Path, pattern: str, before: datetime, *, apply: bool) -> Swept:
    """Files of a folder not written to since `before`."""
    found = [p for p in sorted(folder.rglob(pattern)) if p.is_file() and p.name != CURRENT]
    past = [p for p in found if p.stat().st_mtime < before.timestamp()]
    return _removed(what, rule, len(found), past, apply=apply)


def _removed(what: str, rule: str, there: int, past: list[Path], *, apply: bool) -> Swept:
    size = sum(p.stat().st_size for p in past)
    if apply:
        for path in past:
            path.unlink(missing_ok=True)
    return Swept(what, rule, there, len(past), size)


def note(chosen: Settings, at: datetime, swept: list[Swept]) -> None:
    """Add what was done to the home's note, whose oldest lines go; whole at any moment."""
    path = _note(chosen)
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    lines = [
        *lines[-NOTES_KEPT + 1 :],
        json.dumps({"at": at.isoformat(), "swept": [asdict(s) for s in swept]}),
    ]
    part = path.with_suffix(".part")
    part.write_text("\n".join(lines) + "\n", "utf-8")
    part.replace(path)


def last_done(chosen: Settings) -> tuple[datetime, list[Swept]] | None:
    """When maintenance was last done and what it found; None where it never was or its note cannot be read."""
    try:
        told = json.loads(_note(chosen).read_text("utf-8").splitlines()[-1])
        return datetime.fromisoformat(told["at"]), [Swept(**s) for s in told["swept"]]
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None


def _note(chosen: Settings) -> Path:
    return chosen.home_path / "maintenance.jsonl"
