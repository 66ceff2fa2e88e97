"""The plan of planted defects: what was planted where, and which records are already taken.

Belongs here: the book-keeping that keeps defects apart. Does not belong here: how a defect looks
(spoil_records.py, spoil_files.py), or which are planted (defects.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from .world import Row, World, key_of
from .writers.common import Notes


@dataclass
class Planted:
    """One planted defect. `also` holds other subjects under which a detector may rightly name it."""

    kind: str
    site: str
    feed: str
    subject: str
    magnitude: float | None = None
    note: str = ""
    also: tuple[str, ...] = ()
    file: str | None = None


@dataclass
class Plan:
    """All planted defects of a fleet, and what follows from them by nature (neither found nor false)."""

    planted: list[Planted] = field(default_factory=list)
    natural: list[dict[str, str]] = field(default_factory=list)
    used: set[tuple[str, str, str]] = field(default_factory=set)
    excursions: list[dict[str, Any]] = field(default_factory=list)

    def add(self, defect: Planted) -> None:
        """Record a defect."""
        self.planted.append(defect)

    def follows(self, kind: str, site: str, feed: str, subjects: Iterable[str]) -> None:
        """Record subjects that a detector of class `kind` may name because of another planted defect."""
        self.natural += [{"class": kind, "site": site, "feed": feed, "subject": s} for s in subjects]

    def entries(self, notes: Mapping[str, Notes]) -> list[dict[str, Any]]:
        """The defects as they stand in the truth file, with file and line where the row was last printed."""
        made = []
        for d in self.planted:
            file, line = notes[d.site].places.get((d.feed, d.subject), (d.file, None))
            made.append(
                {
                    "class": d.kind,
                    "site": d.site,
                    "feed": d.feed,
                    "subject": d.subject,
                    "file": d.file or file,
                    "row": None if d.file else line,
                    "magnitude": d.magnitude,
                    "note": d.note,
                    "also": list(d.also),
                }
            )
        return made


class Chooser:
    """Picks rows of one site, known in (after, until], that no defect has touched yet."""

    def __init__(
        self, world: World, site: str, plan: Plan, rng: np.random.Generator, window: tuple[datetime, datetime]
    ) -> None:
        self.world, self.site, self.plan, self.rng = world, world.sites[site], plan, rng
        self.after, self.until = window
        self.name = site

    def free(self, feed: str, row: Row) -> bool:
        """Whether no defect has touched this record."""
        return (self.name, feed, key_of(feed, row)) not in self.plan.used

    def take(self, feed: str, row: Row) -> Row:
        """Reserve a record and mark it, so that its place on disk is noted."""
        self.plan.used.add((self.name, feed, key_of(feed, row)))
        row["_defect"] = True
        return row

    def reserve(self, feed: str, rows: Iterable[Row]) -> None:
        """Keep other defects off these records."""
        self.plan.used.update((self.name, feed, key_of(feed, r)) for r in rows)

    def rows(self, feed: str) -> list[Row]:
        """Free records of a feed that have one version only and became known in the window."""
        versions: dict[str, int] = {}
        for row in self.site.tables[feed]:
            key = key_of(feed, row)
            versions[key] = versions.get(key, 0) + 1
        return [
            r
            for r in self.site.tables[feed]
            if self.after < r["_seen"] <= self.until and versions[key_of(feed, r)] == 1 and self.free(feed, r)
        ]

    def one(self, rows: list[Row]) -> Row | None:
        """One of the rows by chance, or none."""
        return rows[int(self.rng.integers(0, len(rows)))] if rows else None

    def log_uniform(self, low: float, high: float) -> float:
        """A magnitude between the bounds, small ones as likely as large ones."""
        return float(np.exp(self.rng.uniform(np.log(low), np.log(high))))
