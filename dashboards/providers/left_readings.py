"""Readings that a snapshot left in the lake: asked of a database of their own, so that no other question waits for it.

Belongs here: opening the lake for a scope, and what happens where it cannot be read. Does not belong here: what is
asked (`sensors.py`), how readings are left (`warehouse/lake_readings.py`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import duckdb

from dashboards.providers.scoped import views
from dashboards.security.scope import Scope
from warehouse.object_storage import ObjectStorageError

# Seconds after which a lake that could not be opened is looked for again: to wait for a server may take many.
TRIED_AGAIN = 60
log = logging.getLogger("cellfleet.dashboards")
T = TypeVar("T")


class ReadingsAway(RuntimeError):  # noqa: N818 - it names a state, and is shown as a sentence
    """The snapshot left its readings in the lake, which cannot be read from here."""


class LeftReadings:
    """The readings of one snapshot, for any number of threads."""

    def __init__(self, path: Path, few: int) -> None:
        self._path, self._few = path, few
        self._lock = threading.Lock()
        self._views: dict[Scope, duckdb.DuckDBPyConnection] = {}
        self._away_since: float | None = None

    def ask(self, scope: Scope, question: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """The answer to a question over `core.reading`, in a scope. Raises ReadingsAway."""
        whole = scope.whole()
        try:
            return question(self._cursor(whole))
        except duckdb.IOException:
            # Opened anew it has fresh keys: those of a role expire after hours.
            with self._lock:
                self._views.pop(whole, None)
        try:
            return question(self._cursor(whole))
        except duckdb.IOException as error:
            raise _away(error) from error

    def _cursor(self, whole: Scope) -> duckdb.DuckDBPyConnection:
        with self._lock:
            if whole not in self._views:
                if self._away_since is not None and time.monotonic() - self._away_since < TRIED_AGAIN:
                    raise ReadingsAway("the lake could not be opened")
                try:
                    self._views[whole] = views(self._path, whole, self._few, readings=True)
                except (duckdb.Error, ObjectStorageError) as error:
                    self._away_since = time.monotonic()
                    raise _away(error) from error
            return self._views[whole].cursor()


def _away(error: Exception) -> ReadingsAway:
    log.error("readings lie in the lake, which cannot be read from here: %s", error)
    return ReadingsAway(str(error))
