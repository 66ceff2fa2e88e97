"""Who may see what: accounts, attempts to sign in, and the log of what was looked at; one file, only ever added to.

Belongs here: the file `<home>/access/access.sqlite` and the rules of accounts, shared by the command line and the
dashboards. Does not belong here: sessions and cookies (`dashboards/security`), which rows a scope lets through
(`dashboards/providers/scoped.py`).

SQLite's own triggers refuse any change or removal of a row. Each row of the log of views carries a hash over the row
before it, so a row that was cut out or edited with another tool is seen by `first_broken`.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,119}")
EVERY_SITE = EVERY_PROGRAM = "*"
MINIMUM_PASSWORD = 12
SHORTEST_GUESSED = 4
# As many wrong passwords as a person types in this span; more are not even tried.
TRIES_OF_A_NAME, TRIES_OF_AN_ADDRESS, SPAN = 5, 20, timedelta(minutes=15)


@dataclass(frozen=True)
class Role:
    """What a role sees: `rows` (single batches and records) at its sites, `figures` (verdicts) of the fleet."""

    rows: bool
    figures: bool
    told: str


ROLES: dict[str, Role] = {
    "site_manager": Role(True, True, "rows of her own sites, verdicts of the fleet"),
    "qa": Role(True, True, "rows of the sites granted, verdicts of the fleet"),
    "analyst": Role(True, True, "rows of the sites granted, verdicts of the fleet"),
    "sponsor": Role(False, True, "verdicts of the fleet, no single batch"),
    "administrator": Role(False, False, "accounts on the command line, no data"),
}


class AccessError(ValueError):
    """An account that cannot be made or found; the sentence says the mend."""


@dataclass(frozen=True)
class Account:
    """One account as it stands. `version` moves with each change, which ends its sessions."""

    name: str
    role: str
    sites: tuple[str, ...]
    programs: tuple[str, ...]
    password: str | None
    version: int
    since: datetime
    by: str

    @property
    def rows(self) -> bool:
        return ROLES[self.role].rows

    @property
    def figures(self) -> bool:
        return ROLES[self.role].figures

    @property
    def only_programs(self) -> tuple[str, ...] | None:
        """Programs that this account is limited to; None where it is not, also for programs that are yet to come."""
        return None if EVERY_PROGRAM in self.programs else self.programs

    def sites_of(self, every: Sequence[str]) -> tuple[str, ...]:
        """Sites whose rows this account sees, of all that there are."""
        if not self.rows:
            return ()
        return tuple(s for s in every if EVERY_SITE in self.sites or s in self.sites)


@dataclass(frozen=True)
class View:
    """One request whose answer may have held rows of single batches."""

    number: int
    at: datetime
    name: str
    role: str
    sites: tuple[str, ...]
    address: str
    what: str
    snapshot: int | None
    request_id: str


TABLES = """
CREATE TABLE IF NOT EXISTS account (
  version INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, by TEXT NOT NULL, name TEXT NOT NULL,
  role TEXT, sites TEXT NOT NULL, password TEXT, programs TEXT NOT NULL DEFAULT '["*"]');
CREATE TABLE IF NOT EXISTS attempt (
  number INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, name TEXT NOT NULL, address TEXT NOT NULL,
  outcome TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS ended (sid TEXT PRIMARY KEY, at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS seen (
  number INTEGER PRIMARY KEY, at TEXT NOT NULL, name TEXT NOT NULL, role TEXT NOT NULL, sites TEXT NOT NULL,
  address TEXT NOT NULL, what TEXT NOT NULL, snapshot INTEGER, request_id TEXT NOT NULL, chain TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS account_name ON account (name, version);
CREATE INDEX IF NOT EXISTS attempt_name ON attempt (name, at);
CREATE INDEX IF NOT EXISTS attempt_address ON attempt (address, at);
"""
KEPT = ("account", "attempt", "ended", "seen")


class Access:
    """The file of a home. Opened anew for each question, so any number of processes may share it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "access.sqlite"

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        new = not self.path.exists()
        if new:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.path.touch(mode=0o600)
        con = sqlite3.connect(self.path, timeout=10, isolation_level=None)
        try:
            if new:
                con.execute("PRAGMA journal_mode = WAL")
            con.executescript(TABLES)
            # A file from before accounts had programs: those accounts were made for every program.
            if not con.execute(
                "SELECT 1 FROM pragma_table_info('account') WHERE name = 'programs'"
            ).fetchone():
                con.execute("""ALTER TABLE account ADD COLUMN programs TEXT NOT NULL DEFAULT '["*"]'""")
            for table in KEPT:
                for change in ("UPDATE", "DELETE"):
                    con.execute(
                        f"CREATE TRIGGER IF NOT EXISTS no_{change.lower()}_of_{table} BEFORE {change} ON {table} "
                        f"BEGIN SELECT raise(ABORT, 'rows of {table} are never changed'); END"
                    )
            yield con
        finally:
            con.close()

    def grant(
        self,
        name: str,
        role: str,
        sites: Sequence[str],
        password: str | None,
        *,
        by: str,
        programs: Sequence[str] = (EVERY_PROGRAM,),
    ) -> Account:
        """Make an account or give it another role, sites, programs or password; its sessions end.

        Without a password the one that it has stays; an account that never had one signs in by OpenID Connect alone.
        Raises AccessError.
        """
        if not NAME.fullmatch(name):
            raise AccessError(f"{name!r} is no account name: letters, digits and . _ @ + -, at most 120")
        if role not in ROLES:
            raise AccessError(f"There is no role {role!r}; roles are {', '.join(ROLES)}")
        if ROLES[role].rows and not sites:
            raise AccessError(
                f"A {role} sees rows of sites: name them with --site, or '{EVERY_SITE}' for all"
            )
        if not programs:
            raise AccessError(f"Name the programs with --program, or '{EVERY_PROGRAM}' for every one")
        if password is not None and len(password) < MINIMUM_PASSWORD:
            raise AccessError(f"The password has {len(password)} characters; {MINIMUM_PASSWORD} are needed")
        if password is not None and len(name) >= SHORTEST_GUESSED and name.lower() in password.lower():
            raise AccessError("The password holds the account's name; choose another")
        before = self.account(name)
        kept = before.password if before else None
        hashed = _hasher().hash(password) if password is not None else kept
        self._change(name, role, sites, hashed, by, programs)
        made = self.account(name)
        assert made is not None
        return made

    def revoke(self, name: str, *, by: str) -> None:
        """End an account: it cannot sign in, its sessions end, what it saw stays on record. Raises AccessError."""
        if self.account(name) is None:
            raise AccessError(f"There is no account {name!r}; `cellfleet access list` shows them")
        self._change(name, None, (), None, by)

    def _change(
        self,
        name: str,
        role: str | None,
        sites: Sequence[str],
        password: str | None,
        by: str,
        programs: Sequence[str] = (),
    ) -> None:
        told = (json.dumps(sorted(set(sites))), json.dumps(sorted(set(programs))))
        with self._open() as con:
            con.execute(
                "INSERT INTO account (at, by, name, role, password, sites, programs) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (_now().isoformat(), by, name, role, password, *told),
            )

    def account(self, name: str) -> Account | None:
        """The account as it stands; None where there is none, or none any more."""
        return next((a for a in self._accounts("WHERE name = ?", name)), None)

    def accounts(self) -> list[Account]:
        """Every account that stands, by name."""
        return list(self._accounts(""))

    def _accounts(self, where: str, *values: str) -> Iterator[Account]:
        with self._open() as con:
            rows = con.execute(
                "SELECT name, role, sites, programs, password, version, at, by FROM account WHERE version IN "
                f"(SELECT max(version) FROM account {where} GROUP BY name) AND role IS NOT NULL ORDER BY name",
                values,
            ).fetchall()
        for name, role, sites, programs, password, version, at, by in rows:
            seen = tuple(json.loads(sites)), tuple(json.loads(programs))
            yield Account(name, role, *seen, password, version, datetime.fromisoformat(at), by)

    def sign_in(self, name: str, password: str, address: str) -> Account | None:
        """The account of a name and its password; None for any reason, and the attempt is on record.

        An unknown name takes as long as a known one. After too many failures nothing is tried for a while, which is
        told by `barred`.
        """
        if self.barred(name, address):
            self._attempt(name, address, "barred")
            return None
        account = self.account(name)
        known = account.password if account is not None and account.password is not None else _nobody()
        try:
            right = bool(_hasher().verify(known, password))
        except (Argon2Error, InvalidHashError):
            right = False
        if account is None or account.password is None or not right:
            self._attempt(name, address, "failed")
            return None
        self._attempt(name, address, "passed")
        return account

    def vouched(self, name: str, address: str) -> Account | None:
        """The account of a name that an OpenID Connect provider vouches for; the attempt is on record."""
        account = self.account(name)
        self._attempt(name, address, "passed" if account else "failed")
        return account

    def barred(self, name: str, address: str) -> bool:
        """Whether this name or this address failed too often of late."""
        since = (_now() - SPAN).isoformat()
        # A success wipes out the name's earlier failures; an address may try many names, so nothing does there.
        last = "coalesce((SELECT max(number) FROM attempt WHERE name = :name AND outcome = 'passed'), 0)"
        with self._open() as con:
            names, addresses = con.execute(
                "SELECT (SELECT count(*) FROM attempt WHERE name = :name AND outcome = 'failed' AND at > :since "
                f"AND number > {last}), "
                "(SELECT count(*) FROM attempt WHERE address = :address AND outcome = 'failed' AND at > :since)",
                {"name": _short(name), "address": address, "since": since},
            ).fetchone()
        return bool(names >= TRIES_OF_A_NAME or addresses >= TRIES_OF_AN_ADDRESS)

    def _attempt(self, name: str, address: str, outcome: str) -> None:
        with self._open() as con:
            con.execute(
                "INSERT INTO attempt (at, name, address, outcome) VALUES (?, ?, ?, ?)",
                (_now().isoformat(), _short(name), address, outcome),
            )

    def end(self, sid: str) -> None:
        """End one session for good, whoever holds a copy of its cookie."""
        with self._open() as con:
            con.execute("INSERT OR IGNORE INTO ended VALUES (?, ?)", (sid, _now().isoformat()))

    def has_ended(self, sid: str) -> bool:
        """Whether a session was ended by signing out."""
        with self._open() as con:
            return con.execute("SELECT 1 FROM ended WHERE sid = ?", (sid,)).fetchone() is not None

    def saw(
        self, account: Account, sites: Sequence[str], address: str, what: str, snapshot: int | None, request_id: str
    ) -> None:  # fmt: skip
        """Put on record what an account looked at. Raises sqlite3.Error, and then nothing may be shown."""
        with self._open() as con:
            con.execute("BEGIN IMMEDIATE")
            last = con.execute("SELECT number, chain FROM seen ORDER BY number DESC LIMIT 1").fetchone()
            row: list[Any] = [
                (last[0] if last else 0) + 1, _now().isoformat(), account.name, account.role,
                json.dumps(list(sites)), address, what, snapshot, request_id,
            ]  # fmt: skip
            con.execute(
                "INSERT INTO seen VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [*row, _chained(last[1] if last else "", row)],
            )
            con.execute("COMMIT")

    def views(self, name: str | None = None, limit: int = 100) -> list[View]:
        """What was looked at, the latest first."""
        with self._open() as con:
            rows = con.execute(
                "SELECT number, at, name, role, sites, address, what, snapshot, request_id FROM seen "
                "WHERE ? IS NULL OR name = ? ORDER BY number DESC LIMIT ?",
                (name, name, limit),
            ).fetchall()
        return [
            View(r[0], datetime.fromisoformat(r[1]), r[2], r[3], tuple(json.loads(r[4])), *r[5:])
            for r in rows
        ]

    def first_broken(self) -> int | None:
        """Number of the first row of the log of views that is missing or not as it was written; None where all are.

        Rows cut off at the end are not seen from the file alone: compare the last number with a kept copy's.
        """
        before, expected = "", 1
        with self._open() as con:
            for *row, chain in con.execute("SELECT * FROM seen ORDER BY number"):
                if row[0] != expected or chain != _chained(before, row):
                    return expected
                before, expected = chain, expected + 1
        return None


def _chained(before: str, row: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps([before, *row], ensure_ascii=False).encode()).hexdigest()


def _short(name: str) -> str:
    """A name as it was typed, which may be a whole page of text."""
    return name[:120]


def _now() -> datetime:
    return datetime.now(UTC)


@cache
def _hasher() -> PasswordHasher:
    return PasswordHasher()


@cache
def _nobody() -> str:
    """Hash of a password that nobody has, so that an unknown name takes as long as a known one."""
    return _hasher().hash("a password that nobody has")
