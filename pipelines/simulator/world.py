"""The simulated truth as versions of rows: what each site's systems hold, and since when.

Belongs here: the container every later step reads (people and process fill it, defects change it,
writers print it) and the questions put to it by time. Does not belong here: formats, drawing.
A row is a dict; `_seen` is the UTC moment its site's system first held that version, `modified` the
moment the system prints. Both are equal but where a site changed something silently.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from .sites import Scale, Site

Row = dict[str, Any]

KEYS: dict[str, tuple[str, ...]] = {
    "order": ("order_id",),
    "collection": ("collection_id",),
    "batch": ("batch_id",),
    "unit_operation": ("op_id",),
    "equipment": ("equipment_id",),
    "reagent_lot": ("lot_id",),
    "lot_use": ("batch_id", "lot_id"),
    "sample": ("sample_id",),
    "assay": ("result_id",),
    "study": ("result_id",),
    "deviation": ("deviation_id",),
    "specification": ("spec_id", "version"),
    "spec_limit": ("spec_id", "version", "test"),
    "release": ("release_id",),
    "custody": ("event_id",),
    "infusion": ("infusion_id",),
    "outcome": ("outcome_id",),
    "program": ("program_id",),
    "product": ("product_id",),
    "suite": ("suite_id",),
    "material": ("material_id",),
    "assay_method": ("test", "version"),
    "change_control": ("change_id",),
    "activation_milestone": ("program_id", "step"),
    "catchment": ("region",),
    "agreement": ("agreement_id",),
    "screening": ("screening_id",),
    "consent": ("consent_id",),
    "lymphodepletion": ("course_id",),
    "adverse_event": ("event_id",),
    "payment": ("payment_id",),
    "cost_item": ("cost_id",),
    "batch_genealogy": ("parent", "child", "kind"),
    "shipment": ("shipment_id",),
    "logger_reading": ("logger", "at"),
}


def key_of(feed: str, row: Row) -> str:
    """The row's identity in its feed, parts joined by `|`."""
    parts = KEYS[feed]
    return str(row[parts[0]]) if len(parts) == 1 else "|".join(str(row[k]) for k in parts)


@dataclass
class Culture:
    """One batch on the bioreactor: what the sensors need."""

    batch_id: str
    reactor: int
    start: datetime
    end: datetime
    stream: tuple[int, ...]


@dataclass(frozen=True)
class SensorDefect:
    """What is planted in one channel: kind flat_line | drift | dst | excursion, from `start` on for `hours`."""

    kind: str
    channel: str
    start: datetime
    hours: float
    magnitude: float


@dataclass
class SiteWorld:
    """Everything one site knows, with all versions, past `now` included."""

    site: Site
    tables: dict[str, list[Row]] = field(default_factory=lambda: {k: [] for k in KEYS})
    cultures: list[Culture] = field(default_factory=list)
    sensor_defects: dict[str, list[SensorDefect]] = field(default_factory=dict)
    late: dict[str, float] = field(default_factory=dict)  # file name -> days late
    renames: dict[tuple[str, int], tuple[str, str]] = field(default_factory=dict)  # (feed, day) -> old, new
    resends: set[int] = field(default_factory=set)  # export days whose results were sent again

    def add(self, feed: str, seen: datetime, **fields: Any) -> Row:
        """Append one version of a row, known to the site from `seen` on."""
        row: Row = {**fields, "modified": seen, "_seen": seen}
        self.tables[feed].append(row)
        return row

    def sort(self) -> None:
        """Order versions by the moment they were seen (stable, so equal moments keep their order)."""
        for rows in self.tables.values():
            rows.sort(key=lambda r: r["_seen"])

    def state(self, feed: str, at: datetime) -> list[Row]:
        """Newest version of each row that the site held at `at`, in order of first appearance."""
        return list(_newest(feed, (r for r in self.tables[feed] if r["_seen"] <= at)).values())

    def changes(self, feed: str, after: datetime, until: datetime, at: datetime) -> list[Row]:
        """Newest versions at `at` whose printed modification lies in (after, until]."""
        return [r for r in self.state(feed, at) if after < r["modified"] <= until]


def _newest(feed: str, rows: Iterable[Row]) -> dict[str, Row]:
    found: dict[str, Row] = {}
    for row in rows:
        found[key_of(feed, row)] = row
    return found


@dataclass
class World:
    """The fleet: seed, scale, the days it has lived, and its sites by name."""

    seed: int
    scale_name: str
    scale: Scale
    base_days: int
    lived: int
    sites: dict[str, SiteWorld]

    def export_days(self, period: int) -> list[int]:
        """Days on whose opening midnight a site exports: each `period`, the last base day, then daily."""
        regular = set(range(period, self.base_days + 1, period)) | {self.base_days}
        return sorted(regular | set(range(self.base_days + 1, self.lived + 1)))


def minute(moment: datetime) -> datetime:
    """Cut to the whole minute: the coarsest time any of the sites prints."""
    return moment.replace(second=0, microsecond=0)


def hours(n: float) -> timedelta:
    """A span of `n` hours, in whole minutes."""
    return timedelta(minutes=round(n * 60))
