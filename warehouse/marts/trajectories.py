"""Sensor trajectories: roll-ups by step of the process, the good batches' path, how far each batch strays, and why.

Belongs here: what is declared, the order of the SQL files, the multiway model and the metabolic rates of marts. Does
not belong here: arithmetic (`warehouse.statistics`), sensors at fault (`pipelines/validation` finds them; here they
are left out and never count as a deviation of the process).

Multiway PCA (Nomikos & MacGregor 1995): one model a product and process version, fitted on the good batches, unfolded
batch by batch over the moments at which nearly all of them have a reading. One that lacks too many is not projected.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl

from warehouse.marts.memory import Memory
from warehouse.marts.rows import frame_of, store_parts
from warehouse.plan import Fleet, Trajectories
from warehouse.statistics.checked import BoolArray, FloatArray
from warehouse.statistics.metabolism import lactate_yield, specific_glucose_uptake, specific_growth_rate
from warehouse.statistics.mspc import PcaModel, by_channel, fit_pca, project, spe_limit, t2_limit
from warehouse.statistics.refusal import StatisticsRefusal

HERE = Path(__file__).parent
FILES = ("trajectory", "golden_envelope", "trajectory_deviation", "excursion")
# A moment belongs to the model where this share of the good batches has it; a batch needs this share of the moments.
ENOUGH = 0.9
ALPHA = 0.01
# Cells double about once a day: rates over less than a day are noise of the sensor.
RATE_HOURS = 24.0
CELLS_PER_LITRE = 1e9  # of 10^6 cells/mL
BATCH = ("site_id", "batch_id")
MODEL = ("product_id", "protocol_version")
EMPTY = Trajectories(dated=date(1970, 1, 1), approved_by_role="none")


def build(con: duckdb.DuckDBPyConnection, target: str, fleet: Fleet, memory: Memory) -> None:
    """Create the trajectory marts; needs `batch_wide` and the tables of `prepare`. Empty where none are declared."""
    declared(con, fleet.trajectories or EMPTY, empty=fleet.trajectories is None)
    for name in FILES:
        con.execute((HERE / f"{name}.sql").read_text("utf-8").replace("{target}", target))
    models: list[pl.DataFrame] = []
    parts: list[pl.DataFrame] = []
    rates: list[pl.DataFrame] = []
    if fleet.trajectories is not None:
        models, parts = _models(con, target, fleet.trajectories.components, memory)
        rates = _rates(con, target, memory)
    store_parts(con, target, "trajectory_model", models)
    store_parts(con, target, "trajectory_contribution", parts)
    store_parts(con, target, "metabolic_rate", rates)


def declared(con: duckdb.DuckDBPyConnection, told: Trajectories, *, empty: bool = False) -> None:
    """Temporary tables `trajectory_setting` and `excursion_limit` that the SQL files read."""
    con.execute(
        "CREATE OR REPLACE TEMP TABLE trajectory_setting "
        "(bin_hours DOUBLE, good_until DATE, good_batches VARCHAR[], good_minimum BIGINT)"
    )
    if not empty:
        row = [told.bin_hours, told.good_until, list(told.good_batches), told.good_minimum]
        con.execute("INSERT INTO trajectory_setting VALUES (?, ?, ?, ?)", row)
    con.execute(
        "CREATE OR REPLACE TEMP TABLE excursion_limit "
        "(quantity_name VARCHAR, low DOUBLE, high DOUBLE, gap_minutes DOUBLE, shortest_minutes DOUBLE)"
    )
    limits = [
        [name, limit.low, limit.high, limit.gap_minutes, limit.shortest_minutes]
        for name, limit in told.excursions.items()
    ]
    if limits:
        con.executemany("INSERT INTO excursion_limit VALUES (?, ?, ?, ?, ?)", limits)


def _models(
    con: duckdb.DuckDBPyConnection, target: str, components: int, memory: Memory
) -> tuple[list[pl.DataFrame], list[pl.DataFrame]]:
    """Each model's batches, and what each quantity contributed to them."""
    frame = con.execute(f"""
        SELECT t.site_id, t.batch_id, t.product_id, t.protocol_version, t.good_batch, t.quantity_name,
               t.step || '|' || t.step_hour AS moment, (t.value - e.mean) / e.deviation AS z
        FROM {target}.mart.trajectory_deviation t
        JOIN {target}.mart.golden_envelope e USING (product_id, protocol_version, quantity_name, step, step_hour)
        WHERE e.deviation > 0
        ORDER BY t.product_id, t.protocol_version, t.site_id, t.batch_id, t.quantity_name, t.bin_at""").pl()
    models: list[pl.DataFrame] = []
    parts: list[pl.DataFrame] = []
    for key, part in frame.group_by(MODEL, maintain_order=True):
        product, protocol = key
        if memory.same("trajectory_model", key, components, part):
            own = memory.rows("trajectory_model", MODEL, key)
            models.append(own)
            parts += [
                memory.rows("trajectory_contribution", BATCH, batch)
                for batch in own.select(BATCH).iter_rows()
            ]
            continue
        rows: list[dict[str, Any]] = []
        told: list[dict[str, Any]] = []
        for batch, contributions in _model(
            str(product), None if protocol is None else str(protocol), part, components
        ):
            rows.append(batch)
            told += contributions
        models.append(frame_of("trajectory_model", rows))
        parts.append(frame_of("trajectory_contribution", told))
    return models, parts


def _model(
    product: str, protocol: str | None, part: pl.DataFrame, components: int
) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    batches = part.select("site_id", "batch_id", "good_batch").unique(maintain_order=True)
    good = batches["good_batch"].to_numpy()
    cube, seen, channels = _cube(part, batches, good)
    of: dict[str, Any] = {"product_id": product, "protocol_version": protocol, "n_good": int(good.sum())}
    share = seen.mean(axis=1) if seen.size else np.zeros(len(good))
    refusal: str | None = None
    model: PcaModel | None = None
    fit_on = good & (share >= ENOUGH)
    try:
        if cube.shape[1] == 0:
            raise StatisticsRefusal("There is no moment at which nearly all good batches have a reading.")
        model = fit_pca(cube[fit_on], components, scale=False)
        limits = {
            "t2_train": t2_limit(model.n, components, "phase I beta", ALPHA),
            "t2_new": t2_limit(model.n, components, "phase II F", ALPHA),
            "spe": spe_limit(model, "Box chi-square", ALPHA),
        }
    except StatisticsRefusal as refused:
        refusal, model = str(refused), None
    for i, (site, batch, is_good) in enumerate(batches.iter_rows()):
        row = of | {"site_id": site, "batch_id": batch, "good_batch": is_good, "share_seen": float(share[i])}
        if model is None:
            yield row | {"refusal": refusal}, []
        elif share[i] < ENOUGH:
            told = f"Only {share[i]:.0%} of the model's moments have a reading; {ENOUGH:.0%} are needed."
            yield row | {"refusal": told}, []
        else:
            found = project(model, cube[i : i + 1])
            t2, spe = float(found.t2[0]), float(found.spe[0])
            limit = limits["t2_train"] if fit_on[i] else limits["t2_new"]
            by_t2 = by_channel(found.t2_contributions, len(channels))[0]
            by_spe = by_channel(found.spe_contributions, len(channels))[0]
            yield (
                row
                | {
                    "components": components, "explained": model.explained, "n_fitted": model.n,
                    "t2": t2, "t2_limit": limit,
                    "spe": spe, "spe_limit": limits["spe"], "outside": t2 > limit or spe > limits["spe"],
                    "driver": channels[int(np.argmax(by_spe if spe / limits["spe"] > t2 / limit else by_t2))],
                },
                [
                    {
                        "site_id": site, "batch_id": batch, "quantity_name": channel,
                        "t2_contribution": float(by_t2[c]), "spe_contribution": float(by_spe[c]),
                    }
                    for c, channel in enumerate(channels)
                ],
            )  # fmt: skip


def _cube(
    part: pl.DataFrame, batches: pl.DataFrame, good: BoolArray
) -> tuple[FloatArray, BoolArray, list[str]]:
    """Standardised readings batches x (moments * quantities), 0 (the good batches' mean) where one is missing; which
    were there; the quantities. Only moments that nearly all good batches have, of every quantity that has any."""
    channels = sorted(part["quantity_name"].unique())
    moments = part["moment"].unique(maintain_order=True).to_list()
    row = {b: i for i, b in enumerate(zip(batches["site_id"], batches["batch_id"], strict=True))}
    column = {m: i for i, m in enumerate(moments)}
    place = {c: i for i, c in enumerate(channels)}
    values = np.full((len(row), len(column), len(place)), np.nan)
    rows = np.array([row[b] for b in zip(part["site_id"], part["batch_id"], strict=True)], dtype=np.intp)
    at = np.array([column[m] for m in part["moment"]], dtype=np.intp)
    which = np.array([place[c] for c in part["quantity_name"]], dtype=np.intp)
    values[rows, at, which] = part["z"].to_numpy()
    had = np.isfinite(values)
    common = had[good].mean(axis=0) >= ENOUGH if good.any() else np.zeros(values.shape[1:], dtype=bool)
    used = np.flatnonzero(common.all(axis=1))
    kept, there = values[:, used, :], had[:, used, :]
    flat = np.where(there, kept, 0.0).reshape(len(row), -1)
    return flat, there.reshape(len(row), -1), channels


def _rates(con: duckdb.DuckDBPyConnection, target: str, memory: Memory) -> list[pl.DataFrame]:
    """Rates of every day of the expansion, and of the whole of it, where cells and metabolites were followed."""
    frame = con.execute(f"""
        SELECT site_id, batch_id, quantity_name, bin_at, mean,
               step_hour + (SELECT bin_hours / 2 FROM trajectory_setting) AS hour
        FROM {target}.mart.trajectory
        WHERE step = 'expansion' AND mean IS NOT NULL
          AND quantity_name IN ('viable_density_e6_ml', 'glucose_mmol_l', 'lactate_mmol_l')
        ORDER BY site_id, batch_id, hour""").pl()
    made: list[pl.DataFrame] = []
    for key, part in frame.group_by(BATCH, maintain_order=True):
        if memory.same("metabolic_rate", key, part):
            made.append(memory.rows("metabolic_rate", BATCH, key))
        else:
            made.append(frame_of("metabolic_rate", _rates_of(key[0], key[1], part)))
    return made


def _rates_of(site: Any, batch: Any, part: pl.DataFrame) -> Iterator[dict[str, Any]]:
    wide = part.pivot(on="quantity_name", index="hour", values="mean").sort("hour")
    columns = {name: wide[name].to_numpy() for name in wide.columns}
    hours = columns["hour"]
    start = part["bin_at"].min()
    edges = np.arange(0.0, hours[-1] + RATE_HOURS, RATE_HOURS)
    windows = [(int(a), b - 1e-9) for a, b in pairwise(edges)]
    for day, (low, high) in enumerate(windows, 1):
        inside = (hours >= low) & (hours <= high)
        yield {"site_id": site, "batch_id": batch, "day": day, "from_h": float(low), "until_h": float(edges[day]),
               "started_at": start} | _rate({name: told[inside] for name, told in columns.items()})  # fmt: skip
    yield {"site_id": site, "batch_id": batch, "day": 0, "from_h": 0.0, "until_h": float(hours[-1]),
           "started_at": start} | _rate(columns)  # fmt: skip


def _rate(part: dict[str, FloatArray]) -> dict[str, Any]:
    """Rates of one stretch: `part` holds the hours and the means of each quantity, NaN where there is none.

    Growth mu = d ln X / dt (1/h), uptake qGlc = glucose lost / integral of viable cells (pmol/(cell d)), yield
    Y = lactate made / glucose lost (mol/mol).

    X in cells a litre, metabolites in mmol/L, one litre of medium: what is fed or exchanged is not told, so uptake and
    yield are net of it, and the yield is refused where glucose rose on balance.
    """
    told: dict[str, Any] = {"n_points": len(part["hour"])}
    problems: list[str] = []

    def column(*names: str) -> list[FloatArray] | None:
        if not set(names) <= set(part):
            return None
        whole = np.all([np.isfinite(part[n]) for n in names], axis=0)
        return [part[n][whole] for n in ("hour", *names)]

    cells = column("viable_density_e6_ml")
    if cells is not None:
        try:
            growth = specific_growth_rate(cells[0], cells[1] * CELLS_PER_LITRE)
            told |= {
                "growth_rate": growth.rate,
                "growth_low": growth.lower,
                "growth_high": growth.upper,
                "doubling_h": growth.doubling_hours,
            }
        except StatisticsRefusal as refused:
            problems.append(str(refused))
    fed = column("viable_density_e6_ml", "glucose_mmol_l")
    if fed is not None:
        try:
            uptake = specific_glucose_uptake(fed[0], fed[1] * CELLS_PER_LITRE, fed[2], 1.0)
            told |= {
                "glucose_uptake": uptake.rate,
                "glucose_used": uptake.consumed,
                "n_rises": sum(r < 0 for r in uptake.by_interval),
            }
        except StatisticsRefusal as refused:
            problems.append(str(refused))
    both = column("glucose_mmol_l", "lactate_mmol_l")
    if both is not None:
        try:
            made = lactate_yield(both[1], both[2], 1.0)
            told |= {"lactate_yield": made.ratio, "above_theoretical": made.above_theoretical}
        except StatisticsRefusal as refused:
            problems.append(str(refused))
    return told | {"refusal": " ".join(dict.fromkeys(problems)) or None}
