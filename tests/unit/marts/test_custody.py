"""The verdict on chains of identity and custody, and each named fault with its row, in a small fleet made by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from pipelines.validation.findings import find
from tests.unit.marts.test_marts import FLEET
from warehouse.marts.build import build
from warehouse.plan import CustodyLimit, Fleet

START = datetime(2026, 2, 1, tzinfo=UTC)
LIMITS = {"shipped": CustodyLimit(low_c=2, high_c=8), "infused": CustodyLimit(within_hours=6)}
JUDGED: Fleet = FLEET.model_copy(update={"custody": LIMITS})
CONDITION = {"excursion", "time_out_of_control"}
OURS = CONDITION | {
    "custody_break", "custody_overlap", "custody_contradiction", "swap_suspicion", "identity_check_missing",
    "impossible_order", "missing_hand_over",
}  # fmt: skip
# kind, object, giver, taker, place, hours after collection
CHAIN = [
    ("collected", "apheresis", "patient", "unit", "unit", 0.0),
    ("received", "apheresis", "unit", "lab", "lab", 4.0),
    ("processed", "apheresis", "lab", "suite", "S1", 10.0),
    ("processed", "product", "suite", "lab", "S1", 230.0),
    ("released", "product", "lab", "qa", "lab", 270.0),
    ("shipped", "product", "qa", "porter", "lab", 300.0),
    ("handed_over", "product", "porter", "ward", "ward", 303.0),
    ("infused", "product", "ward", "patient", "ward", 305.0),
]
Rows = dict[str, list[dict[str, Any]]]


def at(hours: float) -> str:
    return (START + timedelta(hours=hours)).isoformat()


def event(
    event_id: str, coi: str, kind: str, giver: str, taker: str, hours: float, **more: Any
) -> dict[str, Any]:
    row = {
        "site_id": "a", "event_id": event_id, "coi_id": coi, "custody_kind": kind, "custody_object": "product",
        "from_party": giver, "to_party": taker, "place": "ward", "happened_at": at(hours), "verified_by_two": True,
        "custody_temperature_c": 5.0 if kind == "shipped" else 20.0,
    }  # fmt: skip
    return row | more


def therapy(rows: Rows, n: int, suite: str = "S1", **changed: dict[str, Any] | None) -> float:
    """An order whose chain is whole, begun on day `n`; `e3={...}` changes its third event, `e3=None` leaves it out."""
    first, order = 24.0 * n, {"site_id": "a", "order_id": f"O{n}"}
    made = {
        "batch_id": f"B{n}",
        "suite_id": suite,
        "batch_started_at": at(first + 10),
        "formulated_at": at(first + 230),
    }
    told: Rows = {
        "therapy_order": [order | {"patient_key": f"P{n:A>12}", "coi_id": f"K{n}", "ordered_at": at(first - 300)}],
        "collection": [order | {"collection_id": f"C{n}", "collection_ended_at": at(first)}],
        "batch": [order | made],
        "release_decision": [made | {"release_id": f"Q{n}", "decision": "released", "signed_at": at(first + 270)}],
        "infusion": [order | {"infusion_id": f"I{n}", "batch_id": f"B{n}", "infused_at": at(first + 305)}],
        "custody_event": [],
    }  # fmt: skip
    for i, (kind, item, giver, taker, place, hours) in enumerate(CHAIN, 1):
        change = changed.get(f"e{i}", {})
        if change is not None:
            where = {"custody_object": item, "place": suite if place == "S1" else place}
            row = event(f"E{n}-{i}", f"K{n}", kind, giver, taker, first + hours, **where)
            told["custody_event"].append(row | change)
    for table, some in told.items():
        rows.setdefault(table, []).extend(some)
    return first


def usual(orders: int = 5) -> Rows:
    """Therapies without fault: what is usual at the site."""
    rows: Rows = {}
    for n in range(orders):
        therapy(rows, n)
    return rows


def judge(lake: Any, rows: Rows) -> tuple[dict[str, dict[str, Any]], set[tuple[str, str]]]:
    """Chains by order, and the findings about custody."""
    for table, some in rows.items():
        lake.add(table, *some)
    find(lake.con, "test", JUDGED)
    build(lake.con, "snap", JUDGED, 1)
    chains = {row["order_id"]: row for row in lake.all("SELECT * FROM snap.mart.custody_chain")}
    found = lake.all("SELECT reason_code, subject FROM lake.quality.finding")
    return chains, {(f["reason_code"], f["subject"]) for f in found if f["reason_code"] in OURS}


def codes(row: dict[str, Any]) -> set[str]:
    return set(filter(None, row["reasons"].split(", ")))


def test_one_fault_is_one_finding_and_one_reason_under_its_own_name(small_lake: Any) -> None:
    rows = usual()
    rows["therapy_order"].append(
        {
            "site_id": "a",
            "order_id": "O99",
            "patient_key": "PZZZZZZZZZZZZ",
            "coi_id": "K99",
            "ordered_at": at(0),
        }
    )
    therapy(rows, 70, suite="S2")
    wanted: dict[int, tuple[set[tuple[str, str]], dict[str, Any]]] = {
        10: ({("missing_hand_over", "E10-7")}, {"e6": None}),
        11: ({("custody_break", "E11-2"), ("custody_break", "O11")}, {"e1": None}),
        12: ({("custody_break", "E12-5")}, {"e5": {"to_party": None}}),
        13: ({("identity_check_missing", "E13-4")}, {"e4": {"verified_by_two": False}}),
        14: ({("identity_check_missing", "E14-4")}, {"e4": {"verified_by_two": None}}),
        15: ({("excursion", "E15-6")}, {"e6": {"custody_temperature_c": 11.5}}),
        16: (
            {("time_out_of_control", "E16-8")},
            {"e6": {"happened_at": at(16 * 24 + 296)}, "e7": {"happened_at": at(16 * 24 + 297.5)}},
        ),
        17: ({("custody_contradiction", "E17-3")}, {"e3": {"happened_at": at(17 * 24 + 7)}}),
        18: ({("custody_contradiction", "E18-3")}, {"e3": {"place": "S2"}}),
        # The infusion is on record elsewhere, so that its missing event is a break, and not an open end.
        19: ({("custody_break", "O19")}, {"e8": None}),
    }  # fmt: skip
    for n, (_, changes) in wanted.items():
        therapy(rows, n, **changes)
    chains, found = judge(small_lake, rows)
    assert found == set().union(*(f for f, _ in wanted.values()))
    for n, (expected, _) in wanted.items():
        row, faults = chains[f"O{n}"], {code for code, _ in expected}
        assert codes(row) == faults
        assert row["verdict"] == ("broken" if faults - CONDITION else "unbroken")
        assert row["condition"] == ("excursion" if faults & CONDITION else "kept")
    whole = chains["O0"]
    assert {chains[f"O{n}"]["verdict"] for n in range(5)} == {"unbroken"}
    assert (whole["n_events"], whole["n_hand_overs"], whole["held_by"], whole["condition"]) == (
        8,
        8,
        "patient",
        "kept",
    )
    assert chains["O99"]["verdict"] == "not_begun"
    assert "infusion I19 tells" in chains["O19"]["detail"]


def test_swaps_overlap_and_impossible_order_and_chains_of_two_sites(small_lake: Any) -> None:
    rows = usual()
    # Two labels exchanged at infusion; a clock that is wrong alone is no swap.
    therapy(rows, 10, e8={"coi_id": "K11"})
    therapy(rows, 11, e8={"coi_id": "K10"})
    therapy(rows, 20, e1={"happened_at": at(20 * 24 - 1.5)})
    # Only order 31 was infused; the event is told of order 30, which has no infusion on record.
    therapy(rows, 30, e8={"happened_at": at(31 * 24 + 305)})
    therapy(rows, 31, e8=None)
    rows["infusion"] = [row for row in rows["infusion"] if row["infusion_id"] != "I30"]
    # The laboratory gives to two.
    first = therapy(rows, 40)
    rows["custody_event"].append(event("X40", "K40", "handed_over", "lab", "night desk", first + 290))
    # Something happens to what was infused.
    first = therapy(rows, 41)
    rows["custody_event"].append(event("X41", "K41", "handed_over", "patient", "ward", first + 309))
    # Unfinished, and told by two sites.
    therapy(rows, 50, e7={"site_id": "hospital"}, e8=None)
    rows["infusion"] = [row for row in rows["infusion"] if row["infusion_id"] != "I50"]
    chains, found = judge(small_lake, rows)
    assert {s for code, s in found if code == "swap_suspicion"} == {"E10-8", "E11-8", "E30-8"}
    assert "order O11" in chains["O10"]["detail"]
    assert {chains[f"O{n}"]["identity"] for n in (10, 11, 30)} == {"in_doubt"}
    assert codes(chains["O20"]) == {"custody_contradiction"}
    assert {s for code, s in found if code == "custody_overlap"} == {"X40"}
    # What follows order 11's infusion at order 10's time cannot be either.
    assert {s for code, s in found if code == "impossible_order"} == {"X41", "E11-6", "E11-7"}
    assert codes(chains["O41"]) == {"impossible_order"}
    assert (chains["O50"]["verdict"], chains["O50"]["sites"], chains["O50"]["held_by"]) == (
        "open",
        "a, hospital",
        "ward",
    )


def test_steps_show_gap_holder_and_what_is_wrong(small_lake: Any) -> None:
    events = [(1, 0, "p", "q"), (2, 5, "q", "r"), (3, 4, "q", "s"), (3, 9, "s", "t")]
    rows = [
        event(f"E{i}", "K1", "handed_over", giver, taker, hours, sequence_no=sequence)
        for i, (sequence, hours, giver, taker) in enumerate(events)
    ]
    judge(small_lake, {"custody_event": rows})
    steps = {r["event_id"]: r for r in small_lake.all("SELECT * FROM snap.mart.custody_step")}
    assert [steps[f"E{i}"]["gap_h"] for i in range(4)] == [None, 5, -1, 5]
    assert [steps[f"E{i}"]["held_by"] for i in range(4)] == [None, "q", "r", "s"]
    assert [steps[f"E{i}"]["is_link"] for i in range(4)] == [True, True, True, False]
    assert [steps[f"E{i}"]["forked"] for i in range(4)] == [False, False, True, True]
    assert codes(steps["E3"]) == {"chain_fork"}
    assert codes(steps["E2"]) == {"custody_overlap", "time_order"}
