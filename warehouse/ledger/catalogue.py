"""Where an entry lies: from its id to its index and the place of its line in the private store.

Here belongs the SQLite file that makes appending idempotent and a proof fast. It is derived: no evidence is
in it, it can be deleted at any time, and the next append writes it again from the private store.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

Row = tuple[int, bytes, int]
"""Index of the entry, mark of its id, byte at which its line begins."""

_CACHE_KIB = 65_536


class Catalogue:
    """Open catalogue. Changes are kept only by `commit`; closing without it forgets them."""

    def __init__(self, path: Path, *, write: bool = False) -> None:
        mode = "rwc" if write else "ro"
        self._db = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None)
        if write:
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS entry"
                " (number INTEGER PRIMARY KEY, mark BLOB NOT NULL UNIQUE, start INTEGER NOT NULL)"
            )
            self._db.execute("BEGIN IMMEDIATE")

    def add(self, rows: Iterable[Row]) -> bool:
        """Add all rows, or none and answer False when an id is there already."""
        self._db.execute("SAVEPOINT adding")
        try:
            self._db.executemany("INSERT INTO entry VALUES (?, ?, ?)", rows)
        except sqlite3.IntegrityError:
            self._db.execute("ROLLBACK TO adding")
            return False
        finally:
            self._db.execute("RELEASE adding")
        return True

    def find(self, mark: bytes) -> tuple[int, int] | None:
        """Index and start of the entry whose id has this mark."""
        found: tuple[int, int] | None = self._db.execute(
            "SELECT number, start FROM entry WHERE mark = ?", (mark,)
        ).fetchone()
        return found

    def last(self) -> tuple[int, int] | None:
        """Index and start of the last entry."""
        found: tuple[int, int] | None = self._db.execute(
            "SELECT number, start FROM entry ORDER BY number DESC LIMIT 1"
        ).fetchone()
        return found

    def rows(self) -> Iterator[Row]:
        """All rows in the order of the entries."""
        return self._db.execute("SELECT number, mark, start FROM entry ORDER BY number")

    def damage(self) -> str | None:
        """What SQLite itself finds wrong with the file, ids that lead nowhere or astray included."""
        found = str(self._db.execute("PRAGMA integrity_check(1)").fetchone()[0])
        return None if found == "ok" else found

    def commit(self) -> None:
        """Keep the changes so far and go on."""
        self._db.execute("COMMIT")
        self._db.execute("BEGIN IMMEDIATE")

    def close(self) -> None:
        """Close the file; changes that were not committed are forgotten."""
        self._db.close()
