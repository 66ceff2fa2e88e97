"""Builds every mart, in order, on a connection to the lake, into one database.

Belongs here: the order, and what the SQL files share. Does not belong here: what a mart says (its SQL file).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from warehouse import lake
from warehouse.dictionary import dictionary
from warehouse.dictionary.render import quoted
from warehouse.marts import (
    audit_trail,
    capability,
    change,
    charts,
    comparability,
    drift,
    families,
    ranges,
    signals,
    trajectories,
    variance,
    vein,
)
from warehouse.marts.columns import attribute_sql, comments, mart_columns
from warehouse.marts.memory import Memory
from warehouse.marts.rows import store
from warehouse.plan import Fleet

__all__ = ["assembled", "build", "mart_columns", "prepare"]

HERE = Path(__file__).parent
# Later ones read earlier ones.
ORDER = (
    "assay_long",
    "batch_wide",
    "vein_to_vein",
    "custody_step",
    "custody_chain",
    "release_blocker",
    "release_pending",
    "release_readiness",
    "vein_hours",
    "vein_delay",
    "genealogy",
    "batch_status",
    "exceptions",
    "sensor_hour",
    "quarantine_open",
    "feed_status",
)


def prepare(con: duckdb.DuckDBPyConnection, fleet: Fleet | None = None) -> None:
    """Create what marts and findings share, as temporary tables: nothing is written to the lake.

    The rows in force and what is judged of them, the hours of sensor channels, the tables of `custody.sql`, judged by
    the fleet's custody limits where `fleet` is given, and the fleet's rules of release.
    """
    _in_force(con)
    con.execute((HERE / "channel_hour.sql").read_text("utf-8"))
    _judged_by(con, fleet)


def _in_force(con: duckdb.DuckDBPyConnection) -> None:
    """`in_force_<table>`: the rows in force of every core table; `attribute_word`: unit, scale and partition of the
    attributes; the tables of `inputs.sql`."""
    for table in dictionary().tables.values():
        if table.layer == "core" and table.volume == "small":
            name = table.name
            con.execute(f"CREATE OR REPLACE TEMP TABLE in_force_{name} AS SELECT * FROM current.{name}")
    # Readings are too many to copy, and almost never corrected: only then must the newest be picked.
    reading = dictionary().tables["reading"]
    again = lake.repeats(con, reading) or reading.name in lake.withdrawn(con)
    source = "current.reading" if again else "lake.core.reading"
    con.execute(f"CREATE OR REPLACE TEMP VIEW in_force_reading AS SELECT * FROM {source}")
    words = [
        (f.name, f.unit, f.scale, f.detection_limited, f.partition) for f in dictionary().attributes.values()
    ]
    con.execute(
        "CREATE OR REPLACE TEMP TABLE attribute_word "
        "(attribute VARCHAR, unit VARCHAR, scale VARCHAR, detection_limited BOOLEAN, partition VARCHAR)"
    )
    con.executemany("INSERT INTO attribute_word VALUES (?, ?, ?, ?, ?)", words)
    con.execute((HERE / "inputs.sql").read_text("utf-8"))


def _judged_by(con: duckdb.DuckDBPyConnection, fleet: Fleet | None) -> None:
    """The fleet's limits of custody and rules of release, and the tables of `custody.sql`."""
    con.execute(
        "CREATE OR REPLACE TEMP TABLE custody_limit "
        "(custody_kind VARCHAR, low_c DOUBLE, high_c DOUBLE, within_h DOUBLE)"
    )
    limits = [
        (kind, c.low_c, c.high_c, c.within_hours) for kind, c in (fleet.custody if fleet else {}).items()
    ]
    if limits:
        con.executemany("INSERT INTO custody_limit VALUES (?, ?, ?, ?)", limits)
    con.execute((HERE / "custody.sql").read_text("utf-8"))
    con.execute(
        "CREATE OR REPLACE TEMP TABLE release_rule (rule_version VARCHAR, effective_from TIMESTAMPTZ, "
        "holding VARCHAR[], after_release VARCHAR[], due_days DOUBLE)"
    )
    rules = [
        (r.version, r.effective_from, list(r.holding_deviations), list(r.tests_after_release), r.due_days)
        for r in (fleet.release if fleet else ())
    ]
    if rules:
        con.executemany("INSERT INTO release_rule VALUES (?, ?, ?, ?, ?)", rules)


def build(
    con: duckdb.DuckDBPyConnection,
    target: str,
    fleet: Fleet,
    snapshot: int,
    previous: Path | None = None,
    *,
    alpha: float = 0.05,
    power: float = 0.8,
    run_id: str | None = None,
) -> dict[str, int]:
    """Build all marts into schema `mart` of the attached database `target`; returns rows by `mart.<name>`.

    `con` is a connection of `warehouse.lake.attach` without an open transaction, `snapshot` the number named
    on each verdict, `previous` the snapshot that verdicts are compared with. The same lake and fleet always give
    the same tables. With `run_id` new signals are raised: the only thing that is written to the lake.
    """
    if previous is not None:
        con.execute(f"ATTACH {quoted(str(previous))} AS earlier (READ_ONLY)")
    try:
        _build(con, target, fleet, snapshot, alpha=alpha, power=power, earlier=previous is not None)
    finally:
        if previous is not None:
            con.execute("DETACH earlier")
    change.build(con, target, previous)
    signals.build(con, target, fleet, run_id)
    rows: dict[str, int] = {}
    con.execute("BEGIN")
    for name, mart in mart_columns().items():
        for statement in comments(mart, f"{target}.mart.{name}"):
            con.execute(statement)
        count = con.execute(f"SELECT count(*) FROM {target}.mart.{name}").fetchone()
        rows[f"mart.{name}"] = int(count[0]) if count else 0
    con.execute("COMMIT")
    return rows


def _build(
    con: duckdb.DuckDBPyConnection,
    target: str,
    fleet: Fleet,
    snapshot: int,
    *,
    alpha: float,
    power: float,
    earlier: bool,
) -> None:
    # One transaction: every mart sees the same lake, whatever is committed meanwhile.
    con.execute("BEGIN")
    try:
        prepare(con, fleet)
        _deadlines(con, fleet)
        con.execute(f"CREATE SCHEMA IF NOT EXISTS {target}.mart")
        audit_trail.build(con, target)
        for name in ORDER:
            _mart(con, target, name)
        found = comparability.build(con, target, fleet, snapshot, alpha=alpha, power=power)
        _beside(con, target, found, alpha)
        memory = Memory(con, "earlier" if earlier else None)
        charts.build(con, target, fleet, memory)
        capability.build(con, target, fleet, memory)
        variance.build(con, target, fleet, memory)
        trajectories.build(con, target, fleet, memory)
        memory.write(target)
        # After the trajectories, which know the hours of sensors at fault.
        for name in ("sensor_fault", "sensor_usable"):
            _mart(con, target, name)
        vein.build(con, target, fleet)
        drift.build(con, target)
    except BaseException:
        lake.roll_back(con)
        raise
    con.execute("COMMIT")


def _beside(con: duckdb.DuckDBPyConnection, target: str, found: comparability.Verdicts, alpha: float) -> None:
    """What is shown beside the verdicts: families, all sites at once, ranges, results below detection, failed lots."""
    reference = found.lots.fleet.reference_site
    store(con, target, "comparability_family", families.family_rows(found.lots, found.made))
    store(con, target, "comparability_network", families.network_rows(found.lots, found.sites))
    store(con, target, "comparability_range", ranges.range_rows(found.lots, found.sites))
    store(con, target, "censored_fit", ranges.censored_rows(con, target, reference))
    store(con, target, "failed_lots", ranges.failed_rows(con, target, reference, alpha))


@contextmanager
def assembled(con: duckdb.DuckDBPyConnection, fleet: Fleet, *, hours: bool = True) -> Iterator[str]:
    """A database in memory with the marts that chart series are read from, for acts between publications.

    Without `hours` the readings, of which no chart series is made, are not rolled up.
    """
    con.execute("ATTACH ':memory:' AS assembled")
    try:
        con.execute("BEGIN")
        _in_force(con)
        if hours:
            con.execute((HERE / "channel_hour.sql").read_text("utf-8"))
        con.execute("CREATE SCHEMA IF NOT EXISTS assembled.mart")
        for name in ("assay_long", "batch_wide"):
            _mart(con, "assembled", name)
        comparability.build_lots(con, "assembled", fleet)
        con.execute("COMMIT")
        yield "assembled"
    finally:
        con.execute("DETACH assembled")


def _mart(con: duckdb.DuckDBPyConnection, target: str, name: str) -> None:
    sql = (HERE / f"{name}.sql").read_text("utf-8")
    con.execute(sql.replace("{target}", target).replace("{attribute_columns}", attribute_sql()))


def _deadlines(con: duckdb.DuckDBPyConnection, fleet: Fleet) -> None:
    con.execute(
        "CREATE OR REPLACE TEMP TABLE deadline "
        "(deadline VARCHAR, begins VARCHAR, ends VARCHAR, hours DOUBLE, severity VARCHAR, why VARCHAR)"
    )
    rows = [(name, d.begins, d.ends, d.hours, d.severity, d.why) for name, d in fleet.deadlines.items()]
    if rows:
        con.executemany("INSERT INTO deadline VALUES (?, ?, ?, ?, ?, ?)", rows)
