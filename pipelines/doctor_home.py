"""The checks of `cellfleet doctor` on what a home holds: lake, vaults, ledger, snapshots, Dagster's history, backups.

Each check reads what is there and yields what it saw, with the mend where something is wrong. Does not belong here:
mending.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from warehouse import lake, lake_files
from warehouse.backup import Store
from warehouse.ledger import LedgerError, audit, read_certificates
from warehouse.ledger.files import Place
from warehouse.publish import is_sound, newest, numbers
from warehouse.settings import Settings
from warehouse.vault import Vault

# A clock this far behind the last commit was set back; less is two machines' clocks.
CLOCK_SLACK = timedelta(minutes=1)
# Dagster's own monitoring ends a run after this; one that is older has no process any more.
RUN_HOURS = 24
# A backup is made every night: one older than this was missed.
BACKUP_AGE = timedelta(hours=49)


@dataclass(frozen=True)
class Diagnosis:
    """One check of the installation."""

    check: str
    ok: bool
    said: str


def local_data(chosen: Settings) -> Path | None:
    """The folder of the lake's files; None where they lie on S3."""
    base = lake_files.data_path(chosen)
    return None if base.startswith("s3://") else Path(base)


def _catalog(chosen: Settings) -> Iterator[Diagnosis]:
    """The catalog's database by itself, before anything relies on it."""
    path = chosen.home_path / "lake" / "catalog.sqlite"
    if chosen.catalog or not path.exists():
        return
    if (problem := _sqlite_problem(path)) is not None:
        yield Diagnosis("catalog", False, f"{path}: {problem}; bring the home back with `cellfleet restore`")
    else:
        yield Diagnosis("catalog", True, "SQLite finds it whole")


def _lake(chosen: Settings) -> Iterator[Diagnosis]:
    if not chosen.catalog and not (chosen.home_path / "lake" / "catalog.sqlite").exists():
        yield Diagnosis("lake", False, "there is none yet; run `cellfleet run`")
        return
    with closing(lake.attach(chosen, read_only=True)) as con:
        files = con.execute("SELECT count(*) FROM lake.raw.file").fetchall()[0][0]
        yield Diagnosis("lake", True, f"format {lake.format_version(con)}, {files} files received")
        lost, base = lake_files.missing(con, chosen), lake_files.data_path(chosen)
        count = len(lake_files.named(con))
        said = f"all {count} there, each with its bytes" if not lost else lake_files.in_words(lost, base)
        yield Diagnosis("lake files", not lost, said)
        yield _clock(con)
        if lost:
            return
        wrong = con.execute(
            "SELECT site_id, feed FROM lake.quality.accounting "
            "WHERE received <> promoted + superseded + duplicate + quarantined ORDER BY ALL"
        ).fetchall()
        yield Diagnosis(
            "accounting",
            not wrong,
            f"{wrong[0][0]}/{wrong[0][1]} does not add up: run `cellfleet run` and look at that feed's check"
            if wrong
            else "every feed adds up",
        )


def _clock(con: duckdb.DuckDBPyConnection) -> Diagnosis:
    newest_commit = con.execute("SELECT max(snapshot_time) FROM ducklake_snapshots('lake')").fetchall()[0][0]
    behind = newest_commit.astimezone(UTC) - datetime.now(UTC)
    if behind > CLOCK_SLACK:
        return Diagnosis(
            "clock",
            False,
            f"it stands {behind} before the last commit to the lake ({newest_commit:%Y-%m-%d %H:%M} UTC): set it; "
            "until then rows are recorded as of just after that commit",
        )
    return Diagnosis("clock", True, "not before the last commit to the lake")


def _vaults(chosen: Settings) -> Iterator[Diagnosis]:
    received = _received(chosen)
    for folder in sorted((chosen.shared_path / "vault").glob("*")):
        altered = Vault(folder).verify()
        kept = {p.name.split(".")[0] for p in folder.glob("??/*")}
        gone = sorted(received.get(folder.name, set()) - kept)
        said = f"{len(kept)} files, each matches its hash"
        if altered:
            said = f"altered since it was kept: {altered[0].name}; restore it from the site's backup"
        elif gone:
            said = (
                f"{len(gone)} files that the lake received are not there, the first {gone[0]}; restore them"
            )
        yield Diagnosis(f"vault {folder.name}", not altered and not gone, said)
    for site in sorted(site for site in received if not chosen.vault_path(site).exists()):
        yield Diagnosis(
            f"vault {site}",
            False,
            "is not there: restore it from the site's own backup; nothing can be read again",
        )


def _received(chosen: Settings) -> dict[str, set[str]]:
    """Hashes of the files that the lake received, by site; none where it cannot be read, which is told already."""
    found: dict[str, set[str]] = {}
    if not chosen.catalog and not (chosen.home_path / "lake" / "catalog.sqlite").exists():
        return found
    try:
        with closing(lake.attach(chosen, read_only=True)) as con:
            rows = con.execute("SELECT DISTINCT site_id, source_file_sha256 FROM lake.raw.file").fetchall()
    except (duckdb.Error, lake.LakeError):
        return found
    for site, sha256 in rows:
        found.setdefault(site, set()).add(sha256)
    return found


def _snapshot(chosen: Settings) -> Iterator[Diagnosis]:
    path = newest(chosen.published_path)
    if path is None:
        yield Diagnosis("snapshot", False, "none published; run `cellfleet run`")
        return
    if is_sound(path) is False:
        yield Diagnosis(
            "snapshot",
            False,
            f"{path} no longer has the bytes it was published with; run `cellfleet publish`",
        )
        return
    try:
        with duckdb.connect(str(path), read_only=True) as con:
            n = con.execute("SELECT count(*) FROM mart.comparability").fetchall()[0][0]
    except duckdb.Error as error:
        yield Diagnosis("snapshot", False, f"{path} cannot be read ({error}); run `cellfleet publish`")
        return
    held = len(numbers(chosen.published_path))
    yield Diagnosis("snapshot", True, f"{path.name} as published, {n} verdicts; {held} kept")


def _ledger(chosen: Settings) -> Iterator[Diagnosis]:
    if not Place(chosen.ledger_path).entries.exists():
        return
    certificates = chosen.time_stamp_certificates
    try:
        report = audit(
            chosen.ledger_path, authority=read_certificates(Path(certificates)) if certificates else ()
        )
    except LedgerError as error:
        yield Diagnosis("ledger", False, str(error))
        return
    first = report.findings[0].sentence if report.findings else ""
    yield Diagnosis(
        "ledger",
        report.ok,
        f"{report.size} entries, {report.heads} heads, every byte fits"
        if report.ok
        else f"{first}: run `cellfleet ledger audit`, and restore the ledger from a backup where it was altered",
    )
    if report.heads and not chosen.ledger_key_path.exists():
        yield Diagnosis(
            "ledger key",
            False,
            f"{chosen.ledger_key_path} is missing: bring it back, or no head can be signed",
        )


def _history(chosen: Settings) -> Iterator[Diagnosis]:
    """Dagster's databases, and runs that say they are under way but have been for longer than any run takes."""
    folder = chosen.home_path / "dagster" / "history"
    if not folder.exists():
        return
    databases = sorted(folder.rglob("*.db"))
    broken = [(p, told) for p in databases if (told := _sqlite_problem(p)) is not None]
    if broken:
        yield Diagnosis(
            "Dagster history", False,
            f"{broken[0][0]}: {broken[0][1]}; move it away (a run's page is then empty) or restore it",
        )  # fmt: skip
        return
    stuck: list[str] = []
    if (folder / "runs.db").exists():
        before = datetime.now(UTC) - timedelta(hours=RUN_HOURS)
        with closing(sqlite3.connect(f"file:{folder / 'runs.db'}?mode=ro", uri=True)) as con:
            stuck = [
                row[0]
                for row in con.execute(
                    "SELECT run_id FROM runs WHERE status IN ('STARTED', 'STARTING', 'CANCELING') "
                    "AND update_timestamp < ? ORDER BY update_timestamp",
                    [before.strftime("%Y-%m-%d %H:%M:%S")],
                )
            ]
    yield Diagnosis(
        "Dagster history",
        not stuck,
        f"run {stuck[0][:8]} has been under way for over {RUN_HOURS} h ({len(stuck)} such): `cellfleet run` ends those "
        "of its own, others are terminated on their page in the Dagster UI"
        if stuck
        else f"{len(databases)} databases, SQLite finds each whole",
    )


def _backups(chosen: Settings) -> Iterator[Diagnosis]:
    if not chosen.backups:
        return
    made = Store(Path(chosen.backups)).manifests()
    if not made:
        yield Diagnosis("backup", False, f"none in {chosen.backups}: run `cellfleet backup`")
        return
    age = datetime.now(UTC) - made[-1].made
    late = age > BACKUP_AGE
    yield Diagnosis(
        "backup",
        not late,
        f"the newest of {len(made)} is {age.days} days old: run `cellfleet backup`, nightly"
        if late
        else f"{len(made)}, the newest of {made[-1].made_at[:16]} UTC",
    )


def _sqlite_problem(path: Path) -> str | None:
    """What SQLite finds wrong with a database; None where it is whole."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as con:
            told = con.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        return str(error)
    return None if told == ("ok",) else str(told[0])


CHECKS: tuple[Callable[[Settings], Iterator[Diagnosis]], ...] = (
    _catalog,
    _lake,
    _vaults,
    _snapshot,
    _ledger,
    _history,
    _backups,
)
