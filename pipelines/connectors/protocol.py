"""What every connector keeps to.

A connector offers files. It is told what the lake already has (`Seen`: names with size and time, and its own cursor),
so a run that was killed offers the same again and nothing is doubled: the cursor is stored in the transaction that
promotes the records, never before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from pipelines.harmonise.contract import Feed, System


@dataclass(frozen=True)
class Seen:
    """What has been taken from a feed so far: (name, size, written) of files, and the connector's own cursor."""

    files: frozenset[tuple[str, int, datetime]] = frozenset()
    cursor: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Offer:
    """A file to take: where it lies now, what the site calls it, and the cursor once it is taken (None: unchanged)."""

    path: Path
    name: str
    cursor: dict[str, Any] | None = None


class Connector(Protocol):
    """One kind of source system."""

    def offers(self, system: System, feed: Feed, sources: Path, seen: Seen, scratch: Path) -> Iterator[Offer]:
        """Files that are new since `seen`, oldest first.

        `sources` is the folder that relative paths start from, `scratch` a folder for files the connector makes.
        Raises PermanentFailure (nothing to be had until someone mends it) or TransientFailure (try again).
        """
        ...
