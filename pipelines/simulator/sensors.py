"""Sensor readings of every culture, as arrays in canonical units.

Belongs here: the signal model (set points, growth, noise), planted sensor faults and excursions, vectorised by
batch. Does not belong here: tags, units and files of a site (writers/). Units: temp degC, ph, do %, agit rpm,
glucose and lactate mmol/L, vcd 10^6 cells/mL, co2 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .world import Culture, SensorDefect, SiteWorld, World

# channel -> (set point, noise SD, decimals). Glucose, lactate and cell density follow growth instead.
CHANNELS: dict[str, tuple[float, float, int]] = {
    "temp": (37.0, 0.06, 3),
    "ph": (7.15, 0.015, 4),
    "do": (55.0, 1.2, 2),
    "glucose": (8.0, 0.12, 3),
    "lactate": (1.0, 0.10, 3),
    "vcd": (0.5, 0.03, 4),
    "agit": (60.0, 0.4, 2),
    "co2": (5.0, 0.05, 3),
}
GOOD, UNCERTAIN, BAD = 0, 1, 2

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Readings:
    """One batch's readings: frame with batch, suite, channel, ts (UTC, seconds), value, quality, dst."""

    start: datetime
    end: datetime
    frame: pl.DataFrame


def _signal(name: str, days: Array, growth: float) -> Array:
    base = CHANNELS[name][0]
    cells: Array = 0.5 * np.exp(growth * np.clip(days - 1.4, 0, None)) / (1 + np.exp(growth * (days - 7.5)))
    fed: Array = 1 + 0.25 * np.sin(2 * np.pi * days)  # daily medium exchange
    shapes: dict[str, Array] = {
        "vcd": cells,
        "glucose": base * (1 - 0.55 * cells / (cells + 6)) * fed / 1.25,
        "lactate": base + 14 * cells / (cells + 8),
        "do": base - 6 * cells / (cells + 5),
    }
    return shapes.get(name, np.full(days.shape, base))


def readings(culture: Culture, channels: int, minutes: int, defects: list[SensorDefect]) -> Readings:
    """All readings of a culture from start to harvest, on a grid of `minutes`."""
    rng = np.random.default_rng(culture.stream)
    step = minutes * 60
    first = -(-int(culture.start.timestamp()) // step) * step
    seconds = np.arange(first, int(culture.end.timestamp()), step, dtype=np.int64)
    days = (seconds - first) / 86400.0
    growth = float(rng.uniform(0.62, 0.82))
    frames = []
    for name in list(CHANNELS)[:channels]:
        _, noise, decimals = CHANNELS[name]
        value = _signal(name, days, growth) + noise * rng.standard_normal(days.size)
        u = rng.random(days.size)
        quality = np.where(u < 0.002, BAD, np.where(u < 0.006, UNCERTAIN, GOOD)).astype(np.int8)
        value[quality == BAD] = 0.0
        dst = np.zeros(days.size, dtype=bool)
        for defect in defects:
            if defect.channel == name:
                dst |= _plant(defect, seconds, value, quality, noise)
        frames.append(
            pl.DataFrame(
                {
                    "channel": pl.Series([name], dtype=pl.String).new_from_index(0, days.size),
                    "seconds": seconds,
                    "value": np.round(value, decimals),
                    "quality": quality,
                    "dst": dst,
                }
            )
        )
    frame = pl.concat(frames).with_columns(
        pl.lit(culture.batch_id).alias("batch"),
        pl.lit(culture.reactor).alias("suite"),
        pl.from_epoch("seconds", time_unit="s")
        .dt.cast_time_unit("us")
        .dt.replace_time_zone("UTC")
        .alias("ts"),
    )
    return Readings(culture.start, culture.end, frame)


def _plant(
    defect: SensorDefect, seconds: np.ndarray, value: np.ndarray, quality: np.ndarray, noise: float
) -> np.ndarray:
    """Apply a fault in place; returns which readings carry a wrong local hour."""
    begin = int(defect.start.timestamp())
    inside = (seconds >= begin) & (seconds < begin + defect.hours * 3600)
    if defect.kind == "flat_line":
        value[inside] = value[inside][0]
        quality[inside] = GOOD
    elif defect.kind == "drift":
        rise = np.clip((seconds - begin) / (defect.hours * 3600), 0, 1)
        value += np.where(quality == BAD, 0.0, defect.magnitude * noise * rise)
    elif defect.kind == "excursion":
        value[inside & (quality != BAD)] += defect.magnitude
    else:
        return np.asarray(inside)
    return np.zeros(seconds.size, dtype=bool)


def by_day(
    world: World, site: SiteWorld, first: int, last: int, day_of: pl.Expr
) -> list[tuple[int, pl.DataFrame]]:
    """Readings of fleet days first..last-1, one frame per day.

    `day_of` is an expression over `ts` that gives the site's calendar date of a reading. Days that no culture
    touches are absent.
    """
    start = datetime(2025, 11, 3, tzinfo=UTC)
    parts: dict[int, list[pl.DataFrame]] = {}
    for culture in site.cultures:
        from_day, to_day = (culture.start - start).days - 1, (culture.end - start).days + 1
        if to_day < first or from_day >= last:
            continue
        made = readings(
            culture, world.scale.channels, world.scale.minutes, site.sensor_defects.get(culture.batch_id, [])
        )
        dated = made.frame.with_columns(((day_of - start.date()).dt.total_days()).alias("day"))
        for (day,), frame in dated.partition_by(
            "day", as_dict=True, maintain_order=True, include_key=False
        ).items():
            if isinstance(day, int) and first <= day < last:
                parts.setdefault(day, []).append(frame)
    return [(day, pl.concat(parts[day])) for day in sorted(parts)]


def last_moment(day: int) -> datetime:
    """UTC end of a fleet day."""
    return datetime(2025, 11, 3, tzinfo=UTC) + timedelta(days=day + 1)
