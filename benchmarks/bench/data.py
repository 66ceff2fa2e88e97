"""Days of sensor readings as sites write them, with values that every channel can have; drawn by DuckDB.

A channel has a reading a second, a day of a batch with four channels 345,600. Rows are by batch, channel and time, as
historians export them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import duckdb

FIRST_DAY = date(2026, 1, 5)
SECONDS = 86_400
# What a file holds at most: the files of a large measurement are written and removed in turn.
MOST = 5_000_000
CONTRACT = Path(__file__).with_name("opcua.yaml")
# Of each layout: tag, lowest, highest, unit as printed; one needs conversion where the layout prints its own units.
CSV = (
    ("temp", 98.3, 98.9, "degF"),
    ("ph", 7.1, 7.2, ""),
    ("glucose", 63.5, 123.0, "mg/dL"),
    ("do", 49.0, 56.7, "%"),
)
HISTORIAN = (
    ("BR01.TEMP", 36.8, 37.1, ""),
    ("BR01.PH", 7.1, 7.2, ""),
    ("BR01.GLC", 4.7, 7.7, ""),
    ("BR01.DO", 51.0, 58.0, ""),
)
NODES = (("Suite/BR01/TEMP", 98.3, 98.9, "[degF]"), ("Suite/BR01/PH", 7.1, 7.2, "[pH]"))
ROWS = """
    SELECT printf('{prefix}%05d', b.range) AS batch, c.tag AS tag, c.unit AS unit,
           TIMESTAMP '{day}' + to_seconds(s.range) AS moment,
           round(c.low + (c.high - c.low) * (hash(b.range, c.tag, s.range) % 1000) / 1000, 3) AS value
    FROM range({batches}) AS b, (VALUES {tags}) AS c(tag, low, high, unit), range({seconds}) AS s
    ORDER BY b.range, c.tag, s.range LIMIT {rows}"""
LAYOUTS = {
    "csv": (
        CSV, "PR-B-", "telemetry_{day}.csv",
        "SELECT batch, tag, strftime(moment, '%m/%d/%Y %H:%M:%S') AS local_time, value, unit, 'GOOD' AS quality "
        "FROM ({rows})",
        "FORMAT csv, HEADER",
    ),
    "parquet": (
        HISTORIAN, "NG-B-", "2026/{day}.parquet",
        "SELECT batch, tag, moment AT TIME ZONE 'UTC' AS ts, value, 192::INTEGER AS quality FROM ({rows})",
        "FORMAT parquet",
    ),
    "opcua": (
        NODES, "OP-B-", "{day}.parquet",
        "SELECT tag AS path, batch, moment AT TIME ZONE 'UTC' AS source_time, "
        "moment AT TIME ZONE 'UTC' AS server_time, value, NULL::VARCHAR AS text, "
        "0::UINTEGER AS status, 'good' AS quality, unit, unit AS unit_code, tag AS node "
        "FROM ({rows})",
        "FORMAT parquet",
    ),
}  # fmt: skip


def write_day(folder: Path, layout: str, day: date, readings: int, *, seconds: int = SECONDS) -> Path:
    """One day's file with so many readings; `seconds` of the day have one a channel."""
    tags, prefix, name, select, how = LAYOUTS[layout]
    rows = ROWS.format(
        prefix=prefix, day=day, batches=-(-readings // (seconds * len(tags))), seconds=seconds, rows=readings,
        tags=", ".join(f"('{tag}', {low}, {high}, '{unit}')" for tag, low, high, unit in tags),
    )  # fmt: skip
    path = folder / name.format(day=day)
    path.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        con.execute(f"COPY ({select.format(rows=rows)}) TO '{path}' ({how})")
    return path


def days(readings: int) -> Iterator[tuple[date, int]]:
    """As many days as it takes, none with more than `MOST` readings."""
    day = FIRST_DAY
    while readings > 0:
        yield day, min(readings, MOST)
        readings, day = readings - MOST, day + timedelta(days=1)
