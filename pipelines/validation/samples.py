"""What checks show of the records behind them: counts with a few samples, by the query that anyone can run again.

Values are shown as far as their privacy class let them into quarantine and findings; nothing more is looked up here.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import duckdb

from warehouse.dictionary.render import quoted

SAMPLES = 3


@dataclass(frozen=True)
class Sampled:
    """Rows of a query, the query itself (over the published snapshot's tables), and how long it took."""

    query: str
    seconds: float
    rows: list[dict[str, Any]]


def open_entries(con: duckdb.DuckDBPyConnection, site: str, feed: str, at_most: int) -> Sampled:
    """Open quarantine entries of a feed by reason and field: how many, samples with file and row.

    `at_most`: records and fields that accounting counts as set aside; where there are none the lake is not asked.
    """
    place = "source_file || ':' || source_row || coalesce(' ' || value_seen, '')"
    return _sampled(
        con,
        f"SELECT reason_code, field_name, count(*) AS entries, any_value(value_wanted) AS wanted, "
        f"array_to_string(list({place} ORDER BY recorded_at DESC, source_row)[:{SAMPLES}], '; ') AS samples "
        f"FROM {{quarantine}} WHERE site_id = {quoted(site)} AND feed = {quoted(feed)} "
        "GROUP BY reason_code, field_name ORDER BY entries DESC, reason_code, field_name",
        {"quarantine": ("current.quarantine", "mart.quarantine_open")},
        ask=at_most > 0,
    )


def findings_of(con: duckdb.DuckDBPyConnection, severity: str) -> Sampled:
    """Findings of one severity by site and reason: how many, samples by subject."""
    return _sampled(
        con,
        "SELECT site_id, reason_code, count(*) AS findings, "
        f"array_to_string(list(subject ORDER BY recorded_at DESC, subject)[:{SAMPLES}], '; ') AS samples "
        f"FROM {{finding}} WHERE severity = {quoted(severity)} "
        "GROUP BY site_id, reason_code ORDER BY site_id, findings DESC, reason_code",
        {"finding": ("lake.quality.finding", "quality.finding")},
    )


def _sampled(
    con: duckdb.DuckDBPyConnection, sql: str, tables: dict[str, tuple[str, str]], *, ask: bool = True
) -> Sampled:
    started = time.perf_counter()
    rows: list[dict[str, Any]] = []
    if ask:
        cursor = con.execute(sql.format(**{name: lake for name, (lake, _) in tables.items()}))
        names = [d[0] for d in cursor.description or []]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    shown = sql.format(**{name: published for name, (_, published) in tables.items()})
    return Sampled(shown, time.perf_counter() - started, rows)
