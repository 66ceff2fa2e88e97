"""Files that arrive, wherever they lie: which are the feed's, which are new, which are whole.

Told apart by name, size and time as their server says them, never by the clock of this machine. Does not belong here:
how a listing or a file is had (`folder.py`, `sftp.py`, `s3.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol

from pipelines.connectors.protocol import Seen
from pipelines.harmonise.contract import Feed
from pipelines.harmonise.systems import System

# How files are called while they are still being written.
UNFINISHED = (".part", ".tmp", ".filepart", "~")


@dataclass(frozen=True, order=True)
class Listed:
    """A file as its server lists it: when it was written (UTC), its name below the system's folder, its bytes."""

    written: datetime
    name: str
    size: int


class Listing(Protocol):
    """A connector whose system is a place where files lie."""

    def listings(self, system: System, feeds: list[Feed], sources: Path) -> list[list[Listed]]:
        """Every finished file of each feed, in one session; raises PermanentFailure or TransientFailure."""
        ...


def is_of(feed: Feed, name: str) -> bool:
    """Whether a name below the system's folder is one of the feed's, and not one of a file still being written."""
    last = name.rsplit("/", 1)[-1]
    if last.startswith(".") or last.endswith(UNFINISHED):
        return False
    names, patterns = name.split("/"), (feed.files or "").split("/")
    return len(names) == len(patterns) and all(map(fnmatchcase, names, patterns))


def fresh(look: Callable[[], list[Listed]], seen: Seen, settle_seconds: float) -> list[Listed]:
    """Files that were not taken yet at this size and time and do not change meanwhile, oldest first."""
    waiting = [f for f in look() if (f.name, f.size, f.written) not in seen.files]
    if waiting and settle_seconds:
        time.sleep(settle_seconds)
        again = set(look())
        waiting = [f for f in waiting if f in again]
    return sorted(waiting)
