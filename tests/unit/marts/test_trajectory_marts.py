"""Trajectory, excursion, capability and variance marts of a small fleet filled in by hand, and planted components."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.unit.conftest import together
from tests.unit.marts.test_marts import FLEET
from warehouse import lake
from warehouse.dictionary import dictionary
from warehouse.marts import charts, signals
from warehouse.marts.build import assembled
from warehouse.marts.capability import build as build_capability
from warehouse.marts.memory import Memory
from warehouse.marts.trajectories import build as build_trajectories
from warehouse.marts.variance import components
from warehouse.plan import Charts, ExcursionLimit, Trajectories
from warehouse.statistics.trajectory import excursions

ORIGIN = datetime(2026, 3, 1, tzinfo=UTC)
HOURS, GOOD = 36, 22
DECLARED = Trajectories(
    dated="2025-10-01",
    approved_by_role="quality",
    good_until="2026-03-01",
    bin_hours=2,
    components=2,
    excursions={"temperature_c": ExcursionLimit(low=36, high=38, gap_minutes=70, shortest_minutes=60)},
)
FOLLOWED = FLEET.model_copy(
    update={
        "trajectories": DECLARED,
        "charts": Charts(
            dated="2025-10-01", approved_by_role="quality", baseline_batches=8, capability_batches=12
        ),
    }
)


def run_of(rng: np.random.Generator, hours: int = HOURS) -> dict[str, np.ndarray]:
    """Readings an hour of a sound culture: temperature, cells that double in a day, the glucose they use."""
    t = np.arange(hours) + 0.5
    cells = 0.5 * np.exp(math.log(2) / 24 * t)
    used = 2.0 * np.cumsum(cells) / 24  # 2 pmol a cell and day
    return {
        "temperature_c": 37 + rng.normal(0, 0.1, hours),
        "viable_density_e6_ml": cells * np.exp(rng.normal(0, 0.01, hours)),
        "glucose_mmol_l": 20 - used + rng.normal(0, 0.01, hours),
        "lactate_mmol_l": 1 + 1.5 * used + rng.normal(0, 0.01, hours),
    }


@together
def add_runs(small: Any, runs: dict[str, dict[str, np.ndarray]], started: dict[str, datetime]) -> None:
    first = {b: started[b].isoformat() for b in runs}
    last = {b: (started[b] + timedelta(hours=HOURS)).isoformat() for b in runs}
    small.add("batch", *(
        {"site_id": "a", "batch_id": b, "order_id": b, "batch_started_at": first[b], "protocol_version": "P-1",
         "product_id": "X", "disposition": "released", "batch_status": "complete"}
        for b in runs
    ))  # fmt: skip
    small.add("unit_operation", *(
        {"site_id": "a", "operation_id": f"{b}-E", "batch_id": b, "unit_procedure": "expansion",
         "operation_started_at": first[b], "operation_ended_at": last[b]}
        for b in runs
    ))  # fmt: skip
    at = {b: [(started[b] + timedelta(hours=i, minutes=30)).isoformat() for i in range(HOURS)] for b in runs}
    small.add("reading", *(
        {"site_id": "a", "batch_id": b, "channel": name[:4], "quantity_name": name, "reading": float(value),
         "read_at": at[b][i], "reading_status": "good", "source_row": i}
        for b, run in runs.items() for name, values in run.items() for i, value in enumerate(values)
        if np.isfinite(value)
    ))  # fmt: skip


@pytest.fixture
def followed(small_lake: Any) -> Any:
    """22 good runs, one that runs warm and slow from hour 12 on, one whose thermometer stood still."""
    rng = np.random.default_rng(5)
    runs = {f"G{i:02d}": run_of(rng) for i in range(GOOD)}
    started = {b: ORIGIN - timedelta(days=40 - i) for i, b in enumerate(runs)}
    runs |= {"WARM": run_of(rng), "STUCK": run_of(rng), "YOUNG": run_of(rng, 8)}
    started |= {b: ORIGIN + timedelta(days=5) for b in ("WARM", "STUCK", "YOUNG")}
    runs["WARM"]["temperature_c"][12:18] += 1.6
    runs["WARM"]["temperature_c"][15] = np.nan  # a gap of two hours
    runs["WARM"]["viable_density_e6_ml"][12:] *= 0.8
    runs["STUCK"]["temperature_c"][10:20] = 39.5
    add_runs(small_lake, runs, started)
    add_finding(small_lake.con, "STUCK|temp")
    with assembled(small_lake.con, FOLLOWED) as target:
        build_trajectories(small_lake.con, target, FOLLOWED, Memory(small_lake.con, None))
        yield small_lake, runs


def add_finding(con: Any, subject: str) -> None:
    columns = dictionary().tables["finding"].columns
    told = {"finding_id": "f1", "site_id": "a", "feed": "readings", "table_name": "reading",
            "reason_code": "sensor_flat_line", "severity": "warning", "subject": subject}  # fmt: skip
    listed = ", ".join(f"{told.get(c)!r} AS {c}" if c in told else f"NULL AS {c}" for c in columns)
    con.execute(f"CREATE OR REPLACE TEMP TABLE one_finding AS SELECT {listed}")
    lake.commit(con, lambda: con.execute("INSERT INTO lake.quality.finding BY NAME FROM one_finding") and None,
                "test", "add")  # fmt: skip


def test_runs_are_judged_against_the_good_ones_and_faults_are_no_deviation(followed: Any) -> None:
    small, runs = followed
    scores = {
        (r["batch_id"], r["quantity_name"]): r
        for r in small.all("SELECT * FROM assembled.mart.trajectory_score")
    }
    deviating = {key for key, r in scores.items() if r["deviates"]}
    assert deviating == {("WARM", "temperature_c"), ("WARM", "viable_density_e6_ml")}
    warm = scores["WARM", "temperature_c"]
    assert warm["deviates_from"] == ORIGIN + timedelta(days=5, hours=12)
    assert warm["n_good"] == GOOD
    assert not scores["YOUNG", "temperature_c"]["deviates"]
    stuck = small.all(
        "SELECT * FROM assembled.mart.trajectory WHERE batch_id = 'STUCK' AND quantity_name = 'temperature_c' "
        "ORDER BY bin_at"
    )
    assert [r["n_faulty"] > 0 for r in stuck[4:11]] == [True] * 7
    assert max(r["maximum"] for r in stuck if r["maximum"]) < 38
    moment = small.one("""SELECT * FROM assembled.mart.golden_envelope
                          WHERE quantity_name = 'temperature_c' AND step_hour = 4""")
    good = np.array([runs[f"G{i:02d}"]["temperature_c"][4:6].mean() for i in range(GOOD)])
    assert (moment["mean"], moment["deviation"], moment["lower"]) == pytest.approx(
        (good.mean(), good.std(ddof=1), np.quantile(good, 0.05))
    )
    models = {r["batch_id"]: r for r in small.all("SELECT * FROM assembled.mart.trajectory_model")}
    assert models["WARM"]["outside"]
    assert models["WARM"]["driver"] in ("temperature_c", "viable_density_e6_ml")
    assert "Only" in models["YOUNG"]["refusal"]
    assert sum(bool(models[f"G{i:02d}"]["outside"]) for i in range(GOOD)) <= 2


def test_excursions_and_rates_are_the_planted_ones(followed: Any) -> None:
    small, runs = followed
    found = small.all("SELECT * FROM assembled.mart.excursion ORDER BY started_at")
    hours = np.arange(HOURS) + 0.5
    wanted = excursions(hours, runs["WARM"]["temperature_c"], 36, 38, largest_gap=70 / 60)
    assert [(r["batch_id"], r["side"]) for r in found] == [("WARM", "above")] * 2
    start = ORIGIN + timedelta(days=5)
    for row, one in zip(found, wanted, strict=True):
        assert row["started_at"] == start + timedelta(hours=one.start)
        assert (row["duration_h"], row["n_readings"], row["depth"], row["area"]) == pytest.approx(
            (one.duration, one.readings, one.depth, one.area)
        )
    whole = small.one("SELECT * FROM assembled.mart.metabolic_rate WHERE batch_id = 'G03' AND day = 0")
    assert whole["growth_rate"] == pytest.approx(math.log(2) / 24, rel=0.02)
    assert whole["doubling_h"] == pytest.approx(24, rel=0.02)
    assert whole["glucose_uptake"] == pytest.approx(2.0, rel=0.05)
    assert whole["lactate_yield"] == pytest.approx(1.5, rel=0.02)


def test_capability_on_the_attribute_s_scale_with_its_trend(small_lake: Any) -> None:
    rng = np.random.default_rng(2)
    logits = np.r_[rng.normal(2.2, 0.3, 12), rng.normal(3.5, 0.3, 12)]
    small_lake.add("specification", {"site_id": "a", "spec_id": "S", "spec_version": "1", "product_id": "X",
                                     "effective_from": "2025-01-01T00:00:00+00:00"})  # fmt: skip
    small_lake.add("spec_limit", {"site_id": "a", "spec_id": "S", "spec_version": "1", "attribute": "cd3_pct",
                                  "low": 80.0, "stage": "release"})  # fmt: skip
    ids = [{"site_id": "a", "batch_id": f"B{i:02d}"} for i in range(len(logits))]
    at = [(ORIGIN + timedelta(days=i)).isoformat() for i in range(len(logits))]
    value = (100 / (1 + np.exp(-logits))).tolist()
    small_lake.add("batch", *(
        b | {"order_id": "O", "batch_started_at": at[i], "product_id": "X"} for i, b in enumerate(ids)
    ))  # fmt: skip
    small_lake.add("sample", *(
        b | {"sample_id": f"S{i}", "sample_point": "release", "taken_at": at[i]} for i, b in enumerate(ids)
    ))  # fmt: skip
    small_lake.add("assay_result", *(
        b | {"result_id": f"R{i}", "sample_id": f"S{i}", "attribute": "cd3_pct", "operator": "=", "replicate": 1,
             "value": value[i], "result_at": at[i]}
        for i, b in enumerate(ids)
    ))  # fmt: skip
    with assembled(small_lake.con, FOLLOWED) as target:
        build_capability(small_lake.con, target, FOLLOWED, Memory(small_lake.con, None))
        row = small_lake.one(f"SELECT * FROM {target}.mart.capability")
    new, old = logits[12:], logits[:12]
    low = math.log(80 / 20)
    assert row["ppk"] == pytest.approx((new.mean() - low) / (3 * new.std(ddof=1)))
    assert row["ppk_previous"] == pytest.approx((old.mean() - low) / (3 * old.std(ddof=1)))
    assert (row["trend"], row["n"], row["n_out"], row["law"]) == (
        "better",
        12,
        0,
        "normal on the logit scale",
    )
    assert row["ppk_low"] < row["ppk"] < row["ppk_high"]
    assert 0 <= row["p_out_low"] <= row["p_out"] <= row["p_out_high"] < 0.05
    assert "25" in row["cpk_refusal"]


def test_planted_components_lie_inside_their_intervals() -> None:
    rng = np.random.default_rng(8)
    planted = {"site": 0.5, "suite": 0.3, "reagent_lot": 0.4, "patient": 0.6, "assay": 0.15}
    drawn: dict[tuple[str, str], float] = {}

    def effect(component: str, level: str) -> float:
        return drawn.setdefault((component, level), float(rng.normal(0, planted[component])))

    rows = []
    for site in "abcdef":
        for i in range(40):
            suite, lot, patient = f"{site}{i % 4}", f"{site}{i // 5}", f"{site}-{i}"
            told = {"site": site, "suite": suite, "reagent_lot": lot, "patient": patient}
            level = 2.0 + sum(effect(c, v) for c, v in told.items())
            rows += [
                {"site": site, "suite": suite, "operator": None, "lot": lot, "month": "2026-01", "patient": patient,
                 "value": level + rng.normal(0, planted["assay"])}
                for _ in range(2)
            ]  # fmt: skip
    found = {r["component"]: r for r in components(pl.DataFrame(rows), "identity")}
    for name, sd in planted.items():
        assert found[name]["sd_low"] <= sd <= found[name]["sd_high"], name
    assert found["assay"]["share"] == pytest.approx(0.15**2 / sum(s**2 for s in planted.values()), rel=0.6)
    assert "do not tell it" in found["operator"]["refusal"]
    assert "only where site does" in found["time"]["refusal"]


def test_an_excursion_and_a_strayed_path_ring_by_their_kind_and_one_cause_once(followed: Any) -> None:
    small, _ = followed
    charts.build(small.con, "assembled", FOLLOWED, Memory(small.con, None))
    rung = signals.alarms(small.con, "assembled", FOLLOWED)
    assert {(a["signal_kind"], a["batch_id"], a["quantity_name"]) for a in rung} == {
        ("excursion", "WARM", "temperature_c"),
        ("trajectory", "WARM", "viable_density_e6_ml"),
    }
