"""Sensors: flat lines and drifts of many lengths, sizes, rates and resolutions; sound sensors are left alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from pipelines.validation.findings import find
from tests.unit.conftest import together

START = datetime(2026, 2, 1, tzinfo=UTC)
BATCHES = 8
DAYS = 6


def series(seed: int, step_min: int, *, mean: float = 37.0, noise: float = 0.05, decimals: int = 3) -> Any:
    rng = np.random.default_rng(seed)
    return np.round(mean + noise * rng.standard_normal(DAYS * 24 * 60 // step_min), decimals)


@together
def fill(lake: Any, channels: dict[tuple[str, str, str], Any], step_min: int) -> None:
    """Readings of (batch, channel, quantity) → values, every `step_min` minutes; a value that is no number is bad."""
    rows = []
    for (batch, channel, quantity), values in channels.items():
        name = {"site_id": "a", "batch_id": batch, "channel": channel, "quantity_name": quantity}
        for i, value in enumerate(values):
            status = "good" if np.isfinite(value) else "bad"
            moment = (START + timedelta(minutes=i * step_min)).isoformat()
            number = float(value) if np.isfinite(value) else 0.0
            rows.append(name | {"read_at": moment, "reading": number, "reading_status": status})
    lake.add("reading", *rows)


def found(lake: Any, code: str) -> set[str]:
    find(lake.con, "run")
    rows = lake.all("SELECT subject FROM lake.quality.finding WHERE reason_code = ?", [code])
    return {r["subject"] for r in rows}


def fleet(step_min: int, quantity: str = "temperature_c", **told: Any) -> dict[tuple[str, str, str], Any]:
    return {(f"B{b}", "T", quantity): series(b, step_min, **told) for b in range(BATCHES)}


@pytest.mark.parametrize(
    ("step_min", "decimals", "hours", "offset_min"),
    [(60, 3, 7, 0), (30, 2, 6, 90), (30, 1, 24, 30), (15, 3, 6, 45), (20, 2, 24, 20)],
)
def test_a_flat_line_of_six_hours_or_more_is_found(
    small_lake: Any, step_min: int, decimals: int, hours: int, offset_min: int
) -> None:
    channels = fleet(step_min, decimals=decimals)
    first = (48 * 60 + offset_min) // step_min
    flat = channels["B3", "T", "temperature_c"]
    flat[first : first + hours * 60 // step_min] = flat[first]
    fill(small_lake, channels, step_min)
    assert found(small_lake, "sensor_flat_line") == {"B3|T"}


def test_a_shorter_stop_bad_readings_and_a_set_point_are_no_flat_lines(small_lake: Any) -> None:
    step_min = 30
    channels = fleet(step_min)
    short = channels["B1", "T", "temperature_c"]
    short[100:110] = short[100]
    channels["B2", "T", "temperature_c"][100:140] = np.nan
    for b in range(BATCHES):
        # A controller that reports its set point: the same for days, then another.
        channels[f"B{b}", "RPM", "agitation_rpm"] = np.repeat([30.0, 60.0], DAYS * 24)
        # A resolution so coarse that chance repeats values for hours.
        channels[f"B{b}", "PH", "ph"] = series(50 + b, step_min, mean=7.2, noise=0.02, decimals=1)
    fill(small_lake, channels, step_min)
    assert found(small_lake, "sensor_flat_line") == set()


def test_a_flat_line_across_a_bad_reading_is_one(small_lake: Any) -> None:
    channels = fleet(30)
    flat = channels["B3", "T", "temperature_c"]
    flat[100:120] = flat[100]
    flat[110] = np.nan
    fill(small_lake, channels, 30)
    assert found(small_lake, "sensor_flat_line") == {"B3|T"}


@pytest.mark.parametrize(("size", "from_day", "sign"), [(3.0, 0, 1), (3.0, 3, -1), (8.0, 4, 1)])
def test_a_slow_drift_is_found(small_lake: Any, size: float, from_day: int, sign: int) -> None:
    channels = fleet(60)
    n = DAYS * 24
    ramp = np.clip((np.arange(n) - from_day * 24) / (n - from_day * 24), 0, None)
    channels["B5", "T", "temperature_c"] = channels["B5", "T", "temperature_c"] + sign * size * 0.05 * ramp
    fill(small_lake, channels, 60)
    assert found(small_lake, "sensor_drift") == {"B5|T"}


def test_what_all_batches_do_and_what_is_not_controlled_is_no_drift(small_lake: Any) -> None:
    n = DAYS * 24
    channels: dict[tuple[str, str, str], Any] = {}
    for b in range(BATCHES):
        age = np.arange(n) / n
        # Oxygen falls as every culture grows, a little differently each.
        channels[f"B{b}", "DO", "dissolved_oxygen_pct"] = (
            series(b, 60, mean=60, noise=1.0) - (8 + 0.3 * b) * age
        )
        channels[f"B{b}", "GLC", "glucose_mmol_l"] = series(20 + b, 60, mean=6, noise=0.1) - 3 * age
        # One jump is no drift of the sensor: the set point was changed in all.
        channels[f"B{b}", "T", "temperature_c"] = series(40 + b, 60) - 2.0 * (age > 0.7)
    fill(small_lake, channels, 60)
    assert found(small_lake, "sensor_drift") == set()


def test_sound_sensors_give_no_finding(small_lake: Any) -> None:
    kinds = [("temperature_c", 37, 0.05), ("ph", 7.2, 0.02), ("agitation_rpm", 60, 0.4)]
    channels = {
        (f"B{b}", quantity, quantity): series(1000 + 10 * b + k, 60, mean=mean, noise=noise)
        for b in range(30)
        for k, (quantity, mean, noise) in enumerate(kinds)
    }
    fill(small_lake, channels, 60)
    assert found(small_lake, "sensor_drift") | found(small_lake, "sensor_flat_line") == set()
