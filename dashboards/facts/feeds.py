"""What was sent and what became of it: feeds, quarantine, tallies, the source of a record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

GRAVE = ("critical", "error")


@dataclass(frozen=True)
class Source:
    """One stored version of a record: the file and row it came from, that file's hash, and what was read."""

    site: str
    feed: str
    table: str
    record_id: str
    source_system: str | None
    source_file: str
    source_row: int | None
    sha256: str | None
    source_version: datetime | None
    sent_at: datetime | None
    recorded_at: datetime | None
    in_force: bool
    supersedes: str | None
    superseded_by: str | None
    reason: str | None
    fields: tuple[tuple[str, Any], ...]
    hidden: int


@dataclass(frozen=True)
class Feed:
    """One feed of one site: its newest accounting and its files. `lag_h` runs to the newest file of a regular feed."""

    site: str
    feed: str
    received: int | None
    promoted: int | None
    superseded: int | None
    duplicate: int | None
    quarantined: int | None
    fields_quarantined: int | None
    findings: int | None
    files: int
    files_refused: int
    last_file_at: datetime | None
    newest_refused: bool
    lag_h: float | None
    usual_h: float | None

    @property
    def adds_up(self) -> bool:
        """Whether every record received stands in one of the four states."""
        parts = (self.promoted, self.superseded, self.duplicate, self.quarantined)
        return self.received is not None and self.received == sum(p or 0 for p in parts)

    @property
    def late(self) -> bool:
        """Whether its next file is overdue: three of its usual intervals, and more than two days, behind."""
        return (
            self.lag_h is not None and self.usual_h is not None and self.lag_h > max(3 * self.usual_h, 48.0)
        )

    @property
    def missing(self) -> bool:
        """Whether nothing of it can be read that should be there by now: overdue, or its newest file refused."""
        return self.late or self.newest_refused


@dataclass(frozen=True)
class Report:
    """Whether a site has reported: of its feeds that come regularly, how many are missing."""

    site: str
    regular: int
    missing: int
    last_file_at: datetime | None

    @property
    def reported(self) -> bool:
        """Whether most of its regular feeds are there."""
        return 2 * self.missing <= self.regular


def reports(feeds: Sequence[Feed]) -> list[Report]:
    """Sites that have regular feeds, in the order of the feeds. A site that sends now and then cannot be missing."""
    found = []
    for site in dict.fromkeys(f.site for f in feeds):
        mine = [f for f in feeds if f.site == site]
        regular = [f for f in mine if f.usual_h is not None]
        if regular:
            last = max((f.last_file_at for f in mine if f.last_file_at is not None), default=None)
            found.append(Report(site, len(regular), sum(f.missing for f in regular), last))
    return found


@dataclass(frozen=True)
class Missing:
    """Of the batches that a site harvested, how many have no result of an attribute of the plan."""

    site: str
    attribute: str
    title: str
    harvested: int
    lacking: int


@dataclass(frozen=True)
class Held:
    """One record or field that waits in quarantine. `age_h` runs to the fleet's newest file."""

    site: str
    feed: str
    reason_code: str
    subject: str | None
    field_name: str | None
    value_seen: str | None
    value_wanted: str | None
    whole_record: bool
    source_file: str | None
    source_row: int | None
    sha256: str | None
    sent_at: datetime | None
    age_h: float | None
    record_id: str | None


@dataclass(frozen=True)
class Tally:
    """How many entries of one reason a site has, and how old the oldest is."""

    site: str
    reason_code: str
    severity: str | None
    n: int
    oldest_h: float | None
