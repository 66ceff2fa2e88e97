"""The day a file is about, as its name says, and how late the file came. Never the wall clock."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

from pipelines.harmonise.contract import Feed
from warehouse.vault import Arrival

HOURS = {"hour": 1.0, "day": 24.0}


def day_in(feed: Feed, name: str) -> date | None:
    """Day in a file's name (`2026-03-05` or `20260305`); None where the feed has none."""
    if feed.day is None:
        return None
    found = re.search(feed.day, name)
    if found is None:
        return None
    digits = re.sub(r"\D", "", found.group(1))
    return datetime.strptime(digits, "%Y%m%d").replace(tzinfo=UTC).date()


def late(feed: Feed, arrival: Arrival) -> float | None:
    """Hours between the end of the file's day and when it was written, where more than the contract allows."""
    day = day_in(feed, arrival.name)
    if day is None or feed.late_after is None:
        return None
    number, unit = feed.late_after.split()
    end = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
    hours = (arrival.sent_at - end).total_seconds() / 3600
    return hours if hours > float(number) * HOURS[unit.rstrip("s")] else None
