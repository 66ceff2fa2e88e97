"""Drift of results: the newest block against the past, a stated rate of false alarms, nothing where lots are few."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import numpy as np
import pytest

from warehouse.marts import drift
from warehouse.marts.columns import mart_columns

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def judged(series: dict[tuple[str, str], Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """Rows of the mart by site and attribute, of values in time order."""
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        con.execute("ATTACH ':memory:' AS snap")
        con.execute("CREATE SCHEMA snap.mart")
        con.execute(
            "CREATE TABLE snap.mart.assay_long (site_id VARCHAR, attribute VARCHAR, method_id VARCHAR, "
            "sample_point VARCHAR, batch_id VARCHAR, unit VARCHAR, value DOUBLE, operator VARCHAR, "
            "result_at TIMESTAMPTZ, taken_at TIMESTAMPTZ)"
        )
        rows = [
            [site, a, "m", "release", f"B{n}", "%", float(v), "=", BEGIN + timedelta(days=n), None]
            for (site, a), values in series.items()
            for n, v in enumerate(values)
        ]
        con.executemany(f"INSERT INTO snap.mart.assay_long VALUES ({', '.join('?' * 10)})", rows)
        drift.build(con, "snap")
        cursor = con.execute("SELECT * FROM snap.mart.drift")
        names = [c[0] for c in cursor.description or []]
        assert names == list(mart_columns()["drift"].columns)
        told = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return {(r["site_id"], r["attribute"]): r for r in told}


def test_a_shift_of_the_newest_block_is_told_with_its_size() -> None:
    rng = np.random.default_rng(1)
    moved = np.concatenate([rng.normal(90, 1, 24), rng.normal(86, 1, 8)])
    told = judged({("a", "moved"): moved, ("a", "same"): rng.normal(90, 1, 32), ("a", "few"): moved[:15]})
    assert set(told) == {("a", "moved"), ("a", "same")}
    row = told["a", "moved"]
    assert (row["drifted"], row["severity"], row["n_before"], row["n_block"]) == (True, "warning", 24, 8)
    assert row["shift"] == pytest.approx(-4, abs=1)
    assert row["level"] == 0.005
    assert told["a", "same"]["drifted"] is False


def test_without_drift_a_site_raises_an_alarm_in_at_most_one_block_of_a_hundred() -> None:
    rng = np.random.default_rng(2)
    sites, attributes = 120, 2
    series = {(f"s{s}", f"a{a}"): rng.lognormal(0, 0.5, 24) for s in range(sites) for a in range(attributes)}
    told = judged(series)
    assert len(told) == sites * attributes
    alarmed = {site for (site, _), row in told.items() if row["drifted"]}
    # 120 blocks at 1 %: 6 or more would happen once in 500 times.
    assert len(alarmed) < 6
