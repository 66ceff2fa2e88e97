"""Runs of batches as sensors saw them: traces, envelopes, events, files."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Run:
    """One batch among those looked at on the Sensors page, and the moment that its hour 0 is."""

    site: str
    batch_id: str
    zero: datetime

    @property
    def key(self) -> str:
        """The batch in the address of a page."""
        return f"{self.site}/{self.batch_id}"


@dataclass(frozen=True)
class Trace:
    """One channel of one batch as drawn: hours since its hour 0, and values in the quantity's unit.

    A gap in the readings is a None. `bad_hours` are where the source calls a reading anything but good.
    """

    run: Run
    channel: str
    quantity: str
    hours: tuple[float, ...]
    values: tuple[float | None, ...]
    bad_hours: tuple[float, ...] = ()


@dataclass(frozen=True)
class Envelope:
    """What the site's other batches showed, hour by hour: 5th, 50th and 95th percentile and ends of hourly means."""

    quantity: str
    hours: tuple[float, ...]
    low: tuple[float, ...]
    middle: tuple[float, ...]
    high: tuple[float, ...]
    lowest: tuple[float, ...]
    highest: tuple[float, ...]
    n_batches: int


@dataclass(frozen=True)
class Channel:
    """One channel of a batch in numbers; minimum, mean and maximum are of its good readings."""

    channel: str
    quantity: str
    n: int
    n_good: int
    first_at: datetime
    last_at: datetime
    minimum: float | None
    mean: float | None
    maximum: float | None
    usual_step_s: float | None


@dataclass(frozen=True)
class Event:
    """A stretch of a batch's readings to look at: a gap, hours outside the others' range, or a finding of a rule."""

    kind: str
    quantity: str
    channel: str
    from_at: datetime
    to_at: datetime
    from_h: float
    to_h: float
    what: str
    record_id: str | None = None


@dataclass(frozen=True)
class ReadingFile:
    """One file that readings of a batch came from, with its hash and the rows they stand in."""

    feed: str | None
    source_file: str | None
    sha256: str
    first_row: int
    last_row: int
    n: int
    from_at: datetime
    to_at: datetime
