"""Planted truth through the watching code: false alarms against the budget, delays, excursions, variance components.

`python -m warehouse.verification.watching --seeds 20` writes `docs/validation/watch.md`. Each table compares what the
code that builds the marts does with what was planted, with the Monte-Carlo error; a test runs a sample of it. Belongs
here: drawing fleets and counting. Does not belong here: published values (`run.py`), any method.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl

from warehouse.marts.chart_kinds import Parameters, Phase, estimate, points
from warehouse.marts.trajectories import EMPTY, declared
from warehouse.marts.variance import components
from warehouse.plan import Charts, ExcursionLimit
from warehouse.statistics.checked import FloatArray
from warehouse.statistics.estimated_limits import (
    ewma_delay,
    ewma_drift_delay,
    individuals_delay,
    individuals_drift_delay,
)

PAGE = Path(__file__).parent.parent.parent / "docs" / "validation" / "watch.md"
CHARTS = Charts(dated=date(2025, 1, 1), approved_by_role="quality", baseline_batches=20)
SERIES, POINTS, BUDGET = (
    32,
    60,
    4.0,
)  # a fleet of four sites and eight attributes, sixty batches a site and year
START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Line:
    """One comparison: what was wanted, what was seen, its Monte-Carlo standard error."""

    what: str
    wanted: float
    seen: float
    error: float

    @property
    def agrees(self) -> bool:
        """Within three standard errors."""
        return abs(self.seen - self.wanted) <= 3.0 * self.error


def _phase(values: FloatArray, kind: str = "measured") -> Phase:
    n = values.shape[0]
    names = pl.Series([f"B{i}" for i in range(n)], dtype=pl.String)
    at = pl.Series([START], dtype=pl.Datetime("us", "UTC")).new_from_index(0, n)
    together = tuple(f"attribute {i}" for i in range(values.shape[-1])) if kind == "together" else ()
    return Phase(kind, names, at, values, names, names=together)


def _rung(values: FloatArray, told: Parameters, chart: str) -> np.ndarray:
    """Which new points ring, laid against limits of a baseline that they are no part of."""
    kind = "measured" if values.ndim == 1 else "together"
    (frame,) = (f for f in points(_phase(values, kind), told) if f["chart"][0] == chart)
    return frame["outside"].to_numpy()


def false_alarms(seeds: range, years: int = 5) -> Iterator[Line]:
    """Alarms a year of a quiet fleet whose limits were frozen on 20 batches each, against the declared budget."""
    rate = BUDGET / (SERIES * POINTS * 2)
    counts: dict[str, list[float]] = {"I": [], "EWMA": []}
    for seed in seeds:
        rng = np.random.default_rng((seed, 1))
        rung = {"I": 0, "EWMA": 0}
        for _ in range(SERIES):
            told = estimate(_phase(rng.standard_normal(CHARTS.baseline_batches)), CHARTS, rate)
            new = rng.standard_normal(POINTS * years)
            for chart in rung:
                rung[chart] += int(_rung(new, told, chart).sum())
        for chart, count in rung.items():
            counts[chart].append(count / years)
    for chart, found in counts.items():
        yield Line(f"false alarms a year, {chart} of {SERIES} series", BUDGET / 2, *_mean(found))
    both = [a + b for a, b in zip(*counts.values(), strict=True)]
    yield Line("false alarms a year, the fleet's budget", BUDGET, *_mean(both))


def together(
    seeds: range, years: int = 5, sites: int = 4, attributes: int = 4, fleets: int = 20
) -> Iterator[Line]:
    """Alarms a year of T2 charts of correlated attributes, one a site, limits frozen on 20 batches each.

    A few poor baselines ring often and most never, so each seed draws many fleets.
    """
    rate = BUDGET / (SERIES * POINTS * 2)
    correlated = np.full((attributes, attributes), 0.5) + 0.5 * np.eye(attributes)
    root = np.linalg.cholesky(correlated)
    found: list[float] = []
    for seed in seeds:
        rng = np.random.default_rng((seed, 5))
        rung = 0
        for _ in range(sites * fleets):
            told = estimate(_phase(rng.standard_normal((20, attributes)) @ root.T, "together"), CHARTS, rate)
            new = rng.standard_normal((POINTS * years, attributes)) @ root.T
            rung += int(_rung(new, told, "T2").sum())
        found.append(rung / years / fleets)
    yield Line(
        f"false alarms a year, T2 of {attributes} attributes at {sites} sites",
        rate * sites * POINTS,
        *_mean(found),
    )


def delays(seeds: range, series: int = 20, baseline: int = 50) -> Iterator[Line]:
    """Batches from a planted step, or the start of a planted drift, to the alarm, against the run length computed for
    limits of such a baseline."""
    rate = BUDGET / (SERIES * POINTS * 2)
    charts = CHARTS.model_copy(update={"baseline_batches": baseline})
    planted = [("EWMA", "step", 1.0), ("EWMA", "step", 2.0), ("I", "step", 3.0),
               ("EWMA", "drift", 0.05), ("EWMA", "drift", 0.2), ("I", "drift", 0.1)]  # fmt: skip
    found: dict[tuple[str, str, float], list[float]] = {}
    told: Parameters = {}
    for seed in seeds:
        rng = np.random.default_rng((seed, 2))
        for _ in range(series):
            told = estimate(_phase(rng.standard_normal(baseline)), charts, rate)
            noise = rng.standard_normal(1500)
            for chart, kind, size in planted:
                shift = size if kind == "step" else size * np.arange(1, noise.size + 1)
                rung = _rung(noise + shift, told, chart)
                found.setdefault((chart, kind, size), []).append(float(np.argmax(rung)) + 1.0)
    k, width, weight = told["width"], told["ewma_width"], told["ewma_weight"]
    for (chart, kind, size), seen in found.items():
        if chart == "EWMA":
            computed = ewma_delay if kind == "step" else ewma_drift_delay
            wanted = computed(size, width, weight, baseline)
        else:
            wanted = (individuals_delay if kind == "step" else individuals_drift_delay)(size, k, baseline)
        what = f"a step of {size:g} SD" if kind == "step" else f"a drift of {size:g} SD a batch"
        yield Line(f"batches to find {what}, {chart}, baseline of {baseline}", wanted, *_mean(seen))


def excursions(seeds: range, batches: int = 12) -> Iterator[Line]:
    """Planted excursions found, and found ones planted, with faulty channels beside; a reading every ten minutes."""
    hits = planted = reported = 0
    for seed in seeds:
        con, truth = _sensors(np.random.default_rng((seed, 3)), batches)
        sql = Path(__file__).parent.parent / "marts" / "excursion.sql"
        con.execute(sql.read_text("utf-8").replace("{target}", "snap"))
        rows = con.execute("SELECT batch_id, started_at, ended_at FROM snap.mart.excursion").fetchall()
        con.close()
        planted, reported = planted + len(truth), reported + len(rows)
        for batch, begins, ends in truth:
            hits += any(b == batch and s <= ends and e >= begins for b, s, e in rows)
    for what, whole in (("recall", planted), ("precision", reported)):
        share = hits / whole if whole else 0.0
        # Not below the error of one in all, so that a perfect score is not taken as certain.
        error = max(math.sqrt(share * (1 - share) / max(whole, 1)), 1 / max(whole, 1))
        yield Line(f"{what} of {planted} planted excursions", 1.0, share, error)


def _sensors(
    rng: np.random.Generator, batches: int
) -> tuple[duckdb.DuckDBPyConnection, list[tuple[str, datetime, datetime]]]:
    """Tables that excursion.sql reads: each batch with an excursion or none, some with a channel at fault as deep."""
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    con.execute("ATTACH ':memory:' AS snap")
    con.execute("CREATE SCHEMA snap.mart")
    limits = {"temperature_c": ExcursionLimit(low=36, high=38, gap_minutes=30, shortest_minutes=30)}
    declared(con, EMPTY.model_copy(update={"excursions": limits}))
    truth: list[tuple[str, datetime, datetime]] = []
    frames, faulty = [], []
    for i in range(batches):
        batch, n = f"B{i}", 6 * 24 * 4
        at = [START + timedelta(minutes=10 * k) for k in range(n)]
        values = 37 + 0.12 * rng.standard_normal(n)
        begin = int(rng.integers(10, n - 40))
        length, depth = int(rng.integers(8, 30)), float(rng.uniform(1.6, 3.0)) * rng.choice((-1, 1))
        if i % 3 != 2:
            values[begin : begin + length] += depth
            if i % 3 == 0:
                truth.append((batch, at[begin], at[begin + length - 1]))
            else:
                faulty += [
                    {"batch_id": batch, "hour_at": t.replace(minute=0)} for t in at[begin : begin + length]
                ]
        frames.append(pl.DataFrame({"batch_id": [batch] * n, "read_at": at, "reading": values}))
    read = pl.concat(frames).with_columns(
        pl.lit("a").alias("site_id"),
        pl.lit("T").alias("channel"),
        pl.lit("temperature_c").alias("quantity_name"),
    )
    faults = pl.DataFrame(faulty, schema={"batch_id": pl.String, "hour_at": pl.Datetime("us", "UTC")})
    con.register("read", read)
    con.register("faults", faults)
    con.execute("CREATE TEMP TABLE in_force_reading AS SELECT *, 'good' AS reading_status FROM read")
    con.execute(
        "CREATE TEMP TABLE channel_hour AS SELECT site_id, batch_id, channel, quantity_name, min(reading) AS minimum, "
        "max(reading) AS maximum FROM read GROUP BY ALL"
    )
    con.execute(
        "CREATE TEMP TABLE batch_step AS SELECT site_id, batch_id, 'expansion' AS step, "
        "min(read_at) AS from_at, max(read_at) AS until_at FROM read GROUP BY ALL"
    )
    con.execute(
        "CREATE TEMP TABLE faulty_hour AS SELECT DISTINCT 'a' AS site_id, 'T' AS channel, * FROM faults"
    )
    return con, truth


def coverage(seeds: range) -> Iterator[Line]:
    """How often the 95 % interval of a variance component holds the planted one."""
    planted = {
        "site": 0.4, "suite": 0.2, "operator": 0.25, "reagent_lot": 0.3, "time": 0.2, "patient": 0.6, "assay": 0.15,
    }  # fmt: skip
    held = dict.fromkeys(planted, 0)
    for seed in seeds:
        rng = np.random.default_rng((seed, 4))
        drawn: dict[tuple[str, str], float] = {}
        rows: list[dict[str, Any]] = []
        for site in "abcdefgh":
            for i in range(24):
                told = {
                    "site": site,
                    "suite": f"{site}{i % 4}",
                    "operator": f"{site}{(i * 7 + i // 5) % 5}",
                    "lot": f"{site}{i // 4}",
                    "month": f"2026-{1 + i // 3:02d}",
                    "patient": f"{site}-{i}",
                }
                level = 0.0
                for name, label in (told | {"month": f"{site}{told['month']}"}).items():
                    component = {"lot": "reagent_lot", "month": "time"}.get(name, name)
                    if (name, label) not in drawn:
                        drawn[name, label] = float(rng.normal(0, planted[component]))
                    level += drawn[name, label]
                for _ in range(2):
                    value = level + float(rng.normal(0, planted["assay"]))
                    rows.append({**told, "value": value})
        for row in components(pl.DataFrame(rows), "identity"):
            if row["component"] in held and row.get("sd_high") is not None:
                held[row["component"]] += row["sd_low"] <= planted[row["component"]] <= row["sd_high"]
    n = len(seeds)
    for name, count in held.items():
        yield Line(
            f"95 % intervals that hold the planted {name}", 0.95, count / n, math.sqrt(0.95 * 0.05 / n)
        )
    every = sum(held.values()) / (n * len(planted))
    yield Line(
        "95 % intervals that hold, all components", 0.95, every, math.sqrt(0.95 * 0.05 / (n * len(planted)))
    )


def _mean(found: list[float]) -> tuple[float, float]:
    array = np.array(found)
    spread = float(array.std(ddof=1)) if array.size > 1 else float("inf")
    return float(array.mean()), spread / math.sqrt(array.size)


def page(seeds: int) -> str:
    """The page in Markdown, from so many seeds each."""
    parts: dict[str, tuple[Callable[[range], Iterator[Line]], int]] = {
        "False alarms of a quiet fleet": (false_alarms, seeds),
        "False alarms of attributes together": (together, seeds),
        "Detection delay": (delays, seeds),
        "Excursions": (excursions, seeds),
        "Variance components": (coverage, seeds),
    }
    lines = [
        "# Watching: planted truth",
        "",
        f"Written by `python -m warehouse.verification.watching --seeds {seeds}`. Wanted is the budget, the computed",
        "run length, perfection or the nominal rate; seen is what the code behind the marts did with planted data;",
        "the error is one Monte-Carlo standard error. A row agrees within three of them. Limits are frozen on",
        "baselines of 20 batches (delays: 50) with the widths that the false-alarm budget asks for: centre and spread",
        "are estimated, not known. A sensor at fault is as deep as an excursion, and none may be reported for it.",
        "",
    ]
    for title, (part, n) in parts.items():
        began = time.perf_counter()
        lines += [f"## {title}", "", "| what | wanted | seen | error | |", "|---|---|---|---|---|"]
        for line in part(range(n)):
            word = "agrees" if line.agrees else "**differs**"
            lines.append(f"| {line.what} | {line.wanted:.4g} | {line.seen:.4g} | {line.error:.2g} | {word} |")
        lines.append("")
        print(f"{title}: {time.perf_counter() - began:.0f} s")
    return "\n".join(lines)


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description="Planted truth through the watching code.")
    parser.add_argument("--seeds", type=int, default=20)
    seeds = parser.parse_args().seeds
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(seeds), encoding="utf-8")


if __name__ == "__main__":
    main()
