"""Backups of a home: what is in them, how they are made and how long they are kept.

A backup folder holds `objects/<2>/<SHA-256>`, each content once, and a manifest `backups/<time>.json` for each backup:
the files, the lake's snapshot with the content hash of every table, the ledger's size and root, and the names of what
the sites' vaults hold. The vaults themselves are the sites' own and in no backup of the hub's; signing and session keys
only where asked for. Each file is copied as of one moment (SQLite by its own backup, the ledger under its lock, the
lake's files are never rewritten), so runs may go on. Does not belong here: bringing it back (`restore.py`).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from warehouse import lake, lake_files
from warehouse.dictionary import dictionary
from warehouse.ledger import audit
from warehouse.ledger.files import Place
from warehouse.publish import newest
from warehouse.settings import Settings
from warehouse.vault import CHUNK, sync_folder

# Not copied: the sites' own, what is copied otherwise, what is made anew.
ELSEWHERE = frozenset({"vault", "sources", "lake", "published", "keys", "tmp", "locks", "backups", "trials"})
SQLITE = b"SQLite format 3\x00"
# Leftovers, and what stands beside a SQLite database while it is open.
PASSING = (".part", ".lock", "-wal", "-shm", "-journal")
VAULT_INDEX = "vault-index.jsonl"
STAMP = "%Y%m%dT%H%M%S%fZ"


class BackupError(RuntimeError):
    """A backup cannot be made or brought back; the sentence says what to do."""


@dataclass(frozen=True)
class Held:
    """One file of a backup: its path in the home, its bytes, when it was written (ns, to tell what has not changed)."""

    path: str
    sha256: str
    bytes: int
    mtime_ns: int = 0


@dataclass(frozen=True)
class Manifest:
    """One backup. `tables` are content hashes at `lake_snapshot`; `catalog` is `sqlite` or `postgres`."""

    made_at: str
    cellfleet: str
    catalog: str
    lake_format: int
    lake_snapshot: int
    lake_committed_at: str
    tables: dict[str, str]
    ledger_entries: int
    ledger_root: str
    vault_files: dict[str, int]
    keys: bool
    files: list[Held] = field(repr=False)

    @property
    def made(self) -> datetime:
        return datetime.fromisoformat(self.made_at)

    @property
    def name(self) -> str:
        return self.made.strftime(STAMP)

    @property
    def total_bytes(self) -> int:
        return sum(f.bytes for f in self.files)


@dataclass(frozen=True)
class Store:
    """A backup folder: objects by hash, manifests by time."""

    folder: Path

    def object_path(self, sha256: str) -> Path:
        return self.folder / "objects" / sha256[:2] / sha256

    def manifests(self) -> list[Manifest]:
        """Every finished backup, oldest first."""
        return [read_manifest(p) for p in sorted((self.folder / "backups").glob("*.json"))]

    def put(self, source: Path) -> tuple[str, int]:
        """Keep a file's bytes, on disk at the latest with `finish`. Returns their SHA-256 and number."""
        parts = self.folder / "objects"
        parts.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = parts / f".{os.getpid()}.part"
        digest, size = hashlib.sha256(), 0
        with source.open("rb") as read, part.open("wb") as write:
            while chunk := read.read(CHUNK):
                digest.update(chunk)
                size += len(chunk)
                write.write(chunk)
        kept = self.object_path(digest.hexdigest())
        if kept.exists() and kept.stat().st_size == size:
            part.unlink()
        else:
            kept.parent.mkdir(exist_ok=True)
            part.chmod(0o400)
            part.replace(kept)
        return digest.hexdigest(), size

    def finish(self, made: Manifest) -> None:
        """Write the manifest, last: a backup that was cut off is none."""
        os.sync()  # once for all objects; each by itself would take longer than the copying
        folder = self.folder / "backups"
        folder.mkdir(exist_ok=True)
        part = folder / f"{made.name}.part"
        with part.open("w", encoding="utf-8") as write:
            json.dump(asdict(made), write, indent=1)
            write.flush()
            os.fsync(write.fileno())
        part.replace(part.with_suffix(".json"))
        sync_folder(folder)

    def damaged(self, made: Manifest) -> list[str]:
        """Paths of a backup whose bytes are gone or no longer have their hash."""
        return [f.path for f in made.files if _digest(self.object_path(f.sha256)) != f.sha256]

    def forget(self, days: int, months: int) -> tuple[int, int]:
        """Remove backups past their time, and objects no backup names. Returns how many of each.

        Kept are the last backup of each of the newest `days` days that have one, and of each of the newest `months`.
        """
        all_made = self.manifests()
        kept = retained([m.made for m in all_made], days, months)
        gone = [m for m in all_made if m.made not in kept]
        for m in gone:
            (self.folder / "backups" / f"{m.name}.json").unlink()
        wanted = {f.sha256 for m in self.manifests() for f in m.files}
        objects = [p for p in self.folder.glob("objects/??/*") if p.name not in wanted]
        for path in objects:
            path.unlink()
        return len(gone), len(objects)


def retained(made: list[datetime], days: int, months: int) -> set[datetime]:
    """Which backups are kept: the last of each of the newest `days` days and `months` months; the newest always."""
    last_of_day = {m.date(): m for m in sorted(made)}
    last_of_month = {(m.year, m.month): m for m in sorted(made)}
    by_day = [last_of_day[d] for d in sorted(last_of_day, reverse=True)[: max(days, 1)]]
    by_month = [last_of_month[d] for d in sorted(last_of_month, reverse=True)[:months]]
    return {*by_day, *by_month}


def read_manifest(path: Path) -> Manifest:
    """A manifest as it was written. Raises BackupError where it cannot be read."""
    try:
        told = json.loads(path.read_text("utf-8"))
        return Manifest(**{**told, "files": [Held(**f) for f in told["files"]]})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackupError(
            f"{path} is no manifest of this cellfleet ({error}): take another backup"
        ) from error


def back_up(chosen: Settings, folder: Path, *, keys: bool = False) -> Manifest:
    """Make a backup of the home into `folder`; what an earlier backup there holds is not copied again.

    The caller holds the home's upkeep lock, so that no file goes while it is copied. Raises BackupError where the lake
    or the folder cannot be used, LakeError as `lake.attach` does.
    """
    if folder.resolve().is_relative_to(chosen.home_path):
        raise BackupError(f"{folder} lies in the home that it would save: choose a folder on another disk")
    store = Store(folder)
    earlier = store.manifests()
    before = {f.path: f for f in earlier[-1].files} if earlier else {}
    made_at = datetime.now(UTC)
    files: list[Held] = []
    with TemporaryDirectory(dir=_scratch(chosen)) as held:
        scratch = Path(held)
        lake_now = _lake(chosen, store, before, scratch, files)
        with _ledger_held(chosen):
            ledger = audit(chosen.ledger_path) if _has_ledger(chosen) else None
            files += [_copied(store, chosen, p, scratch, before) for p in _under(chosen.ledger_path)]
        vault_files = _vault_index(chosen, store, scratch, files)
        for name in _state(chosen, keys=keys):
            files += [_copied(store, chosen, p, scratch, before) for p in _under(chosen.home_path / name)]
        if (snapshot := newest(chosen.published_path)) is not None:
            files += [
                _copied(store, chosen, p, scratch, before)
                for p in (snapshot, snapshot.with_suffix(".sha256"))
                if p.exists()
            ]
    made = Manifest(
        made_at.isoformat(), version("cellfleet"), "postgres" if chosen.catalog else "sqlite", *lake_now,
        ledger.size if ledger else 0, ledger.root if ledger else "", vault_files, keys,
        sorted(files, key=lambda f: f.path),
    )  # fmt: skip
    store.finish(made)
    return made


def table_hashes(con: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Content hash of every table of the attached lake, by `layer.name`."""
    d = dictionary()
    return {t.qualified: lake.content_hash(con, d, t) for t in d.tables.values()}


def _lake(
    chosen: Settings, store: Store, before: dict[str, Held], scratch: Path, files: list[Held]
) -> tuple[int, int, str, dict[str, str]]:
    """The catalog and every file it names. Returns format, snapshot, when it was committed, and the tables' hashes."""
    with closing(lake.attach(chosen, read_only=True)) as con:
        pinned = lake.latest_snapshot(con)
        when = con.execute(
            "SELECT snapshot_time FROM ducklake_snapshots('lake') WHERE snapshot_id = ?", [pinned]
        )
        committed = when.fetchall()[0][0].astimezone(UTC).isoformat()
        files.append(_catalog(chosen, store, scratch))
        # Listed after the catalog was copied: of what it names none is missing, at most a newer one is too many.
        base = lake_files.data_path(chosen)
        for f in lake_files.named(con):
            path = f"lake/data/{f.path}"
            known = before.get(path)
            if known and known.bytes == f.bytes and store.object_path(known.sha256).exists():
                files.append(known)
                continue
            files.append(Held(path, *store.put(_local(con, lake_files.full_path(base, f.path), scratch))))
        format_version = lake.format_version(con) or lake.FORMAT_VERSION
    with closing(lake.attach(chosen, snapshot=pinned)) as con:
        return format_version, pinned, committed, table_hashes(con)


def _local(con: duckdb.DuckDBPyConnection, path: str, scratch: Path) -> Path:
    """A lake file on this machine's disk; one on S3 is fetched through the connection that reads the lake."""
    if not path.startswith("s3://"):
        if not Path(path).exists():
            raise BackupError(
                f"{path} is missing, so this backup would not be whole: `cellfleet doctor` says how to mend it"
            )
        return Path(path)
    fetched = scratch / "fetched"
    con.execute(f"COPY (SELECT content FROM read_blob('{path}')) TO '{fetched}' (FORMAT blob)")
    return fetched


def _catalog(chosen: Settings, store: Store, scratch: Path) -> Held:
    if not chosen.catalog:
        return _copied(store, chosen, chosen.home_path / "lake" / "catalog.sqlite", scratch, {})
    dumped = scratch / "catalog.dump"
    run_postgres("pg_dump", chosen, "--format=custom", "--no-owner", f"--file={dumped}")
    return Held("lake/catalog.dump", *store.put(dumped))


def run_postgres(program: str, chosen: Settings, *words: str) -> None:
    """One of PostgreSQL's programs on the catalog's database. Raises BackupError with what it said."""
    found = shutil.which(program) or next(
        iter(sorted(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{program}")))), None
    )
    if found is None:
        raise BackupError(
            f"{program} is not installed: install PostgreSQL's client programs, of the server's version"
        )
    target = chosen.catalog.split(":", 1)[1] if chosen.catalog.startswith("postgres:") else chosen.catalog
    done = subprocess.run([found, *words, f"--dbname={target}"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BackupError(f"{program} of the catalog failed: {done.stderr.strip()}")


def _vault_index(chosen: Settings, store: Store, scratch: Path, files: list[Held]) -> dict[str, int]:
    """What each site's vault holds, by the files' hashes: to tell after a restore what is not there."""
    index = scratch / VAULT_INDEX
    counts: dict[str, int] = {}
    with index.open("w", encoding="utf-8") as write:
        for site in sorted((chosen.shared_path / "vault").glob("*")):
            kept = sorted(site.glob("??/*"))
            counts[site.name] = len(kept)
            for path in kept:
                told = {
                    "site": site.name,
                    "path": f"{path.parent.name}/{path.name}",
                    "bytes": path.stat().st_size,
                }
                write.write(json.dumps(told) + "\n")
    files.append(Held(VAULT_INDEX, *store.put(index)))
    return counts


def _state(chosen: Settings, *, keys: bool) -> list[str]:
    """Whatever else is in the home: Dagster's history, accounts, logs, pages of audits."""
    found = sorted(p.name for p in chosen.home_path.iterdir() if not p.name.endswith((".lock", ".part")))
    there = [name for name in found if name not in ELSEWHERE and name not in ("ledger", VAULT_INDEX)]
    return [*there, "keys"] if keys and (chosen.home_path / "keys").exists() else there


def _under(path: Path) -> Iterator[Path]:
    """Files below a folder (or the file itself) that are state: no leftovers, no companions of a SQLite database."""
    found = [path] if path.is_file() else sorted(path.rglob("*"))
    for p in found:
        if p.is_file() and not p.is_symlink() and not p.name.endswith(PASSING):
            yield p


def _copied(store: Store, chosen: Settings, path: Path, scratch: Path, before: dict[str, Held]) -> Held:
    """A file as of one moment; what has the size and time that the last backup saw is not read again.

    A SQLite database is copied by SQLite itself, with what stands in its write-ahead log.
    """
    name, seen = path.relative_to(chosen.home_path).as_posix(), path.stat()
    with path.open("rb") as read:
        database = read.read(len(SQLITE)) == SQLITE
    if database:
        copied = scratch / "copied.sqlite"
        copied.unlink(missing_ok=True)
        with closing(sqlite3.connect(path, timeout=60)) as con, closing(sqlite3.connect(copied)) as copy:
            con.backup(copy)
        return Held(name, *store.put(copied))
    known = before.get(name)
    same = known is not None and (known.bytes, known.mtime_ns) == (seen.st_size, seen.st_mtime_ns)
    if known is not None and same and store.object_path(known.sha256).exists():
        return known
    return Held(name, *store.put(path), seen.st_mtime_ns)


def _has_ledger(chosen: Settings) -> bool:
    return Place(chosen.ledger_path).entries.exists()


def _ledger_held(chosen: Settings) -> nullcontext[None]:
    return Place(chosen.ledger_path).locked(write=False) if _has_ledger(chosen) else nullcontext()  # type: ignore[return-value]


def _scratch(chosen: Settings) -> Path:
    folder = chosen.home_path / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _digest(path: Path) -> str | None:
    try:
        with path.open("rb") as read:
            return hashlib.file_digest(read, "sha256").hexdigest()
    except OSError:
        return None
