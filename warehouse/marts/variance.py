"""Variance components: how much of an attribute's spread is site, suite, operator, reagent lot, time, patient, assay.

Belongs here: which results and factors enter, and which cannot be told apart. Does not belong here: the fit and its
intervals (`warehouse.statistics.mixed`, `mixed_profile`).

One random intercept a factor, crossed, on the attribute's scale of the plan: site; suite, operator role, vector lot and
calendar month within the site; patient. What is left is the assay (replicates of one sample) - or, where no batch has
replicates, patient and assay together, and the row says so. REML estimates, profile-likelihood intervals.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl

from warehouse.marts.memory import Memory
from warehouse.marts.rows import frame_of, store_parts
from warehouse.plan import Fleet
from warehouse.statistics.mixed import codes, fit_mixed
from warehouse.statistics.mixed_profile import profile_intervals
from warehouse.statistics.refusal import StatisticsRefusal

LEVEL = 0.95
PRECISION = 1e-3
LEAST = 20
METHOD = "crossed random intercepts, REML; profile-likelihood interval"
# Component of the mart → labels that make its levels.
FACTORS: dict[str, tuple[str, ...]] = {
    "site": ("site",),
    "suite": ("site", "suite"),
    "operator": ("site", "operator"),
    "reagent_lot": ("site", "lot"),
    "time": ("site", "month"),
    "patient": ("site", "patient"),
}
RESULTS = Path(__file__).parent / "variance_results.sql"


def build(con: duckdb.DuckDBPyConnection, target: str, fleet: Fleet, memory: Memory) -> None:
    """Create mart `variance_component`; needs `comparability_lots`, `assay_long`, `batch_wide`, tables of `prepare`."""
    made: list[pl.DataFrame] = []
    frame = con.execute(RESULTS.read_text("utf-8").replace("{target}", target)).pl()
    for key, part in frame.group_by(["attribute", "measured_as"], maintain_order=True):
        attribute, measured_as = key
        scale = fleet.plan.attributes[str(attribute)].scale
        if memory.same("variance_component", key, scale, part):
            made.append(memory.rows("variance_component", ("attribute", "measured_as"), key))
            continue
        packed = "|".join([scale, *(str(cell) for row in part.iter_rows() for cell in row)])
        told = {
            "attribute": attribute,
            "measured_as": measured_as,
            "scale": scale,
            "n_results": part.height,
            "n_batches": part.select("site", "batch_id").n_unique(),
            "method": METHOD,
            "inputs_hash": hashlib.md5(packed.encode(), usedforsecurity=False).hexdigest(),
        }
        made.append(frame_of("variance_component", (told | row for row in components(part, scale))))
    store_parts(con, target, "variance_component", made)


def components(part: pl.DataFrame, scale: str) -> Iterator[dict[str, Any]]:
    """Rows of the mart for one attribute: results with `value` and the columns that FACTORS names."""
    values = part["value"].to_numpy()
    y = np.log(values) if scale == "log" else np.log(values / (100 - values)) if scale == "logit" else values
    factors, merged = _told_apart(part)
    left = "assay" if "patient" in factors else "patient and assay"
    if y.size < LEAST:
        told = f"{y.size} results; {LEAST} are needed."
        yield {"component": left, "refusal": told}
        return
    try:
        one = np.ones((y.size, 1))
        fit = fit_mixed(y, one, factors)
        ends = profile_intervals(y, one, factors, level=LEVEL, effects=False, precision=PRECISION)
    except StatisticsRefusal as refused:
        yield {"component": left, "refusal": str(refused)}
        return
    total = sum(fit.variances.values())
    for name in [*factors, "residual"]:
        low, high = ends.sd[name]
        yield {
            "component": left if name == "residual" else name,
            "levels": None if name == "residual" else fit.levels[name],
            "variance": fit.variances[name],
            "sd": math.sqrt(fit.variances[name]),
            "sd_low": low,
            "sd_high": high,
            "share": fit.variances[name] / total,
        }
    for name, why in merged.items():
        yield {"component": name, "refusal": why}


def _told_apart(part: pl.DataFrame) -> tuple[Mapping[str, list[str]], dict[str, str]]:
    """Factors that the results can tell apart, as labels a result; the others, with why."""
    kept: dict[str, list[str]] = {}
    seen: dict[tuple[int, ...], str] = {}
    merged: dict[str, str] = {}
    for name, columns in FACTORS.items():
        labels = [
            "|".join("" if c is None else str(c) for c in row) for row in part.select(columns).iter_rows()
        ]
        missing = sum(row[-1] is None for row in part.select(columns).iter_rows())
        grouping = tuple(codes(labels).tolist())
        levels = len(set(grouping))
        if missing > part.height // 2:
            merged[name] = f"{missing} of {part.height} results do not tell it."
        elif levels < 2:
            merged[name] = "There is only one; its share cannot be told."
        elif levels == part.height:
            merged[name] = "Each result has its own: it cannot be told from the assay."
        elif grouping in seen:
            merged[name] = f"It changes only where {seen[grouping]} does; the two cannot be told apart."
        else:
            kept[name], seen[grouping] = labels, name
    return kept, merged
