"""Traces for drawing: a spike survives thinning, a gap is no line, what stands out is told with its hours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from dashboards.providers.sensors import POINTS, SensorProvider
from dashboards.providers.snapshot import Snapshot
from dashboards.security.scope import Scope

ZERO = datetime(2026, 1, 1, tzinfo=UTC)
SPIKE = 17_777


@pytest.fixture
def provider(tmp_path: Path) -> SensorProvider:
    """A snapshot of twelve batches: 40,000 readings in the first, with one spike and one gap of two hours."""
    path = tmp_path / "fleet-1.duckdb"
    with duckdb.connect(str(path)) as con:
        con.execute("CREATE SCHEMA core; CREATE SCHEMA mart; CREATE SCHEMA meta; CREATE SCHEMA quality")
        con.execute(
            "CREATE TABLE meta.snapshot AS SELECT * FROM (VALUES ('number', '1')) v(fact, value); "
            "CREATE TABLE core.reading AS SELECT 's' AS site_id, 'B0' AS batch_id, 'T' AS channel, "
            "'temperature_c' AS quantity_name, TIMESTAMPTZ '2026-01-01 00:00:00+00' + to_seconds(10 * i + "
            "CASE WHEN i > 20000 THEN 7200 ELSE 0 END) AS read_at, "
            f"CASE WHEN i = {SPIKE} THEN 45.0 ELSE 37 + 0.1 * sin(i) END AS reading, "
            "CASE WHEN i = 5 THEN 'bad' ELSE 'good' END AS reading_status FROM range(40000) t(i); "
            "CREATE TABLE core.unit_operation (site_id VARCHAR, batch_id VARCHAR, unit_procedure VARCHAR, "
            "operation_started_at TIMESTAMPTZ); "
            "CREATE TABLE mart.batch_wide AS SELECT 's' AS site_id, 'B' || i AS batch_id, "
            "TIMESTAMPTZ '2026-01-01 00:00:00+00' AS batch_started_at FROM range(12) t(i); "
            # Batch 3 runs hot from hour 20 to 29; no other batch does.
            "CREATE TABLE mart.sensor_hour AS SELECT 's' AS site_id, 'B' || b AS batch_id, 'T' AS channel, "
            "'temperature_c' AS quantity_name, TIMESTAMPTZ '2026-01-01 00:00:00+00' + to_hours(h) AS hour_at, "
            "37 + 0.01 * b + CASE WHEN b = 3 AND h BETWEEN 20 AND 29 THEN 1 ELSE 0 END AS mean "
            "FROM range(12) t(b), range(60) u(h)"
        )
    return SensorProvider(Snapshot(path))


SCOPE = Scope(("s",))


def test_a_spike_survives_thinning_and_a_gap_breaks_the_line(provider: SensorProvider) -> None:
    [run] = provider.runs(SCOPE, [("s", "B0")])
    assert run.zero == ZERO
    [trace] = provider.traces(SCOPE, run)
    assert len([v for v in trace.values if v is not None]) <= POINTS
    assert max(v for v in trace.values if v is not None) == 45.0
    assert trace.values.count(None) == 1
    assert trace.bad_hours == (round(50 / 3600, 4),)
    [gap] = provider.gaps(SCOPE, run)
    assert gap.to_at - gap.from_at == timedelta(hours=2, seconds=10)


def test_a_zoom_shows_every_reading(provider: SensorProvider) -> None:
    [run] = provider.runs(SCOPE, [("s", "B0")])
    [trace] = provider.traces(SCOPE, run, 10, 11)
    assert len(trace.values) == 361


def test_a_stretch_that_no_other_batch_showed_stands_out(provider: SensorProvider) -> None:
    runs = provider.runs(SCOPE, [("s", "B3"), ("s", "B4")])
    envelopes = provider.envelopes(SCOPE, "s", ["B3"])
    assert envelopes[0].n_batches == 11
    hourly = provider.hourly(SCOPE, runs)
    [event] = provider.excursions(SCOPE, runs[0], envelopes, hourly)
    assert event.what.startswith("10 hourly means beyond everything that the site's 11 other batches")
    assert (event.from_h, event.to_h) == (20, 30)
    assert provider.excursions(SCOPE, runs[1], provider.envelopes(SCOPE, "s", ["B4"]), hourly) == []


def test_another_site_sees_nothing(provider: SensorProvider) -> None:
    assert provider.batches(Scope(("other",))) == []
    assert provider.runs(Scope(("other",)), [("s", "B0")]) == []
    [run] = provider.runs(SCOPE, [("s", "B0")])
    assert provider.traces(Scope(("other",)), run) == []
    assert provider.hourly(Scope(("other",)), [run]) == []
    assert provider.channels(Scope(("other",)), run) == []
