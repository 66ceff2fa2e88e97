"""What the orders' journeys add up to: success rates, times, cumulative incidence, local against central, forecasts.

Belongs here: which orders stand for what, and handing them to `warehouse.statistics`. Does not belong here:
milestones and hours of one order (`vein_to_vein.sql`, `vein_hours.sql`), the estimators (there).

An order enters at its first collection and ends by infusion, death, failure (last attempt terminated or rejected)
or withdrawal; still open, it is censored at the newest event its site told of. Death, failure and withdrawal compete
with infusion, so that its incidence is Aalen-Johansen's; one minus Kaplan-Meier would count on the dead.

First-pass manufacturing success: first attempts dispositioned for release / first attempts dispositioned or
terminated, withdrawals before disposition left out. Turnaround: collection to first release, median. Delivery
success: infused / orders collected and over, deaths and withdrawals before any disposition left out (the product was
no cause of them). In window: infused within the fleet's deadline from order to infusion / orders infused or past it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from math import sqrt
from typing import Any, NamedTuple

import duckdb
import numpy as np
from scipy import stats

from warehouse.marts.rows import store
from warehouse.plan import Fleet
from warehouse.statistics import means
from warehouse.statistics.proportions import Count, newcombe, wilson
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.statistics.survival import CumulativeIncidence, cumulative_incidence, followed

ENDS = ("infused", "died", "failed", "withdrawn")
DAYS = (14.0, 30.0, 60.0)
ENOUGH = 10  # finished orders before a site forecasts from its own past
CENTRAL = "contract_manufacturer"
MILESTONES = ("released_at", "harvested_at", "started_at", "collected_at", "ordered_at")
ORDERS = """
SELECT v.*, s.site_role, f.batch_status AS first_status, f.disposition AS first_disposition,
       w.transit_h, w.administration_h
FROM {target}.mart.vein_to_vein v
LEFT JOIN in_force_site s ON s.site_id = v.site_id
LEFT JOIN (SELECT * FROM in_force_batch QUALIFY row_number() OVER
           (PARTITION BY site_id, order_id ORDER BY attempt_no, batch_started_at, batch_id) = 1) f
       ON f.site_id = v.site_id AND f.order_id = v.order_id
LEFT JOIN (SELECT site_id, order_id, coalesce(sum(hours) FILTER (category = 'transit'), 0) AS transit_h,
                  coalesce(sum(hours) FILTER (category = 'administration' AND step_no > 1), 0) AS administration_h
           FROM {target}.mart.vein_hours GROUP BY ALL) w ON w.site_id = v.site_id AND w.order_id = v.order_id
ORDER BY v.site_id, v.order_id
"""
Order = dict[str, Any]


class Measure(NamedTuple):
    """One figure of one group of orders."""

    measure: str
    unit: str
    estimate: float | None
    low: float | None
    high: float | None
    events: int | None
    n: int
    method: str


def build(con: duckdb.DuckDBPyConnection, target: str, fleet: Fleet) -> None:
    """Create marts `vein_measure`, `vein_incidence`, `vein_contrast` and `order_forecast`."""
    cursor = con.execute(ORDERS.format(target=target))
    names = [c[0] for c in cursor.description or []]
    orders: list[Order] = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    window = next(
        (d.hours for d in fleet.deadlines.values() if (d.begins, d.ends) == ("ordered_at", "infused_at")),
        None,
    )
    groups = _groups(orders)
    measured = {name: measures(some, window) for name, some in groups.items()}
    store(con, target, "vein_measure", [
        {"group_name": name, **told._asdict()} for name, some in measured.items() for told in some
    ])  # fmt: skip
    store(con, target, "vein_incidence", [
        {"group_name": name, **row} for name, some in groups.items() for row in _curve(some)
    ])  # fmt: skip
    store(con, target, "vein_contrast", contrast(groups.get("local", []), groups.get("central", [])))
    store(con, target, "order_forecast", forecasts(orders, window))


def _groups(orders: Sequence[Order]) -> dict[str, list[Order]]:
    """Orders by site, then the whole fleet, then sites that make for themselves and contract manufacturers."""
    groups: dict[str, list[Order]] = {}
    for order in orders:
        groups.setdefault(order["site_id"], []).append(order)
    groups = dict(sorted(groups.items()))
    groups["fleet"] = list(orders)
    groups["local"] = [o for o in orders if o["site_role"] not in (None, CENTRAL)]
    groups["central"] = [o for o in orders if o["site_role"] == CENTRAL]
    return {name: some for name, some in groups.items() if some}


def _days(begin: datetime | None, end: datetime | None) -> float | None:
    return None if begin is None or end is None else (end - begin).total_seconds() / 86_400


def _watched(orders: Iterable[Order], begin: Callable[[Order], datetime | None]) -> list[tuple[float, str]]:
    """Days from `begin` to the end and what it was ("" while open), for orders with both in that order."""
    told = []
    for order in orders:
        until = order["ended_at"] if order["end_kind"] else order["observed_until"]
        days = _days(begin(order), until)
        if days is not None and days > 0:
            told.append((days, order["end_kind"] or ""))
    return told


def _incidence(
    watched: Sequence[tuple[float, str]], entered: float | None = None
) -> CumulativeIncidence | None:
    """Aalen-Johansen of the ends, given still open at `entered`; None where nobody ended or nobody is left."""
    if entered is not None:
        watched = [(t, end) for t, end in watched if t > entered]
    if not any(end for _, end in watched):
        return None
    entries = None if entered is None else [entered] * len(watched)
    return cumulative_incidence(
        followed([t for t, _ in watched], [end for _, end in watched], entries, censored="")
    )


def _first_collected(order: Order) -> datetime | None:
    moment: datetime | None = order["first_collected_at"]
    return moment


def _curve(orders: Sequence[Order]) -> list[dict[str, Any]]:
    found = _incidence(_watched(orders, _first_collected))
    if found is None:
        return []
    told = []
    for end in ENDS:
        if end not in found.causes:
            continue
        column = found.causes.index(end)
        for row, day in enumerate(found.times.tolist()):
            if found.incidence[row, column] == (found.incidence[row - 1, column] if row else 0.0):
                continue
            chance, low, high = found.at(day, end)
            told.append({
                "end_kind": end, "day": day, "incidence": chance, "low": low, "high": high,
                "still_open": float(found.still_open[row]), "n": found.n,
            })  # fmt: skip
    return told


def _median(values: Sequence[float], level: float = 0.95) -> tuple[float, float | None, float | None]:
    """Median with its exact distribution-free interval (order statistics); no bounds where there are too few."""
    ordered = np.sort(np.asarray(values))
    n = ordered.size
    k = int(stats.binom.ppf((1 - level) / 2, n, 0.5))
    if 2 * stats.binom.cdf(k, n, 0.5) > 1 - level:
        k -= 1
    bounds = (float(ordered[k]), float(ordered[n - 1 - k])) if k >= 0 else (None, None)
    return (float(np.median(ordered)), *bounds)


def _rate(measure: str, good: int, n: int) -> Measure:
    if not n:
        return Measure(measure, "1", None, None, None, 0, 0, "Wilson")
    low, high = wilson(Count(good, n))
    return Measure(measure, "1", good / n, low, high, good, n, "Wilson")


def _middle(measure: str, values: Sequence[float | None]) -> Measure:
    known = [v for v in values if v is not None]
    if not known:
        return Measure(measure, "d", None, None, None, None, 0, "median, order statistics")
    middle, low, high = _median(known)
    return Measure(measure, "d", middle, low, high, None, len(known), "median, order statistics")


def _first_pass(orders: Iterable[Order]) -> tuple[int, int]:
    """First attempts dispositioned for release, and all that were dispositioned or terminated."""
    good = bad = 0
    for order in orders:
        good += order["first_disposition"] in ("released", "released_out_of_specification")
        bad += order["first_status"] == "terminated" or order["first_disposition"] == "rejected"
    return good, good + bad


def _delivered(orders: Iterable[Order]) -> tuple[int, int]:
    """Orders infused, and those that were collected and are over for a reason that a product could have mended."""
    good = n = 0
    for order in orders:
        if order["end_kind"] is None or order["first_collected_at"] is None:
            continue
        undecided = order["end_kind"] in ("died", "withdrawn") and order["disposition"] in (None, "pending")
        good += order["end_kind"] == "infused"
        n += not undecided
    return good, n


def _in_window(orders: Iterable[Order], hours: float) -> tuple[int, int]:
    good = n = 0
    for order in orders:
        if order["end_kind"] in ("died", "withdrawn") or order["ordered_at"] is None:
            continue
        days = _days(order["ordered_at"], order["infused_at"])
        within = days is not None and days * 24 <= hours
        past = order["observed_until"] is not None and _over(order, hours)
        good += within
        n += within or order["infused_at"] is not None or past
    return good, n


def _over(order: Order, hours: float) -> bool:
    seen: datetime = order["observed_until"]
    begun: datetime = order["ordered_at"]
    return seen - begun > timedelta(hours=hours)


def measures(orders: Sequence[Order], window: float | None) -> list[Measure]:
    """Every measure of one group; `window` is the fleet's limit from order to infusion in hours."""
    told = [
        _rate("first_pass_success", *_first_pass(orders)),
        _rate("delivery_success", *_delivered(orders)),
        _middle("turnaround", [_days(o["collected_at"], o["released_at"]) for o in orders]),
        _middle("vein_to_vein", [_days(o["first_collected_at"], o["infused_at"]) for o in orders]),
        _middle("order_to_infusion", [_days(o["ordered_at"], o["infused_at"]) for o in orders]),
    ]
    if window is not None:
        told.append(_rate("in_window", *_in_window(orders, window)))
    found = _incidence(_watched(orders, _first_collected))
    for day in DAYS:
        if found is not None and _reaches(found, day) and "infused" in found.causes:
            chance, low, high = found.at(min(day, found.last_seen), "infused")
            name = f"infused_by_day_{day:g}"
            told.append(Measure(name, "1", chance, low, high, None, found.n, "Aalen-Johansen"))
    return told


def contrast(local: Sequence[Order], central: Sequence[Order]) -> list[dict[str, Any]]:
    """Sites that make for themselves against contract manufacturers: differences (ratio for days) with intervals.

    Patients are not randomised to either, so a difference may be theirs. Empty where one side has no orders.
    """
    told: list[dict[str, Any]] = []

    def add(
        measure: str,
        kind: str,
        value: tuple[float, float],
        found: tuple[float, float, float],
        method: str,
        n: tuple[int, int],
    ) -> None:
        told.append({
            "measure": measure, "kind": kind, "local": value[0], "central": value[1], "estimate": found[0],
            "low": found[1], "high": found[2], "n_local": n[0], "n_central": n[1], "method": method,
        })  # fmt: skip

    if not local or not central:
        return told
    for name, count in (("first_pass_success", _first_pass), ("delivery_success", _delivered)):
        (a, m), (b, n) = count(local), count(central)
        if m and n:
            d = newcombe(Count(a, m), Count(b, n))
            add(name, "difference", (a / m, b / n), (d.estimate, d.ci_low, d.ci_high), "Newcombe", (m, n))
    first, second = (_incidence(_watched(some, _first_collected)) for some in (local, central))
    z = float(stats.norm.isf(0.025))
    for day in DAYS:
        if first is None or second is None or not (_reaches(first, day) and _reaches(second, day)):
            continue
        (p, u), (q, v) = (_at(found, day) for found in (first, second))
        half, gap = z * sqrt(u + v), p - q
        bounds = (gap, max(-1.0, gap - half), min(1.0, gap + half))
        add(f"infused_by_day_{day:g}", "difference", (p, q), bounds, "Aalen-Johansen", (first.n, second.n))
    times: tuple[tuple[str, Callable[[Order], float | None]], ...] = (
        ("vein_to_vein", lambda o: _days(o["first_collected_at"], o["infused_at"])),
        ("turnaround", lambda o: _days(o["collected_at"], o["released_at"])),
    )
    for name, value in times:
        sides = [[x for x in map(value, some) if x is not None and x > 0] for some in (local, central)]
        try:
            found = means.welch(sides[1], sides[0], scale="log", alpha=0.025)
        except StatisticsRefusal:
            continue
        middle = (float(np.exp(np.mean(np.log(sides[0])))), float(np.exp(np.mean(np.log(sides[1])))))
        add(
            name,
            "ratio",
            middle,
            (found.estimate, found.ci_low, found.ci_high),
            found.method,
            (len(sides[0]), len(sides[1])),
        )
    for name, column in (("transit_hours", "transit_h"), ("administration_hours", "administration_h")):
        hours = [
            [o[column] for o in some if o["infused_at"] and o[column] is not None]
            for some in (local, central)
        ]
        try:
            found = means.welch(hours[1], hours[0], alpha=0.025)
        except StatisticsRefusal:
            continue
        middle = (float(np.mean(hours[0])), float(np.mean(hours[1])))
        add(
            name,
            "difference",
            middle,
            (found.estimate, found.ci_low, found.ci_high),
            found.method,
            (len(hours[0]), len(hours[1])),
        )
    return told


def _reaches(found: CumulativeIncidence, day: float) -> bool:
    """Whether the curve says something about a day: somebody was watched so long, or nobody was left before."""
    return day <= found.last_seen or bool(found.still_open[-1] <= 0)


def _at(found: CumulativeIncidence, day: float) -> tuple[float, float]:
    """Incidence of infusion and its variance by a day."""
    row = int(np.searchsorted(found.times, day, "right")) - 1
    if row < 0 or "infused" not in found.causes:
        return 0.0, 0.0
    column = found.causes.index("infused")
    return float(found.incidence[row, column]), float(found.variance[row, column])


def forecasts(orders: Sequence[Order], window: float | None) -> list[dict[str, Any]]:
    """When each open order will be infused, and its chance to be in time, from orders that stood where it stands.

    Compared are finished and open orders of the same site from the same milestone, given that they were still open
    after as long (the fleet's where the site has fewer than ENOUGH that ended).
    """
    told = []
    for order in orders:
        if order["end_kind"] is not None or order["observed_until"] is None:
            continue
        name = next((m for m in MILESTONES if order[m] is not None), None)
        if name is None:
            continue
        told.append(_forecast(order, name, orders, window))
    return told


def _forecast(order: Order, name: str, orders: Sequence[Order], window: float | None) -> dict[str, Any]:
    begun: datetime = order[name]
    waited = max(_days(begun, order["observed_until"]) or 0.0, 0.0)
    others = [o for o in orders if o is not order]
    basis, watched = (
        "site",
        _watched((o for o in others if o["site_id"] == order["site_id"]), lambda o: _moment(o, name)),
    )
    if sum(1 for days, end in watched if end and days > waited) < ENOUGH:
        basis, watched = "fleet", _watched(others, lambda o: _moment(o, name))
    found = _incidence(watched, waited)
    due = (
        order["ordered_at"] + timedelta(hours=window) if window is not None and order["ordered_at"] else None
    )
    row: dict[str, Any] = {
        "site_id": order["site_id"], "order_id": order["order_id"], "patient_key": order["patient_key"],
        "status": order["status"], "since": name, "begun_at": begun, "waited_d": waited,
        "as_of": order["observed_until"],
        "due_at": due, "basis": None, "n": 0, "record_id": order["record_id"], "source_file": order["source_file"],
        "source_row": order["source_row"],
    }  # fmt: skip
    late = due is not None and order["observed_until"] >= due
    if found is None or "infused" not in found.causes:
        return row | {"risk": "missed" if late else "not_known"}
    column = found.causes.index("infused")
    curve = found.incidence[:, column]
    ever = float(curve[-1])
    row |= {"basis": basis, "n": found.n, "ever_infused": ever}
    for field, share in (("expected_at", 0.5), ("earliest_at", 0.1), ("latest_at", 0.9)):
        reached = np.flatnonzero(curve >= share * ever - 1e-12)
        row[field] = begun + timedelta(days=float(found.times[reached[0]]))
    if due is None:
        return row | {"risk": "no_window"}
    left = _days(begun, due) or 0.0
    if late or left <= 0:
        return row | {"in_time": 0.0, "in_time_low": 0.0, "in_time_high": 0.0, "risk": "missed"}
    chance, low, high = found.at(min(left, found.last_seen), "infused")
    risk = "likely_to_miss" if chance < 0.5 else "at_risk" if chance < 0.8 - 1e-9 else "on_track"
    return row | {"in_time": chance, "in_time_low": low, "in_time_high": high, "risk": risk}


def _moment(order: Order, name: str) -> datetime | None:
    moment: datetime | None = order[name]
    return moment
