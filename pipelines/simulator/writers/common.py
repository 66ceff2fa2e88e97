"""What all site writers share: the file they hand over, columns, and where a planted row came to lie.

Belongs here: the small printing machinery. Does not belong here: any one site's headers or words.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from pipelines.simulator.sites import FLEET_START, day_start
from pipelines.simulator.world import Row, SiteWorld, World, key_of

Column = tuple[str, str, Callable[[Any], Any]]


@dataclass(frozen=True)
class OutFile:
    """One file of a site: path below the site's folder, bytes, time it was written, records by feed."""

    path: str
    data: bytes
    mtime: datetime
    counts: dict[str, int] = field(default_factory=dict)


@dataclass
class Notes:
    """Collected while printing: where marked rows lie, and which local times are ambiguous by nature."""

    places: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)
    ambiguous: dict[tuple[str, str], str] = field(default_factory=dict)

    def place(self, feed: str, row: Row, file: str, line: int) -> None:
        """Remember the last file and line (1 = first line of the file) at which a marked row was printed."""
        if row.get("_defect"):
            self.places[feed, key_of(feed, row)] = (file, line)


def same(value: Any) -> Any:
    """The value as it is."""
    return value


def text(value: Any) -> str:
    """A word or number as text; nothing as an empty field."""
    return "" if value is None else str(value)


def number(decimals: int, comma: bool = False, factor: float = 1.0) -> Callable[[Any], str]:
    """A printer for numbers with fixed decimals, after multiplying by `factor`."""

    def show(value: Any) -> str:
        if value is None:
            return ""
        shown = f"{value * factor:.{decimals}f}"
        return shown.replace(".", ",") if comma else shown

    return show


def words(table: dict[Any, str]) -> Callable[[Any], str]:
    """A printer that translates codes; unknown codes (free words) pass."""
    return lambda value: table.get(value, text(value))


@lru_cache(maxsize=200_000)
def local(at: datetime, tz: str) -> tuple[datetime, bool]:
    """Local wall time without zone, and whether that wall time occurs twice."""
    wall = at.astimezone(ZoneInfo(tz))
    twice = wall.replace(fold=0).utcoffset() != wall.replace(fold=1).utcoffset()
    return wall.replace(tzinfo=None), twice


def is_ambiguous(row: Row, columns: Sequence[Column], tz: str) -> bool:
    """Whether any time of the row, printed without zone, occurs twice at the site."""
    return any(isinstance(row.get(name), datetime) and local(row[name], tz)[1] for _, name, _ in columns)


def cell(row: Row, column: Column) -> Any:
    """What a column shows of a row; `*` hands the whole row over."""
    _, name, show = column
    return show(row) if name == "*" else show(row.get(name))


def csv_bytes(
    feed: str,
    rows: Iterable[Row],
    columns: Sequence[Column],
    file: str,
    *,
    notes: Notes,
    sep: str = ",",
    encoding: str = "utf-8",
    rename: tuple[str, str] | None = None,
    tz: str | None = None,
) -> tuple[bytes, int]:
    """A CSV file and its number of data rows."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=sep, lineterminator="\r\n")
    headers = [h for h, _, _ in columns]
    if rename:
        headers = [rename[1] if h == rename[0] else h for h in headers]
    writer.writerow(headers)
    n = 0
    for n, row in enumerate(rows, start=1):
        writer.writerow([cell(row, c) for c in columns])
        notes.place(feed, row, file, n + 1)
        if tz and is_ambiguous(row, columns, tz):
            notes.ambiguous[feed, key_of(feed, row)] = file
    return buffer.getvalue().encode(encoding), n


def jsonl_bytes(
    feed: str,
    rows: Iterable[Row],
    columns: Sequence[Column],
    file: str,
    *,
    notes: Notes,
    rename: tuple[str, str] | None = None,
) -> tuple[bytes, int]:
    """A JSON-lines file and its number of lines."""
    lines = []
    for n, row in enumerate(rows, start=1):
        shown = {(rename[1] if rename and c[0] == rename[0] else c[0]): cell(row, c) for c in columns}
        lines.append(json.dumps(shown, ensure_ascii=False))
        notes.place(feed, row, file, n)
    return ("\n".join(lines) + "\n" if lines else "").encode(), len(lines)


def epoch_ms(value: datetime | None) -> int | None:
    """UTC epoch milliseconds."""
    return None if value is None else int(value.astimezone(UTC).timestamp() * 1000)


@dataclass(frozen=True)
class Assay:
    """How a laboratory names and prints one test: code, method, unit, decimals, factor from our units."""

    code: str
    method: str
    unit: str
    decimals: int
    factor: float = 1.0


def result_text(assay: Assay, row: Row, comma: bool = False, sign: bool = True) -> str:
    """A result as the laboratory prints it: number, `<` number, word, or the raw text a defect left there."""
    if row.get("raw_value") is not None:
        return str(row["raw_value"])
    if row["value"] is None:
        return str(row["text"])
    shown = number(assay.decimals, comma, assay.factor)(row["value"])
    return f"<{shown}" if sign and row["op"] == "<" else shown


@dataclass(frozen=True)
class Export:
    """One export of a site: rows modified in (after, until], as they stood at `at`; perhaps sent again."""

    day: int
    after: datetime
    until: datetime
    at: datetime
    resent: bool

    def rows(self, site: SiteWorld, feed: str) -> list[Row]:
        """The rows of a feed in this export."""
        return site.changes(feed, self.after, self.until, self.at)

    def name(self, name: str) -> str:
        """The file's name, with the mark of a file sent again."""
        stem, end = name.rsplit(".", 1)
        return f"{stem}_r2.{end}" if self.resent else name

    def rename(self, site: SiteWorld, feed: str) -> tuple[str, str] | None:
        """The column that bears another name in this file, if any."""
        return None if self.resent else site.renames.get((feed, self.day))


def exports(world: World, site: SiteWorld, period: int, *, full: bool = False) -> Iterator[Export]:
    """All exports of a site so far, every `period` days: of everything (`full`) or only of changes."""
    start = FLEET_START - timedelta(days=900)
    after = start
    for day in world.export_days(period):
        until = day_start(day)
        yield Export(day, after, until, until, resent=False)
        again = until + timedelta(hours=12)
        if day in site.resends and again <= day_start(world.lived):
            yield Export(day, after, until, again, resent=True)
        after = start if full else until
