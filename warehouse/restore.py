"""Bringing a home back from a backup: whole, as of an earlier moment, or only the lake's files that are missing.

A home is first made whole in `<home>/.restoring` and compared with the backup (every file's SHA-256, every table's
content hash, the ledger's audit); only then do its folders take their names. So a restore that is cut off is begun
again, and a bad backup leaves no half home. Does not belong here: making backups (`backup.py`).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from warehouse import lake, lake_files
from warehouse.backup import VAULT_INDEX, BackupError, Held, Manifest, Store, run_postgres, table_hashes
from warehouse.dictionary import dictionary
from warehouse.ledger import audit
from warehouse.publish import CURRENT
from warehouse.settings import Settings
from warehouse.vault import CHUNK, sync_folder

UNFINISHED = ".restoring"


@dataclass(frozen=True)
class Restored:
    """What was brought back: of which backup, to which lake snapshot, and what the operator still has to bring."""

    backup: Manifest
    lake_snapshot: int
    files: int
    left: list[str]


def chosen_backup(store: Store, at: datetime | None) -> Manifest:
    """The newest backup, or for a moment the first made after it, which holds every commit until then.

    Raises BackupError where there is none.
    """
    made = store.manifests()
    if not made:
        raise BackupError(f"{store.folder} holds no backup: name the folder that `cellfleet backup` wrote to")
    if at is None:
        return made[-1]
    return next((m for m in made if m.made >= at), made[-1])


def restore(store: Store, chosen: Settings, at: datetime | None = None) -> Restored:
    """Bring the home of the settings back from a backup; with `at`, its lake as of the last commit until then.

    The home must hold no lake and no ledger. A ledger cannot be cut without breaking its witnesses' trust: it stays as
    the backup has it. Raises BackupError, with nothing in place, where the backup is damaged or the result differs.
    """
    backup = chosen_backup(store, at)
    home = chosen.home_path
    taken = [name for name in ("lake", "ledger", "published") if (home / name).exists()]
    if taken:
        raise BackupError(
            f"{home} already has {', '.join(taken)}: move them away, or set CELLFLEET_HOME elsewhere"
        )
    if backup.catalog == "postgres" and not chosen.catalog:
        raise BackupError(
            "this backup's catalog is PostgreSQL's: set CELLFLEET_CATALOG to an empty database to bring it back into"
        )
    if chosen.lake_data:
        raise BackupError(
            "a lake is brought back into its home: unset CELLFLEET_LAKE_DATA, and move its files afterwards"
        )
    if at is not None and backup.catalog == "postgres":
        raise BackupError("with PostgreSQL as the catalog a moment is that of a backup: bring one back whole")
    staging = home / UNFINISHED
    staging.mkdir(parents=True, exist_ok=True)
    for held in backup.files:
        _bring(store, held, staging)
    there = replace(chosen, home=str(staging))
    if backup.catalog == "postgres":
        run_postgres(
            "pg_restore", chosen, "--no-owner", "--exit-on-error", str(staging / "lake" / "catalog.dump")
        )
    _compare(there, backup)
    snapshot, left = backup.lake_snapshot, list(_left(backup, staging, chosen))
    if at is not None:
        snapshot = cut(there, backup.lake_snapshot, at)
        # What was published is of all that was known later; it is made anew of what is there now.
        shutil.rmtree(staging / "published", ignore_errors=True)
        left.insert(0, "the snapshot: run `cellfleet publish`")
    else:
        _link(staging)
    _into_place(staging, home)
    return Restored(backup, snapshot, len(backup.files), left)


def restore_missing(store: Store, chosen: Settings) -> list[str]:
    """Bring back the lake's files that the catalog names and that are missing or cut; returns their paths.

    Each is written beside and takes its name when it is whole. Raises BackupError for one that no backup holds.
    """
    base = lake_files.data_path(chosen)
    if base.startswith("s3://"):
        raise BackupError(
            f"{base}: restore the bucket's own versions of the files that `cellfleet doctor` names"
        )
    held = {f.path: f for m in store.manifests() for f in m.files}
    with closing(lake.attach(chosen, read_only=True)) as con:
        lost = lake_files.missing(con, chosen)
    if strange := [f.path for f in lost if f"lake/data/{f.path}" not in held]:
        raise BackupError(
            f"no backup in {store.folder} holds {strange[0]} ({len(strange)} such): restore the newest backup into an "
            "empty home and run, which takes what came since from the sites again"
        )
    for f in lost:
        _bring(store, held[f"lake/data/{f.path}"], Path(base), f.path)
    os.sync()
    return [f.path for f in lost]


def cut(chosen: Settings, newest: int, at: datetime) -> int:
    """Make the lake of a home what it was after its last commit until `at`; returns that lake snapshot.

    Every table is copied as it was into a new lake: rows keep when they were recorded, and by which run. The copy's
    content is compared with the lake at that snapshot. Raises BackupError where no commit of until then is there.
    """
    with closing(lake.attach(chosen, snapshot=newest)) as con:
        row = con.execute(
            "SELECT max(snapshot_id), min(snapshot_time) FROM ducklake_snapshots('lake') WHERE snapshot_time <= ?",
            [at],
        ).fetchall()[0]
    if row[0] is None:
        raise BackupError(
            f"the lake has no commit until {at.isoformat()}: choose a later time or an older backup"
        )
    with closing(lake.attach(chosen, snapshot=row[0])) as con:
        wanted = table_hashes(con)
    new = replace(chosen, home=str(chosen.home_path / "cut"), catalog="", lake_data="")
    new.home_path.mkdir()
    with closing(lake.attach(new)) as con:
        lake.attach_as(con, chosen, "earlier", snapshot=row[0])
        d = dictionary()

        def write() -> None:
            for table in d.tables.values():
                lake.insert(con, table, f"earlier.{table.qualified}")

        lake.commit(con, write, "cellfleet", f"restore as of {at.isoformat()} (lake snapshot {row[0]})")
    with closing(lake.attach(new, read_only=True)) as con:
        if differ := [name for name, told in table_hashes(con).items() if told != wanted[name]]:
            raise BackupError(
                f"the lake as of {at.isoformat()} differs in {differ[0]}: nothing was brought back"
            )
    shutil.rmtree(chosen.home_path / "lake")
    (new.home_path / "lake").rename(chosen.home_path / "lake")
    shutil.rmtree(new.home_path)
    return int(row[0])


def _bring(store: Store, held: Held, folder: Path, path: str | None = None) -> None:
    """Copy one object to its path, whole or not at all. Raises BackupError where it is gone or altered."""
    target = folder / (path or held.path)
    if target.exists() and target.stat().st_size == held.bytes and _is(target, held.sha256):
        return
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700 if "private" in held.path else 0o755)
    part = target.with_name(f".{target.name}.part")
    digest = hashlib.sha256()
    source = store.object_path(held.sha256)
    try:
        with source.open("rb") as read, part.open("wb") as write:
            while chunk := read.read(CHUNK):
                digest.update(chunk)
                write.write(chunk)
    except FileNotFoundError as error:
        raise BackupError(
            f"{source} is missing: {held.path} cannot be brought back; take an older backup"
        ) from error
    if digest.hexdigest() != held.sha256:
        part.unlink()
        raise BackupError(f"{source} was altered: {held.path} cannot be brought back; take an older backup")
    if held.path.startswith(("keys/", "ledger/private/", "access/")):
        part.chmod(0o600)
    part.replace(target)


def _is(path: Path, sha256: str) -> bool:
    with path.open("rb") as read:
        return hashlib.file_digest(read, "sha256").hexdigest() == sha256


def _compare(there: Settings, backup: Manifest) -> None:
    """Require that what was brought back says what was saved. Raises BackupError naming the first that does not."""
    with closing(lake.attach(there, snapshot=backup.lake_snapshot, migrating=True)) as con:
        if lake.format_version(con) == lake.FORMAT_VERSION:
            lake.create_views(con)
            now = table_hashes(con)
            if differ := [name for name, told in backup.tables.items() if now.get(name) != told]:
                raise BackupError(
                    f"{differ[0]} differs from the backup of {backup.made_at}: take an older backup"
                )
    if backup.ledger_entries:
        report = audit(there.ledger_path)
        if (report.size, report.root) != (backup.ledger_entries, backup.ledger_root):
            raise BackupError(f"the ledger differs from the backup of {backup.made_at}: take an older backup")


def _left(backup: Manifest, staging: Path, chosen: Settings) -> Iterator[str]:
    """What a backup of the hub does not hold, and is not there: said, so that nobody finds out later."""
    if not backup.keys and backup.ledger_entries and not chosen.ledger_key_path.exists():
        yield "the ledger's signing key (keys/ledger.pem): bring it before the next run, which cannot sign without it"
    absent: dict[str, int] = {}
    with (staging / VAULT_INDEX).open(encoding="utf-8") as index:
        for line in index:
            told = json.loads(line)
            path = chosen.vault_path(told["site"]) / told["path"]
            if not path.exists() or path.stat().st_size != told["bytes"]:
                absent[told["site"]] = absent.get(told["site"], 0) + 1
    for site, n in absent.items():
        yield f"{n} of {backup.vault_files[site]} files of {site}'s vault, from that site's own backup"


def _link(staging: Path) -> None:
    for snapshot in (staging / "published").glob("fleet-*.duckdb"):
        (staging / "published" / CURRENT).unlink(missing_ok=True)
        (staging / "published" / CURRENT).symlink_to(snapshot.name)


def _into_place(staging: Path, home: Path) -> None:
    """Give every folder its name, the lake last: without it nothing runs on a home that is not whole."""
    os.sync()
    for part in sorted(staging.iterdir(), key=lambda p: p.name == "lake"):
        target = home / part.name
        if target.is_dir():  # such as the logs of this very command
            for path in (p for p in sorted(part.rglob("*")) if p.is_file()):
                aside = target / path.relative_to(part)
                aside.parent.mkdir(parents=True, exist_ok=True)
                if not aside.exists():
                    path.replace(aside)
            continue
        part.replace(target)
    shutil.rmtree(staging)
    sync_folder(home)


def moment(text: str) -> datetime:
    """A time given on the command line. Raises ValueError where it has no zone."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text} has no zone: write it as 2026-03-05T00:00:00Z")
    return at.astimezone(UTC)
