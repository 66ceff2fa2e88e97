"""Times from vein to vein: hours by kind, delay, rates, competing ends, local against central, forecasts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.unit.marts.test_marts import FLEET
from warehouse.marts.build import build
from warehouse.marts.vein import _curve, contrast, forecasts, measures

START = datetime(2026, 2, 1, tzinfo=UTC)
WINDOW = 45 * 24.0


def day(n: float) -> datetime:
    return START + timedelta(days=n)


def order(n: int, end: str | None, days: float, *, role: str = "spoke", **more: Any) -> dict[str, Any]:
    """An order collected on day 10 that ended, or was last seen, `days` after."""
    over = day(10 + days)
    told: dict[str, Any] = {
        "site_id": "a",
        "order_id": f"O{n}",
        "patient_key": f"P{n}",
        "site_role": role,
        "ordered_at": day(0),
        "collected_at": day(10),
        "first_collected_at": day(10),
        "started_at": day(11),
        "harvested_at": day(20),
        "released_at": None,
        "infused_at": None,
        "status": "in_process",
        "end_kind": end,
        "ended_at": over if end else None,
        "observed_until": over,
        "disposition": "released",
        "first_status": "complete",
        "first_disposition": "released",
        "transit_h": 4.0 + n,
        "administration_h": 9.0 + n,
        "record_id": f"r{n}",
        "source_file": "f",
        "source_row": n,
    }
    if end == "infused":
        told |= {"infused_at": over, "released_at": day(10 + days - 2)}
    return told | more


def test_competing_ends_take_from_infusion_what_kaplan_meier_would_give_it() -> None:
    """By hand: 5 at risk, infused at 10, died at 12, infused at 15; one open from day 11, one from day 30."""
    orders = [
        order(1, "infused", 10),
        order(2, None, 11),
        order(3, "died", 12),
        order(4, "infused", 15),
        order(5, None, 30),
    ]
    told = {(r["end_kind"], r["day"]): r["incidence"] for r in _curve(orders)}
    assert told == {
        ("infused", 10.0): pytest.approx(1 / 5),
        ("died", 12.0): pytest.approx(4 / 5 / 3),
        ("infused", 15.0): pytest.approx(1 / 5 + 4 / 5 * 2 / 3 / 2),
    }


def test_rates_leave_out_what_the_product_could_not_help() -> None:
    orders = [
        order(1, "infused", 14),
        order(2, "infused", 16),
        order(
            3, "failed", 9, first_status="terminated", first_disposition="rejected", disposition="rejected"
        ),
        order(
            4, "withdrawn", 3, first_status="in_process", first_disposition="pending", disposition="pending"
        ),
        # Its first attempt failed, its second was given, and too late.
        order(5, "infused", 40, first_status="terminated", first_disposition="rejected"),
        order(6, None, 5, first_status="in_process", first_disposition="pending", disposition="pending"),
    ]
    told = {m.measure: m for m in measures(orders, WINDOW)}
    assert (told["first_pass_success"].events, told["first_pass_success"].n) == (2, 4)
    assert (told["delivery_success"].events, told["delivery_success"].n) == (3, 4)
    assert (told["in_window"].events, told["in_window"].n) == (2, 3)
    assert told["turnaround"].estimate == 14
    assert told["vein_to_vein"].estimate == 16
    assert told["first_pass_success"].low == pytest.approx(0.1500, abs=5e-5)  # Wilson, 2 of 4
    assert told["infused_by_day_14"].method == "Aalen-Johansen"


def test_the_median_has_its_exact_interval_only_where_there_are_enough() -> None:
    few = {m.measure: m for m in measures([order(n, "infused", 10 + n) for n in range(5)], None)}[
        "vein_to_vein"
    ]
    assert (few.low, few.high) == (None, None)
    enough = {m.measure: m for m in measures([order(n, "infused", 10 + n) for n in range(10)], None)}[
        "vein_to_vein"
    ]
    # Of ten values the second and the ninth: 1 - 2 P(B <= 1) = 97.9 %.
    assert (enough.low, enough.estimate, enough.high) == (11, 14.5, 18)


def test_local_and_central_are_contrasted_with_intervals() -> None:
    local = [order(n, "infused", 12 + n % 3) for n in range(12)]
    central = [
        order(n, "infused", 25 + n % 4, role="contract_manufacturer", transit_h=90.0 + n) for n in range(12)
    ]
    told = {r["measure"]: r for r in contrast(local, central)}
    assert told["infused_by_day_14"]["estimate"] == 1
    assert told["vein_to_vein"]["kind"] == "ratio"
    assert told["vein_to_vein"]["high"] < 0.6
    assert (
        told["transit_hours"]["low"]
        < told["transit_hours"]["estimate"]
        == -86
        < told["transit_hours"]["high"]
    )
    assert told["first_pass_success"]["low"] < 0 < told["first_pass_success"]["high"]
    assert contrast(local, []) == []


def test_an_open_order_is_forecast_from_those_that_stood_where_it_stands() -> None:
    past = [order(n, "infused", 20 + n) for n in range(20)]
    waiting = order(99, None, 12, status="awaiting_release")
    (row,) = forecasts([*past, waiting], WINDOW)
    assert (row["since"], row["basis"], row["n"], row["risk"]) == ("harvested_at", "site", 20, "on_track")
    # The window ends on day 45: 35 days after collection, 16 of 20 had been infused by then.
    assert row["in_time"] == pytest.approx(16 / 20)
    assert row["expected_at"] == day(10 + 29)
    assert row["in_time_low"] < row["in_time"] < row["in_time_high"]
    # One that has waited as long as fifteen of them had is compared with the rest only.
    slow = order(98, None, 34.5, status="awaiting_release")
    (row,) = forecasts([*past, slow], WINDOW)
    assert row["n"] == 5
    assert row["in_time"] == pytest.approx(1 / 5)
    assert row["risk"] == "likely_to_miss"
    (row,) = forecasts([*past, order(97, None, 36, status="awaiting_release")], WINDOW)
    assert row["risk"] == "missed"
    (row,) = forecasts([waiting], WINDOW)
    assert row["risk"] == "not_known"


def test_hours_are_split_and_what_is_lost_is_ranked(small_lake: Any) -> None:
    site = {"site_id": "a"}

    def at(hours: float) -> str:
        return (START + timedelta(hours=hours)).isoformat()

    orders, collections, batches, samples, results, decisions, events, infusions = ([] for _ in range(8))
    for n, slow in ((1, 0), (2, 0), (3, 50)):
        name = site | {"order_id": f"O{n}"}
        orders.append(
            name
            | {"patient_key": f"P{n:A>12}", "coi_id": f"K{n}", "ordered_at": at(0), "order_status": "open"}
        )
        collections.append(
            name
            | {"collection_id": f"C{n}", "collection_started_at": at(100), "collection_ended_at": at(104)}
        )
        batches.append(
            name
            | {
                "batch_id": f"B{n}",
                "attempt_no": 1,
                "batch_started_at": at(120),
                "harvested_at": at(320),
                "formulated_at": at(323),
            }
        )
        samples.append(
            site | {"sample_id": f"S{n}", "batch_id": f"B{n}", "sample_point": "release", "taken_at": at(323)}
        )
        results.append(
            site
            | {
                "result_id": f"R{n}",
                "sample_id": f"S{n}",
                "attribute": "cd3_pct",
                "value": 90.0,
                "operator": "=",
                "result_at": at(335),
            }
        )
        if n == 2:
            continue
        decisions.append(
            site
            | {
                "release_id": f"Q{n}",
                "batch_id": f"B{n}",
                "decision": "released",
                "signed_at": at(350 + slow),
            }
        )
        infusions.append(name | {"infusion_id": f"I{n}", "batch_id": f"B{n}", "infused_at": at(410 + slow)})
        for i, (kind, item, giver, taker, hours) in enumerate(
            (
                ("shipped", "apheresis", "unit", "courier", 106.0),
                ("received", "apheresis", "courier", "lab", 116.0),
                ("shipped", "product", "qa", "courier", 400.0 + slow),
                ("handed_over", "product", "courier", "ward", 407.0 + slow),
            )
        ):
            events.append(
                site
                | {
                    "event_id": f"E{n}-{i}",
                    "coi_id": f"K{n}",
                    "custody_kind": kind,
                    "custody_object": item,
                    "from_party": giver,
                    "to_party": taker,
                    "happened_at": at(hours),
                    "sequence_no": i,
                }
            )
    tables = (
        ("therapy_order", orders),
        ("collection", collections),
        ("batch", batches),
        ("sample", samples),
        ("assay_result", results),
        ("release_decision", decisions),
        ("custody_event", events),
        ("infusion", infusions),
    )
    for table, rows in tables:
        small_lake.add(table, *rows)
    build(small_lake.con, "snap", FLEET, 1)
    told = small_lake.all("SELECT * FROM snap.mart.vein_hours ORDER BY order_id, step_no")
    assert [(r["step"], r["category"], r["hours"]) for r in told if r["order_id"] == "O1"] == [
        ("order to collection", "administration", 100), ("collection", "process", 4),
        ("waiting for the courier", "waiting", 2),
        ("way to the laboratory", "transit", 10), ("waiting for the suite", "waiting", 4),
        ("manufacture", "process", 200),
        ("formulation", "process", 3), ("release testing", "testing", 12),
        ("review and decision", "administration", 15),
        ("waiting to leave", "waiting", 50), ("way to the ward", "transit", 7), ("at the ward", "waiting", 3),
    ]  # fmt: skip
    whole = small_lake.one("SELECT order_to_infusion_h FROM snap.mart.vein_to_vein WHERE order_id = 'O1'")
    assert sum(r["hours"] for r in told if r["order_id"] == "O1") == whole["order_to_infusion_h"] == 410
    running = [r for r in told if r["still_open"]]
    assert [(r["order_id"], r["step"], r["hours"]) for r in running] == [("O2", "review and decision", 125)]
    worst = small_lake.all("SELECT * FROM snap.mart.vein_delay ORDER BY rank_no")[0]
    assert (worst["step"], worst["worst_order_id"], worst["rank_no"]) == ("review and decision", "O2", 1)
    forecast = small_lake.one("SELECT * FROM snap.mart.order_forecast")
    assert (forecast["order_id"], forecast["since"]) == ("O2", "harvested_at")
