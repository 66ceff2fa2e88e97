"""One process at a time, over all machines that share a lake: a lock that its holder's end frees, however it ends.

On one machine it is a lock on a file in the home, on many an advisory lock in the catalog's PostgreSQL: both are let
go of by the system when the process is killed or its machine is lost. Belongs here: the lock. Does not belong here:
what needs it.
"""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from warehouse.settings import Settings

POSTGRES = "postgres:"
# Apart from what others lock in the same database.
FAMILY = "cellfleet"


@contextmanager
def alone(settings: Settings, what: str) -> Iterator[None]:
    """Wait until no other process does `what` with this lake, and hold it off until the block ends.

    Raises psycopg.Error where the catalog's server is away, OSError where the home cannot be written.
    """
    if settings.catalog.startswith(POSTGRES):
        with _in_catalog(settings.catalog.removeprefix(POSTGRES), what):
            yield
        return
    folder = settings.home_path / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _number(what).to_bytes(8, "big", signed=True).hex()).open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def _in_catalog(address: str, what: str) -> Iterator[None]:
    import psycopg

    # Of a session, not a transaction: an open transaction would keep PostgreSQL from cleaning up for as long.
    with psycopg.connect(address, autocommit=True, application_name=f"{FAMILY} {what}"[:60]) as con:
        con.execute("SELECT pg_advisory_lock(%s)", [_number(what)])
        yield


def _number(what: str) -> int:
    """The lock's number: 64 bits, signed, as PostgreSQL takes them."""
    digest = hashlib.sha256(f"{FAMILY}|{what}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
