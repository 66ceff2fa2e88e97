"""Capability: what each site delivers against the limits in force, with intervals, and whether it moved.

Belongs here: which batches make a period, whose limits hold, and handing values to `warehouse.statistics`. Does not
belong here: indices and intervals (there), control limits (`charts.py`).

A period is the site's newest batches of one attribute in order of start, as many as the fleet declares; the one before
it is the previous period. Values and limits stand on the attribute's own scale (log, logit), where the normal law is
declared to hold: that is the stated method for what is not normal in its own unit. A limit that has no place on the
scale (0 or 100 %) is an open side.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
from scipy import stats

from warehouse.marts.memory import Memory
from warehouse.marts.rows import frame_of, store_parts
from warehouse.plan import Fleet
from warehouse.statistics.bayes import next_lot_inside
from warehouse.statistics.capability import Indices, Specification, capability, change_of, performance
from warehouse.statistics.capability_tails import out_of_specification
from warehouse.statistics.charts import individuals_baseline, individuals_chart
from warehouse.statistics.checked import FloatArray
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.statistics.scales import Scale, forward

DRAWS = 20_000
VALUES = Path(__file__).parent / "capability_values.sql"


def build(con: duckdb.DuckDBPyConnection, target: str, fleet: Fleet, memory: Memory) -> None:
    """Create mart `capability`; needs `assay_long`, `batch_wide` and the tables of `prepare`. Empty without charts."""
    made: list[pl.DataFrame] = []
    if fleet.charts is not None:
        frame = con.execute(VALUES.read_text("utf-8").replace("{target}", target)).pl()
        batches = fleet.charts.capability_batches
        for key, part in frame.group_by(["site", "attribute", "stage"], maintain_order=True):
            if memory.same("capability", key, batches, part.rows()):
                made.append(memory.rows("capability", ("site", "attribute", "stage"), key))
            else:
                made.append(frame_of("capability", [_row(part, batches)]))
    store_parts(con, target, "capability", made)


def _row(part: pl.DataFrame, batches: int) -> dict[str, Any]:
    now = part.tail(batches)
    before = part.head(max(part.height - batches, 0)).tail(batches)
    first = now.row(0, named=True)
    scale: Scale = first["scale"]
    row: dict[str, Any] = {
        "site": first["site"],
        "attribute": first["attribute"],
        "stage": first["stage"],
        "unit": first["unit"],
        "scale": scale,
        "specification": first["specification"],
        "low": first["low"],
        "high": first["high"],
        "law": "normal" if scale == "identity" else f"normal on the {scale} scale",
        "period_from": now["started_at"][0],
        "period_until": now["started_at"][-1],
        "n": now.height,
        "n_censored": int(now["censored"].sum()),
        "n_previous": before.height,
        "inputs_hash": hashlib.md5("|".join(now["records"]).encode(), usedforsecurity=False).hexdigest(),
    }
    refusals: list[str] = []
    try:
        limits = _limits(first["low"], first["high"], scale)
        values = _on_scale(now, scale)
        row |= dict(_chance(values, limits))
        row |= dict(_overall(values, limits))
        row |= dict(_trend(before, values, limits, scale))
    except StatisticsRefusal as refused:
        refusals.append(str(refused))
    else:
        try:
            row |= _within(values, limits)
        except StatisticsRefusal as refused:
            row["cpk_refusal"] = str(refused)
    row["refusal"] = " ".join(refusals) or None
    return row


def _limits(low: float | None, high: float | None, scale: Scale) -> Specification:
    def placed(limit: float | None) -> float | None:
        if limit is None or (scale == "log" and limit <= 0) or (scale == "logit" and not 0 < limit < 100):
            return None
        return float(forward([limit], scale, top=100.0)[0])

    return Specification(placed(low), placed(high))


def _on_scale(part: pl.DataFrame, scale: Scale) -> FloatArray:
    """One value a batch. Raises StatisticsRefusal where one is censored or has no place on the scale."""
    if part["censored"].any():
        raise StatisticsRefusal(
            f"{int(part['censored'].sum())} of {part.height} batches are known only as below or above a limit of "
            "detection; no index can be given."
        )
    return np.array([float(np.mean(forward(results, scale, top=100.0))) for results in part["results"]])


def _overall(values: FloatArray, limits: Specification) -> Iterator[tuple[str, Any]]:
    found = performance(values, limits)
    yield from _index("ppk", found)
    if found.ratio is not None:
        yield "pp", found.ratio.value
        yield "pp_low", found.ratio.lower
        yield "pp_high", found.ratio.upper
    yield "ppk_bound", found.worst_lower_bound
    yield "normality_p", float(stats.shapiro(values).pvalue)


def _index(name: str, found: Indices) -> Iterator[tuple[str, Any]]:
    yield name, found.worst.value
    yield f"{name}_low", found.worst.lower
    yield f"{name}_high", found.worst.upper


def _within(values: FloatArray, limits: Specification) -> dict[str, Any]:
    baseline = individuals_baseline(values)
    unstable = len(individuals_chart(values, baseline).signals)
    # A mean moving range of n values has about 0.6 (n - 1) degrees of freedom (its efficiency against s).
    found = capability(values, baseline, limits, unstable_points=unstable, degrees=0.6 * (values.size - 1))
    return dict(_index("cpk", found))


def _chance(values: FloatArray, limits: Specification) -> Iterator[tuple[str, Any]]:
    found = out_of_specification(values, limits, draws=DRAWS)
    yield "n_out", found.beyond
    yield from zip(("p_out", "p_out_low", "p_out_high"), found.normal, strict=True)
    yield "p_next_inside", next_lot_inside(values, limits.lower, limits.upper)
    yield from zip(("share_out", "share_out_low", "share_out_high"), found.counted, strict=True)


def _trend(
    before: pl.DataFrame, values: FloatArray, limits: Specification, scale: Scale
) -> Iterator[tuple[str, Any]]:
    try:
        previous = performance(_on_scale(before, scale), limits) if before.height else None
    except StatisticsRefusal:
        previous = None
    if previous is None:
        return
    moved = change_of(previous, performance(values, limits))
    yield "ppk_previous", moved.previous
    yield "ppk_change", moved.difference
    yield "ppk_change_low", moved.lower
    yield "ppk_change_high", moved.upper
    yield "trend", "better" if moved.lower > 0 else "worse" if moved.upper < 0 else "no change shown"
