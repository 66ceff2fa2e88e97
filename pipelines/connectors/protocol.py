"""What every connector keeps to.

A connector offers files. It is told what the lake already has (`Seen`: names with size and time, and its own cursor),
so a run that was killed offers the same again and nothing is doubled: the cursor is stored in the transaction that
promotes the records, never before.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pipelines.failures import TransientFailure
from pipelines.harmonise.contract import Feed
from pipelines.harmonise.systems import System

T = TypeVar("T")
ATTEMPTS = 4
FIRST_PAUSE = 0.2


@dataclass(frozen=True)
class Seen:
    """What has been taken from a feed so far: (name, size, written) of files, and the connector's own cursor.

    `keys` says which records stand (not deleted), each by the texts of the columns that identify it.
    """

    files: frozenset[tuple[str, int, datetime]] = frozenset()
    cursor: dict[str, Any] = field(default_factory=dict)
    keys: Callable[[], set[tuple[str, ...]]] = set


@dataclass(frozen=True)
class Offer:
    """A file to take: what the site calls it, and the cursor once it is taken (None: unchanged).

    It lies at `path`, or `bring` fetches it and says where it lies then; None means that it is not whole yet and is
    left for the next run. An `extract` was made by the connector and is not a file of the site's.
    """

    name: str
    path: Path | None = None
    bring: Callable[[], Path | None] | None = None
    cursor: dict[str, Any] | None = None
    extract: bool = False

    def file(self) -> Path | None:
        """Where the file lies, brought here where need be."""
        return self.bring() if self.bring is not None else self.path


class Connector(Protocol):
    """One kind of source system."""

    def offers(
        self, system: System, feed: Feed, sources: Path, seen: Seen, scratch: Path
    ) -> Generator[Offer, None, None]:
        """Files that are new since `seen`, oldest first.

        `sources` is the folder that relative paths start from, `scratch` a folder for files the connector makes.
        Raises PermanentFailure (nothing to be had until someone mends it) or TransientFailure (try again).
        """
        ...


def patiently(action: Callable[[], T], before_again: Callable[[], object] | None = None) -> T:
    """What `action` returns; after a TransientFailure it is tried again, a few times and with growing pauses.

    `before_again` runs before each further attempt (to drop a dead connection). Raises the last TransientFailure.
    """
    for attempt in range(ATTEMPTS):
        try:
            return action()
        except TransientFailure:
            if attempt == ATTEMPTS - 1:
                raise
        time.sleep(FIRST_PAUSE * 2**attempt * (1 + random.random()))  # noqa: S311 - jitter, not a secret
        if before_again is not None:
            before_again()
    raise AssertionError("unreachable")
