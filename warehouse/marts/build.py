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
    hours,
    ranges,
    signals,
    trajectories,
    variance,
    vein,
)
from warehouse.marts.columns import attribute_sql, comments, mart_columns
from warehouse.marts.memory import Memory
from warehouse.marts.rows import store, store_parts
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
    "quarantine_open",
    "feed_status",
)


def prepare(con: duckdb.DuckDBPyConnection, fleet: Fleet | None = None) -> None:
    """Create what findings rest on, as temporary tables of the attached lake: nothing is written to it.

    The rows in force and what is judged of them, the hours of sensor channels, the tables of `custody.sql`, judged by
    the fleet's custody limits where `fleet` is given, and the fleet's rules of release.
    """
    # One transaction: each table by itself would ask the catalog for its state again.
    con.execute("BEGIN")
    try:
        _in_force(con)
        hours.of_lake(con)
    except BaseException:
        lake.roll_back(con)
        raise
    con.execute("COMMIT")
    _judged_by(con, fleet)


def _in_force(con: duckdb.DuckDBPyConnection, published: str | None = None) -> None:
    """`in_force_<table>`: the rows in force of every core table, as in database `published` or else of the lake;
    `attribute_word`: unit, scale and partition of the attributes; the tables of `inputs.sql`."""
    taken_back = lake.withdrawn(con) if published is None else frozenset()
    for table in dictionary().tables.values():
        name = table.name
        if table.layer != "core":
            continue
        source = f"{published}.core.{name}"
        if published is not None:
            con.execute(f"DROP TABLE IF EXISTS temp.held_{name}")
        elif table.volume == "large":
            # Readings are too many to copy, and almost never corrected: only then must the newest be picked.
            again = lake.repeats(con, table) or name in taken_back
            source = f"current.{name}" if again else f"lake.core.{name}"
        else:
            # Read once: a rule that asks the lake again waits for its files again.
            source = f"temp.held_{name}"
            rows = lake.in_force_of(table, lake.last_of(table, lake.standing(table, taken_back)))
            con.execute(f"CREATE OR REPLACE TEMP TABLE held_{name} AS {rows}")
        con.execute(f"CREATE OR REPLACE TEMP VIEW in_force_{name} AS SELECT * FROM {source}")
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
    touched: str | None = None,
    *,
    alpha: float = 0.05,
    power: float = 0.8,
    run_id: str | None = None,
) -> dict[str, int]:
    """Build all marts into schema `mart` of the attached database `target`; returns rows by `mart.<name>`.

    `con` is a connection of `warehouse.lake.attach` without an open transaction, `snapshot` the number named on each
    verdict, `previous` the snapshot that verdicts are compared with and parts are taken over from. Where `target` holds
    the core tables as published, marts are made of them, else of the lake. `touched`: `target` holds the marts of
    `previous` too, and only the batches in this table have other readings since; None where that is not known. The same
    lake and fleet always give the same tables. With `run_id` new signals are raised: the only thing that is written to
    the lake.
    """
    if previous is not None:
        con.execute(f"ATTACH {quoted(str(previous))} AS earlier (READ_ONLY)")
    try:
        _build(con, target, fleet, snapshot, touched, alpha=alpha, power=power, earlier=previous is not None)
    finally:
        if previous is not None:
            con.execute("DETACH earlier")
    change.build(con, target, previous)
    signals.build(con, target, fleet, run_id)
    con.execute("BEGIN")
    for name, mart in mart_columns().items():
        con.execute(";".join(comments(mart, f"{target}.mart.{name}")))
    con.execute("COMMIT")
    counts = (f"SELECT 'mart.{name}', count(*) FROM {target}.mart.{name}" for name in mart_columns())
    return dict(con.execute(" UNION ALL ".join(counts)).fetchall())


def _build(
    con: duckdb.DuckDBPyConnection,
    target: str,
    fleet: Fleet,
    snapshot: int,
    touched: str | None,
    *,
    alpha: float,
    power: float,
    earlier: bool,
) -> None:
    # One transaction: every mart sees the same lake, whatever is committed meanwhile.
    con.execute("BEGIN")
    try:
        con.execute(f"CREATE SCHEMA IF NOT EXISTS {target}.mart")
        published = _is_published(con, target)
        _in_force(con, target if published else None)
        hours.build(con, target, touched)
        _judged_by(con, fleet)
        _deadlines(con, fleet)
        audit_trail.build(con, target, f"{target}.history" if published else "lake.core")
        for name in ORDER:
            _mart(con, target, name)
        memory = Memory(con, "earlier" if earlier else None)
        found = comparability.build(con, target, fleet, snapshot, memory, alpha=alpha, power=power)
        _beside(con, target, found, memory, alpha)
        charts.build(con, target, fleet, memory)
        capability.build(con, target, fleet, memory)
        variance.build(con, target, fleet, memory)
        trajectories.build(con, target, fleet, memory)
        memory.write(target)
        # After the trajectories, which know the hours of sensors at fault.
        hours.build_faults(con, target, touched)
        _mart(con, target, "sensor_usable")
        vein.build(con, target, fleet)
        drift.build(con, target)
    except BaseException:
        lake.roll_back(con)
        raise
    con.execute("COMMIT")


def _beside(
    con: duckdb.DuckDBPyConnection,
    target: str,
    found: comparability.Verdicts,
    memory: Memory,
    alpha: float,
) -> None:
    """What is shown beside the verdicts: families, all sites at once, ranges, results below detection, failed lots."""
    reference = found.lots.fleet.reference_site
    store(con, target, "comparability_family", families.family_rows(found.lots, found.made))
    store_parts(con, target, "comparability_network", families.network_parts(found.lots, found.sites, memory))
    store(con, target, "comparability_range", ranges.range_rows(found.lots, found.sites))
    store(con, target, "censored_fit", ranges.censored_rows(con, target, reference))
    store(con, target, "failed_lots", ranges.failed_rows(con, target, reference, alpha))


@contextmanager
def assembled(con: duckdb.DuckDBPyConnection, fleet: Fleet, *, rolled_up: bool = True) -> Iterator[str]:
    """A database in memory with the marts that chart series are read from, for acts between publications.

    Without `rolled_up` readings, of which no chart series is made, have no hours.
    """
    con.execute("ATTACH ':memory:' AS assembled")
    try:
        con.execute("BEGIN")
        _in_force(con)
        if rolled_up:
            hours.of_lake(con)
        con.execute("CREATE SCHEMA IF NOT EXISTS assembled.mart")
        for name in ("assay_long", "batch_wide"):
            _mart(con, "assembled", name)
        comparability.build_lots(con, "assembled", fleet)
        con.execute("COMMIT")
        yield "assembled"
    finally:
        con.execute("DETACH assembled")


def _is_published(con: duckdb.DuckDBPyConnection, target: str) -> bool:
    return bool(lake.columns_of(con, f"{target}.core.batch"))


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
