"""Control charts of the fleet: which batches make a series and a phase, which limits hold, what the charts ring.

Belongs here: reading the series, the limits in force, marts `chart_limit`, `chart_point`, `chart_budget`, `chart_rule`,
and freezing limits. Does not belong here: what is estimated and drawn (`chart_kinds.py`), the declared baseline
(`warehouse.plan`), acts of people (`warehouse.acts`).

Series: each attribute of the plan as a site measures it; groups of attributes charted together; batches that failed;
deviations. Batches stand in order of start of manufacture, never of arrival. A phase holds the batches of one protocol
version, one set of assay methods and one set of specification limits, and has limits of its own.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl

from warehouse import acts
from warehouse.marts.chart_kinds import SHEWHART, Parameters, Phase, estimate, points
from warehouse.marts.memory import Memory
from warehouse.marts.rows import frame_of, store_frame, store_parts
from warehouse.plan import Charts, Fleet
from warehouse.statistics.arl import cusum_arl, ewma_arl, rule_set_arl, shewhart_arl
from warehouse.statistics.chart_rules import NELSON, WESTERN_ELECTRIC, Rule
from warehouse.statistics.estimated_limits import ewma_rate, individuals_rate
from warehouse.statistics.refusal import StatisticsRefusal

SERIES = Path(__file__).parent / "chart_series.sql"
ORDERED = "SELECT * FROM chart_series ORDER BY kind, site, attribute, measured_as, batch_started_at, batch_id"
# A table that no ringing chart has: what shifts a rule set finds, and how soon.
SHIFTS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
RULE_RUNS = 1500
YEAR = 365.25
KEY = ("site", "attribute", "measured_as")


@dataclass(frozen=True, eq=False)
class Series:
    """One series at one site, with its phases in order of their first batch."""

    site: str
    attribute: str
    measured_as: str
    phases: dict[str, Phase]
    protocols: dict[str, str | None]
    left_out: dict[str, int]

    @property
    def key(self) -> tuple[str, str, str]:
        """Site, what is charted, what it is measured as."""
        return self.site, self.attribute, self.measured_as

    @property
    def kind(self) -> str:
        """Kind of its charts."""
        return next(iter(self.phases.values())).kind

    @property
    def points_per_year(self) -> float:
        """Batches a year: those of the newest year, or of the time so far."""
        times = np.sort(
            np.concatenate([p.at.dt.timestamp("ms").to_numpy() / 1000 for p in self.phases.values()])
        )
        if times.size < 2:
            return float(times.size)
        recent = times[times > times[-1] - YEAR * 86400]
        span = (recent[-1] - recent[0]) / 86400
        return float((recent.size - 1) * YEAR / span) if recent.size > 1 and span > 0 else float(recent.size)


def read_series(con: duckdb.DuckDBPyConnection, target: str, fleet: Fleet) -> list[Series]:
    """Every chart series of the fleet, from marts `comparability_lots`, `assay_long` and `batch_wide`.

    Needs the temporary tables of `prepare`. Empty where the fleet declares no charts.
    """
    if fleet.charts is None:
        return []
    names = sorted({c for told in fleet.charts.adjusted.values() for c in told})
    chosen = ", ".join(f'b."{n}"::DOUBLE AS "{n}"' for n in names) or "NULL::DOUBLE AS no_covariate"
    listed = ", ".join(f'"{n}"' for n in names) or "no_covariate"
    sql = SERIES.read_text("utf-8").replace("{target}", target)
    con.execute(sql.replace("{covariates}", chosen).replace("{names}", listed))
    frame = con.execute(ORDERED).pl()
    made = []
    for (_, site, attribute, measured_as), part in frame.group_by(
        ["kind", "site", "attribute", "measured_as"], maintain_order=True
    ):
        covariates = fleet.charts.adjusted.get(str(attribute), ())
        made.append(_series(str(site), str(attribute), str(measured_as), part, covariates))
    return [*made, *_together(made, fleet.charts)]


def _series(
    site: str, attribute: str, measured_as: str, part: pl.DataFrame, covariates: tuple[str, ...]
) -> Series:
    phases: dict[str, Phase] = {}
    protocols: dict[str, str | None] = {}
    left_out: dict[str, int] = {}
    for (key,), rows in part.group_by(["phase_key"], maintain_order=True):
        name = str(key)
        whole = rows.drop_nulls(list(covariates)) if covariates else rows
        left_out[name] = rows.height - whole.height
        protocols[name] = rows["protocol_version"][0]
        phases[name] = Phase(
            kind=str(rows["kind"][0]),
            batches=whole["batch_id"],
            at=whole["batch_started_at"],
            values=whole["value"].to_numpy().astype(np.float64),
            records=whole["record_ids"],
            covariates=whole.select(covariates).to_numpy().astype(np.float64) if covariates else None,
            names=covariates,
        )
    return Series(site, attribute, measured_as, phases, protocols, left_out)


def _together(series: list[Series], charts: Charts) -> Iterator[Series]:
    """Series of the declared groups: at each site the batches that have every attribute, as it measures them most."""
    sites = sorted({s.site for s in series})
    for name, attributes in charts.together.items():
        for site in sites:
            own = [s for s in series if s.site == site and s.kind == "measured"]
            members = [
                max(found, key=lambda s: sum(p.size for p in s.phases.values()))
                for a in attributes
                if (found := [s for s in own if s.attribute == a])
            ]
            if len(members) == len(attributes):
                yield from _joined(site, name, members)


def _joined(site: str, name: str, members: list[Series]) -> Iterator[Series]:
    told: list[dict[str, tuple[str, Any, float, str | None]]] = []
    for member in members:
        told.append(
            {
                batch: (key, at, float(value), record)
                for key, phase in member.phases.items()
                for batch, at, value, record in zip(
                    phase.batches, phase.at, phase.values, phase.records, strict=True
                )
            }
        )
    common = [b for b in told[0] if all(b in t for t in told)]
    common.sort(key=lambda b: (told[0][b][1], b))
    by_key: dict[str, list[str]] = {}
    for batch in common:
        by_key.setdefault(" | ".join(t[batch][0] for t in told), []).append(batch)
    if not by_key:
        return
    phases = {
        key: Phase(
            kind="together",
            batches=pl.Series(batches, dtype=pl.String),
            at=pl.Series([told[0][b][1] for b in batches], dtype=pl.Datetime("us", "UTC")),
            values=np.array([[t[b][2] for t in told] for b in batches]),
            records=pl.Series([",".join(t[b][3] or "" for t in told) for b in batches], dtype=pl.String),
            names=tuple(m.attribute for m in members),
        )
        for key, batches in by_key.items()
    }
    protocols = {key: members[0].protocols[told[0][batches[0]][0]] for key, batches in by_key.items()}
    measured = "+".join(m.measured_as for m in members)
    yield Series(site, name, measured, phases, protocols, dict.fromkeys(by_key, 0))


def build(con: duckdb.DuckDBPyConnection, target: str, fleet: Fleet, memory: Memory) -> None:
    """Create the chart marts; needs `comparability_lots`, `assay_long`, `batch_wide` and the tables of `prepare`.

    All are empty where the fleet declares no charts.
    """
    limits: list[pl.DataFrame] = []
    drawn: list[pl.DataFrame] = []
    budget: list[pl.DataFrame] = []
    rules = frame_of("chart_rule", [])
    series = read_series(con, target, fleet)
    if fleet.charts is not None:
        rules = _ruled(memory)
        lengths = {row["family"]: row["arl"] for row in rules.filter(pl.col("shift") == 0).to_dicts()}
        frozen = _by_phase(acts.of(con, "chart_act"))
        for one in series:
            told = {key: frozen.get((*one.key, key), []) for key in one.phases}
            if memory.same("chart", one.key, *_inputs(one, told, fleet)):
                limits.append(memory.rows("chart_limit", KEY, one.key))
                drawn.append(memory.rows("chart_point", KEY, one.key))
                budget.append(memory.rows("chart_budget", KEY, one.key))
            else:
                made = _made(one, told, fleet, lengths)
                limits.append(frame_of("chart_limit", made[0]))
                drawn += made[1]
                budget.append(frame_of("chart_budget", made[2]))
    store_parts(con, target, "chart_limit", limits)
    store_parts(con, target, "chart_point", drawn)
    whole = pl.concat(budget) if budget else frame_of("chart_budget", [])
    total = whole.filter(pl.col("rings"))["false_alarms_per_year"].drop_nulls().to_list()
    share = pl.lit(math.fsum(total)).alias("fleet_false_alarms_per_year")
    store_frame(con, target, "chart_budget", whole.with_columns(share))
    store_frame(con, target, "chart_rule", rules)


def _inputs(one: Series, told: dict[str, list[dict[str, Any]]], fleet: Fleet) -> Iterator[object]:
    """Everything that the limits, points and budget of a series follow from."""
    assert fleet.charts is not None
    planned = fleet.plan.attributes.get(one.attribute)
    yield fleet.charts, planned.scale if planned else None, one.protocols, one.left_out, told
    for key, phase in one.phases.items():
        yield key, phase.kind, phase.names
        yield from (phase.batches.to_frame(), phase.at.to_frame(), phase.values, phase.records.to_frame())
        yield phase.covariates


def _made(
    one: Series, told: dict[str, list[dict[str, Any]]], fleet: Fleet, lengths: dict[str, float]
) -> tuple[list[dict[str, Any]], list[pl.DataFrame], list[dict[str, Any]]]:
    """Limits, points and budget of a series."""
    assert fleet.charts is not None
    limits: list[dict[str, Any]] = []
    frames: list[pl.DataFrame] = []
    budget: list[dict[str, Any]] = []
    for number, (key, phase) in enumerate(one.phases.items(), 1):
        versions = _versions(one, key, phase, told[key], fleet.charts)
        chosen = next(v for v in versions if v["in_force"])
        shared = _described(one, key, phase, number, fleet)
        limits += [shared | {k: v for k, v in row.items() if k != "told"} for row in versions]
        frames += _points(one, phase, number, chosen)
        if number == len(one.phases):
            budget += _budget(one, number, chosen, fleet.charts, lengths)
    return limits, frames, budget


def _by_phase(told: list[dict[str, Any]]) -> dict[tuple[str, str, str, str], list[dict[str, Any]]]:
    found: dict[tuple[str, str, str, str], list[dict[str, Any]]] = {}
    for act in told:
        found.setdefault((act["site_id"], act["charted"], act["measured_as"], act["phase_key"]), []).append(
            act
        )
    return found


def _versions(
    series: Series, key: str, phase: Phase, told: list[dict[str, Any]], charts: Charts
) -> list[dict[str, Any]]:
    """Every version of a phase's limits, one of them in force: the newest approved, else the newest frozen, else what
    the baseline says today."""
    rows: list[dict[str, Any]] = []
    for version, group in groupby(
        sorted(told, key=lambda a: a["limit_version"]), lambda a: a["limit_version"]
    ):
        by_act = {act["act"]: act for act in group}
        frozen, approved = by_act["frozen"], by_act.get("approved")
        rows.append(
            _row(json.loads(frozen["limit_parameters"]))
            | {
                "version": version,
                "state": "approved" if approved else "frozen",
                "frozen_at": frozen["recorded_at"],
                "frozen_by_role": frozen["acted_by_role"],
                "frozen_because": frozen["acted_because"],
                "approved_at": approved["recorded_at"] if approved else None,
                "approved_by_role": approved["acted_by_role"] if approved else None,
                "approved_because": approved["acted_because"] if approved else None,
                "inputs_hash": frozen["inputs_hash"],
                "refusal": None,
            }
        )
    if not rows:
        told_now, refusal = provisional(phase, charts, None)
        rows.append(_row(told_now) | {"version": 0, "state": "provisional", "refusal": refusal})
    holding = [r for r in rows if r["state"] == "approved"] or rows
    for row in rows:
        row["in_force"] = row is holding[-1]
        if row["state"] == "approved" and not row["in_force"]:
            row["state"] = "superseded"
    return rows


def provisional(phase: Phase, charts: Charts, rate: float | None) -> tuple[Parameters | None, str | None]:
    """Parameters from the phase's declared baseline with the batches they rest on, or why there are none."""
    basis = phase.first(charts.baseline_batches)
    if basis.size < charts.baseline_batches:
        needed = charts.baseline_batches
        return None, f"{basis.size} batches of this phase; the declared baseline needs {needed}."
    try:
        told = estimate(basis, charts, rate)
    except StatisticsRefusal as refused:
        return None, str(refused)
    stretch = {"from": basis.at[0].isoformat(), "until": basis.at[-1].isoformat()}
    return told | {"batches": list(basis.batches), **stretch}, None


def _row(told: Parameters | None) -> dict[str, Any]:
    """Columns of `chart_limit` that parameters give."""
    if told is None:
        return {"told": None}
    return {
        "told": told,
        "n_baseline": told["n"],
        "baseline_from": _time(told["from"]),
        "baseline_until": _time(told["until"]),
        "centre": told.get("centre"),
        "sigma": told.get("sigma"),
        "sigma_z": told.get("sigma_z"),
        "width": told.get("width"),
        "ewma_weight": told.get("ewma_weight"),
        "ewma_width": told.get("ewma_width"),
        "covariates": ", ".join(told.get("covariates", [])) or None,
        "explained": told.get("explained"),
        "parameters": json.dumps(told),
    }


def _time(text: str) -> Any:
    return pl.Series([text]).str.to_datetime(time_zone="UTC", time_unit="us")[0]


def _described(series: Series, key: str, phase: Phase, number: int, fleet: Fleet) -> dict[str, Any]:
    assert fleet.charts is not None
    planned = fleet.plan.attributes.get(series.attribute)
    return {
        "site": series.site,
        "attribute": series.attribute,
        "measured_as": series.measured_as,
        "kind": series.kind,
        "phase": number,
        "phase_key": key,
        "protocol_version": series.protocols[key] or None,
        "scale": planned.scale if planned else None,
        "phase_from": phase.at[0] if phase.size else None,
        "n_points": phase.size,
        "n_left_out": series.left_out[key],
        "n_baseline": min(phase.size, fleet.charts.baseline_batches),
        "declared_on": fleet.charts.dated,
        "declared_by_role": fleet.charts.approved_by_role,
    }


def _points(series: Series, phase: Phase, number: int, chosen: dict[str, Any]) -> list[pl.DataFrame]:
    told = chosen["told"]
    basis = told["batches"] if told else []
    site, attribute, measured_as = series.key
    frames = points(phase, told)
    if not frames:
        return []
    # All charts of the phase at once: a call a chart would cost more than the charts.
    return [
        pl.concat(frames).with_columns(
            pl.lit(site).alias("site"),
            pl.lit(attribute).alias("attribute"),
            pl.lit(measured_as).alias("measured_as"),
            pl.lit(number, dtype=pl.Int64).alias("phase"),
            pl.lit(chosen["version"], dtype=pl.Int64).alias("version"),
            pl.col("batch_id").is_in(basis).alias("in_baseline"),
        )
    ]


def _budget(
    series: Series, number: int, chosen: dict[str, Any], charts: Charts, lengths: dict[str, float]
) -> Iterator[dict[str, Any]]:
    """What each chart of the newest phase rings by chance in a year."""
    told, per_year = chosen["told"], series.points_per_year
    if told is None:
        return
    nelson, western = lengths["nelson"], lengths["western electric"]
    for chart, known, rate in _loads(series.kind, told):
        grouped = chart in ("Xbar", "S", "p", "u")
        yearly = per_year / int(told["subgroup_size"]) if grouped else per_year
        yield {
            "site": series.site,
            "attribute": series.attribute,
            "measured_as": series.measured_as,
            "chart": chart,
            "phase": number,
            "rings": chart in charts.rings and chosen["state"] == "approved",
            "points_per_year": yearly,
            "in_control_arl": known,
            "false_alarm_rate": rate,
            "false_alarms_per_year": yearly * rate if rate is not None else None,
            "nelson_per_year": yearly / nelson if chart in ("I", "p", "u") else None,
            "western_electric_per_year": yearly / western if chart in ("I", "p", "u") else None,
            "allowed_per_year": charts.false_alarms_per_year,
        }


@cache
def _rates(width: float, weight: float, ewma: float, n: int, fitted: int) -> tuple[float, float]:
    return individuals_rate(width, n, fitted), ewma_rate(ewma, weight, n, fitted)


def _loads(kind: str, told: Parameters) -> Iterator[tuple[str, float | None, float | None]]:
    """(chart, mean batches to a false alarm with parameters known, false alarms per point as estimated)."""
    if kind == "measured":
        width, weight, ewma = told["width"], told["ewma_weight"], told["ewma_width"]
        single, smoothed = _rates(width, weight, ewma, told["n"], len(told.get("covariates", [])))
        yield "I", shewhart_arl(0.0, width), single
        yield "EWMA", _known_ewma(weight, ewma), smoothed
        yield "CUSUM", cusum_arl(0.0, told["cusum_allowance"], told["cusum_decision"]), None
        yield "Xbar", shewhart_arl(0.0, 3.0), None
    elif kind == "together":
        # The F limit allows for the estimated mean and covariance, so both are the same.
        yield "T2", 1.0 / told["alpha"], told["alpha"]
        yield "MEWMA", told["mewma_arl"], None
    else:
        yield ("p" if kind == "proportion" else "u"), None, None


@cache
def _known_ewma(weight: float, width: float) -> float | None:
    try:
        return ewma_arl(0.0, weight, width, "exact")
    except StatisticsRefusal:
        return None


def _family(name: str) -> tuple[Rule, ...]:
    return NELSON if name == "nelson" else WESTERN_ELECTRIC


def _ruled(memory: Memory) -> pl.DataFrame:
    """Mart `chart_rule`: the same every night, while the code is."""
    families = {rule: memory.same("chart_rule", (rule,)) for rule in ("nelson", "western electric")}
    if all(families.values()):
        return pl.concat([memory.rows("chart_rule", ("family",), (name,)) for name in families])
    return frame_of("chart_rule", _rules())


def _rules() -> Iterator[dict[str, Any]]:
    """The numbered rules in words, and what each whole set costs and finds."""
    for name in ("nelson", "western electric"):
        for rule in _family(name):
            yield {"family": name, "rule": rule.number, "words": rule.text, "shift": None}
        for shift in SHIFTS:
            found = _simulated(name, shift)
            yield {
                "family": name,
                "rule": 0,
                "words": f"all {len(_family(name))} rules together",
                "shift": shift,
                "arl": found[0],
                "arl_error": found[1],
            }


@cache
def _simulated(family: str, shift: float) -> tuple[float, float]:
    found = rule_set_arl(_family(family), shift, runs=RULE_RUNS)
    return found.mean, found.standard_error


def allowed_rate(series: list[Series], charts: Charts) -> float:
    """False alarms per point that keep the fleet's yearly budget, shared evenly by all ringing charts."""
    kinds = {"measured": {"I", "EWMA"}, "together": {"T2"}}
    total = sum(s.points_per_year * len(kinds.get(s.kind, set()) & set(charts.rings)) for s in series)
    return min(SHEWHART * 4, charts.false_alarms_per_year / total) if total else SHEWHART


def to_freeze(
    series: list[Series], fleet: Fleet, told: list[dict[str, Any]], *, again: bool
) -> list[dict[str, Any]]:
    """New `frozen` acts of phases whose baseline is complete: of those never frozen, or of all of them with `again`.

    `role`, `because` and `run_id` are the caller's to add.
    """
    assert fleet.charts is not None
    known = _by_phase(told)
    rate = allowed_rate(series, fleet.charts)
    made = []
    for one in series:
        for key, phase in one.phases.items():
            before = known.get((*one.key, key), [])
            if before and not again:
                continue
            parameters, _ = provisional(phase, fleet.charts, rate)
            if parameters is None:
                continue
            basis = phase.first(fleet.charts.baseline_batches)
            packed = "|".join(r or "" for r in basis.records)
            made.append(
                {
                    "site_id": one.site,
                    "charted": one.attribute,
                    "measured_as": one.measured_as,
                    "phase_key": key,
                    "limit_version": max((a["limit_version"] for a in before), default=0) + 1,
                    "act": "frozen",
                    "limit_parameters": json.dumps(parameters),
                    "inputs_hash": hashlib.md5(packed.encode(), usedforsecurity=False).hexdigest(),
                }
            )
    return made
