"""What each rule finds in a small fleet filled in by hand, and what it leaves alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from stdnum.iso7064 import mod_37_2

from pipelines.validation.findings import find, rules
from tests.unit.conftest import together
from warehouse.lake import DELETED

START = datetime(2026, 2, 1, tzinfo=UTC)


def at(hours: float) -> str:
    return (START + timedelta(hours=hours)).isoformat()


def found(lake: Any, code: str) -> dict[str, str]:
    """Details of the findings of one rule by subject."""
    rows = lake.all("SELECT subject, detail FROM lake.quality.finding WHERE reason_code = ?", [code])
    assert len({r["subject"] for r in rows}) == len(rows)
    return {r["subject"]: r["detail"] for r in rows}


def codes(lake: Any) -> dict[str, set[str]]:
    """Subjects of all findings by reason code."""
    told: dict[str, set[str]] = {}
    for row in lake.all("SELECT reason_code, subject FROM lake.quality.finding"):
        told.setdefault(row["reason_code"], set()).add(row["subject"])
    return told


@together
def journey(lake: Any, n: str = "1", **changed: dict[str, Any]) -> None:
    """A patient's whole journey at site a with nothing wrong; `changed` overrides fields of a table's row."""
    base = {"site_id": "a"}
    batch = base | {"batch_id": f"B{n}"}
    order = base | {"order_id": f"O{n}"}
    rows: dict[str, dict[str, Any]] = {
        "therapy_order": order
        | {"patient_key": f"P{n:A>12}", "product_id": "X", "coi_id": f"COI{n}", "ordered_at": at(-100)},
        "collection": order
        | {
            "collection_id": f"C{n}",
            "din": f"DIN{n}",
            "collection_started_at": at(-10),
            "collection_ended_at": at(-6),
        },
        "batch": batch
        | order
        | {"product_id": "X", "batch_started_at": at(0), "harvested_at": at(200), "formulated_at": at(204)},
        "unit_operation": batch
        | {
            "operation_id": f"U{n}",
            "unit_procedure": "expansion",
            "operation_started_at": at(10),
            "operation_ended_at": at(190),
        },
        "sample": batch | {"sample_id": f"S{n}", "sample_point": "release", "taken_at": at(205)},
        "assay_result": batch
        | {
            "sample_id": f"S{n}",
            "result_id": f"R{n}",
            "attribute": "cd3_pct",
            "value": 95.0,
            "operator": "=",
            "value_as_given": "95",
            "result_at": at(210),
            "source_version": at(211),
        },
        "deviation": batch | {"deviation_id": f"D{n}", "opened_at": at(150), "closed_at": at(160)},
        "release_decision": batch
        | {
            "release_id": f"Q{n}",
            "decision": "released",
            "spec_id": "SP",
            "spec_version": "1",
            "signed_at": at(230),
        },
        "infusion": batch | order | {"infusion_id": f"I{n}", "infused_at": at(250)},
        "lot_use": batch | {"lot_id": "L1", "phase": "activation"},
    }
    for table, row in rows.items():
        lake.add(table, row | changed.get(table, {}))


@together
def shared(lake: Any) -> None:
    """What all journeys use: a specification with a limit, and a lot."""
    spec = {"site_id": "a", "spec_id": "SP", "spec_version": "1"}
    lake.add(
        "specification", spec | {"product_id": "X", "effective_from": at(-5000), "effective_to": at(6000)}
    )
    lake.add(
        "spec_limit",
        spec | {"attribute": "cd3_pct", "stage": "release", "low": 80.0, "inclusive": True, "blocking": True},
    )
    lake.add(
        "reagent_lot",
        {"site_id": "a", "lot_id": "L1", "received_on": "2025-06-01", "expires_on": "2027-06-01"},
    )


def test_nothing_is_found_where_nothing_is_wrong_and_nothing_twice(small_lake: Any) -> None:
    shared(small_lake)
    journey(small_lake)
    assert find(small_lake.con, "run1") == 0
    journey(small_lake, "2", infusion={"infused_at": at(220)}, lot_use={"lot_id": "L9"})
    assert find(small_lake.con, "run2") == 2
    assert find(small_lake.con, "run3") == 0
    assert codes(small_lake) == {"infusion_before_release": {"I2"}, "lot_unknown": {"B2|L9"}}
    row = small_lake.one("SELECT * FROM lake.quality.finding WHERE reason_code = 'lot_unknown'")
    assert (row["severity"], row["table_name"], row["source_file"], row["run_id"]) == (
        "error",
        "lot_use",
        "lot_use.csv",
        "run2",
    )
    assert row["record_id"]


def test_single_wrongs_are_found_each_under_its_own_code(small_lake: Any) -> None:
    shared(small_lake)
    spec = {"site_id": "a", "spec_id": "SP", "spec_version": "2"}
    small_lake.add("specification", spec | {"product_id": "X", "effective_from": at(240)})
    small_lake.add(
        "reagent_lot",
        {"site_id": "a", "lot_id": "LOLD", "received_on": "2025-06-01", "expires_on": "2026-01-15"},
    )
    journey(small_lake, "1")
    journey(small_lake, "oos", assay_result={"value": 70.0})
    journey(small_lake, "early", release_decision={"spec_version": "2"})
    journey(small_lake, "expired", lot_use={"lot_id": "LOLD"})
    journey(small_lake, "none", release_decision={"decision": "rejected"})
    journey(small_lake, "orphan", assay_result={"sample_id": "S?"}, deviation={"batch_id": "B?"})
    journey(small_lake, "swap", assay_result={"sample_id": "S1"})
    journey(small_lake, "given", infusion={"order_id": "O1"})
    journey(small_lake, "coi", therapy_order={"coi_id": "COI1", "ordered_at": at(-90)})
    find(small_lake.con, "run")
    assert codes(small_lake) == {
        "out_of_specification": {"Roos"},
        "spec_not_effective": {"Qearly"},
        "lot_expired_at_use": {"Bexpired|LOLD"},
        "infusion_before_release": {"Inone"},
        "reference_missing": {"Rorphan", "Dorphan"},
        "identity_conflict": {"Rswap", "Igiven", "Ocoi"},
    }


def test_impossible_orders_of_time_are_one_finding_a_record(small_lake: Any) -> None:
    shared(small_lake)
    journey(small_lake, "1")
    journey(small_lake, "collection", collection={"collection_ended_at": at(-12)})
    journey(small_lake, "start", batch={"batch_started_at": at(-20)})
    journey(small_lake, "harvest", batch={"harvested_at": at(-1), "formulated_at": at(204)})
    journey(small_lake, "formulated", batch={"formulated_at": at(190)})
    journey(small_lake, "operation", unit_operation={"operation_ended_at": at(9)})
    journey(small_lake, "taken", sample={"taken_at": at(235)})
    journey(small_lake, "ipc", sample={"sample_point": "ipc_day_5", "taken_at": at(201)})
    journey(small_lake, "deviation", deviation={"closed_at": at(149)})
    journey(small_lake, "given", infusion={"infused_at": at(199)}, release_decision={"signed_at": at(198)})
    journey(small_lake, "stamp", assay_result={"result_at": at(214), "source_version": at(212)})
    find(small_lake.con, "run")
    told = found(small_lake, "time_order")
    expected = {
        "Ccollection",
        "Bstart",
        "Bharvest",
        "Bformulated",
        "Uoperation",
        "Staken",
        "Sipc",
        "Ddeviation",
        "Rstamp",
    }
    # A batch harvested before its start, or a release before harvest, contradicts what follows from it too.
    assert expected <= set(told)
    assert set(told) - expected <= {"Igiven", "Qgiven", "Sgiven", "Sharvest"}
    assert {"Igiven", "Qgiven"} <= set(told)
    assert "after its first result" in told["Staken"]
    assert "for release, after the decision" in told["Staken"]


def chain(
    lake: Any, coi: str, hours: list[float], first: int = 1, site: str = "a", **columns: list[Any]
) -> None:
    parties = ["patient", "unit", "laboratory", "suite", "laboratory", "qa", "porter", "ward", "patient"]
    objects = ["cells"] * 3 + ["batch"] * 5
    kinds = [
        "collected",
        "received",
        "processed",
        "processed",
        "released",
        "shipped",
        "handed_over",
        "infused",
    ]
    for i, when in enumerate(hours):
        lake.add("custody_event", {
            "site_id": site, "event_id": f"{coi}-{i}", "coi_id": coi, "custody_kind": kinds[i],
            "custody_object": objects[i], "from_party": parties[i],
            "to_party": parties[i + 1], "happened_at": at(when), "sequence_no": i + first, "place": "p",
        } | {name: values[i] for name, values in columns.items()})  # fmt: skip


USUAL = [0.0, 6, 9, 200, 240, 260, 263, 265]


def test_of_two_custody_events_the_one_with_the_unusual_gap_is_wrong(small_lake: Any) -> None:
    # One site a case, so that each has its own usual gaps. The first event of a chain has none before it.
    cases = [(wrong, step) for wrong in range(7) for step in (1, -1) if wrong + step >= 0]
    with small_lake.together():
        for wrong, step in cases:
            site = f"s{wrong}{'after' if step > 0 else 'before'}"
            for n in range(8):
                usual = [h + n * 20 + (n % 3) * (h > 0) for h in USUAL]
                chain(small_lake, f"{site}-K{n}", usual, site=site)
            skewed = [h + 10 for h in USUAL]
            skewed[wrong] = skewed[wrong + step] + step * 1.7
            chain(small_lake, f"{site}-KX", skewed, site=site)
    find(small_lake.con, "run")
    told = found(small_lake, "time_order")
    assert len(told) == len(cases)
    for wrong, step in cases:
        site = f"s{wrong}{'after' if step > 0 else 'before'}"
        named = {name for name in told if name.startswith(f"{site}-")}
        # Between two events an hour or two apart nobody can say which clock was wrong.
        near = abs(USUAL[wrong] - USUAL[wrong + step]) <= 4
        either = {f"{site}-KX-{wrong}", f"{site}-KX-{wrong + step}"}
        assert len(named) == 1
        assert named <= (either if near else {f"{site}-KX-{wrong}"}), (wrong, step, named)


def test_of_two_custody_events_the_one_that_another_record_tells_too_is_right(small_lake: Any) -> None:
    objects = ["apheresis"] * 3 + ["product"] * 5
    swapped = [8.0, 6, 9, 200, 240, 260, 263, 265]
    with small_lake.together():
        for site in "ab":
            chain(small_lake, f"{site}-K", swapped, site=site, custody_object=objects)
        order = {"site_id": "b", "order_id": "O1"}
        small_lake.add("therapy_order", order | {"coi_id": "b-K", "ordered_at": at(-100)})
        small_lake.add(
            "collection",
            order | {"collection_id": "C1", "collection_started_at": at(4), "collection_ended_at": at(7.7)},
        )
    find(small_lake.con, "run")
    assert set(found(small_lake, "time_order")) == {"a-K-0", "b-K-1"}


def test_copies_forks_and_missing_hand_overs(small_lake: Any) -> None:
    hashes = [f"h{i}" for i in range(9)]
    chain(small_lake, "K1", USUAL, previous_hash=hashes[:8], leaf_hash=hashes[1:])
    event = {
        "site_id": "a",
        "coi_id": "K1",
        "custody_kind": "processed",
        "custody_object": "cells",
        "from_party": "laboratory",
        "to_party": "suite",
        "place": "p",
    }
    # The chain goes on over a copy; a fork claims a place that is taken.
    small_lake.add(
        "custody_event",
        event
        | {
            "event_id": "copy",
            "happened_at": at(9),
            "sequence_no": 9,
            "previous_hash": "h8",
            "leaf_hash": "h9",
        },
    )
    small_lake.add(
        "custody_event",
        event
        | {
            "event_id": "fork",
            "happened_at": at(11),
            "sequence_no": 3,
            "previous_hash": "h2",
            "leaf_hash": "f3",
        },
    )
    chain(small_lake, "K2", USUAL)
    gap = {
        "site_id": "a",
        "coi_id": "K3",
        "custody_kind": "handed_over",
        "happened_at": at(1),
        "from_party": "a",
        "to_party": "b",
    }
    small_lake.add("custody_event", gap | {"event_id": "g1", "sequence_no": 1})
    small_lake.add(
        "custody_event",
        gap | {"event_id": "g2", "sequence_no": 2, "from_party": "c", "to_party": "d", "happened_at": at(2)},
    )
    small_lake.add(
        "custody_event",
        gap | {"event_id": "g4", "sequence_no": 4, "from_party": "d", "to_party": "e", "happened_at": at(3)},
    )
    find(small_lake.con, "run")
    told = codes(small_lake)
    assert told["duplicate_event"] == {"copy"}
    assert told["chain_fork"] == {"fork"}
    assert told["missing_hand_over"] == {"g2", "g4"}


def test_a_second_apheresis_is_no_missing_hand_over(small_lake: Any) -> None:
    chain(small_lake, "K1", USUAL[:3])
    again = {
        "site_id": "a",
        "event_id": "again",
        "coi_id": "K1",
        "custody_kind": "collected",
        "from_party": "patient",
        "to_party": "unit",
        "place": "unit",
    }
    small_lake.add("custody_event", again | {"happened_at": at(300), "sequence_no": 4})
    assert find(small_lake.con, "run") == 0


def test_a_result_edited_after_release_is_named_with_both_values(small_lake: Any) -> None:
    shared(small_lake)
    for n in ("1", "before", "after"):
        journey(small_lake, n)
    result = {
        "site_id": "a",
        "sample_id": "S1",
        "attribute": "cd3_pct",
        "operator": "=",
        "result_at": at(210),
    }
    for n, stamp in (("before", 225), ("after", 300)):
        edit = {
            "result_id": f"R{n}",
            "batch_id": f"B{n}",
            "sample_id": f"S{n}",
            "value": 96.0,
            "value_as_given": "96",
        }
        small_lake.add(
            "assay_result", result | edit | {"source_version": at(stamp), "change_reason": "typing"}
        )
    find(small_lake.con, "run")
    told = found(small_lake, "edited_after_release")
    assert set(told) == {"Rafter"}
    assert "from 95 to 96" in told["Rafter"]
    assert "(typing)" in told["Rafter"]


def test_a_decision_to_reject_rests_on_results_as_well(small_lake: Any) -> None:
    shared(small_lake)
    for n in ("1", "no"):
        journey(small_lake, n, release_decision={"decision": "rejected"}, infusion={"batch_id": None})
    edit = {"result_id": "Rno", "batch_id": "Bno", "sample_id": "Sno", "value": 96.0, "value_as_given": "96"}
    same = {"site_id": "a", "attribute": "cd3_pct", "operator": "=", "result_at": at(210)}
    small_lake.add("assay_result", same | edit | {"source_version": at(300)})
    find(small_lake.con, "run")
    told = found(small_lake, "edited_after_release")
    assert set(told) == {"Rno"}
    assert "after the rejection of" in told["Rno"]


def test_a_result_deleted_after_the_decision_is_named_with_what_it_said(small_lake: Any) -> None:
    shared(small_lake)
    for n in ("1", "before", "after", "untimed"):
        journey(small_lake, n)
    gone = {"site_id": "a", "reason": DELETED}
    small_lake.add("assay_result", gone | {"result_id": "Rbefore", "source_version": at(225)})
    small_lake.add("assay_result", gone | {"result_id": "Rafter", "source_version": at(300)})
    find(small_lake.con, "run")
    told = found(small_lake, "deleted_after_release")
    assert set(told) == {"Rafter"}
    assert told["Rafter"].startswith("cd3_pct 95 was deleted on 2026-02-13 12:00 UTC, after the release of")
    assert "edited_after_release" not in codes(small_lake)


def test_identifiers_that_do_not_fit_their_check_character(small_lake: Any) -> None:
    """Characters as printed in ICCBBA's and others' examples, and by an independent implementation of the standard."""
    known = {"G123417654321": "A", "A999921123456": "3"}
    for n, (number, check) in enumerate(known.items()):
        collection = {"site_id": "a", "order_id": f"O{n}", "collection_id": f"C{n}"}
        small_lake.add("collection", collection | {"din": number + check})
        wrong = "B" if check != "B" else "C"
        small_lake.add("collection", collection | {"collection_id": f"X{n}", "din": number + wrong})
        small_lake.add("collection", collection | {"collection_id": f"N{n}", "din": number})
    base = "CHG1517251A0B2C"
    good = base + mod_37_2.calc_check_digit(base)
    wrong = {f"{good[:i]}{'7' if good[i] != '7' else '8'}{good[i + 1 :]}" for i in range(7, 15)}
    neighbours = {f"{good[:i]}{good[i + 1]}{good[i]}{good[i + 2 :]}" for i in range(9, 14)}
    for n, coi in enumerate([good, *sorted(wrong | neighbours), "their own 17"]):
        small_lake.add(
            "therapy_order",
            {
                "site_id": "a",
                "order_id": f"O{n}",
                "coi_id": coi,
                "patient_key": f"P{n:A>12}",
                "product_id": "X",
            },
        )
    find(small_lake.con, "run")
    expected = {"X0", "X1"} | {f"O{n + 1}" for n in range(len(wrong | neighbours))}
    assert set(found(small_lake, "check_character")) == expected


def test_genealogies_that_cannot_be(small_lake: Any) -> None:
    shared(small_lake)
    for n in ("1", "2"):
        journey(small_lake, n)

    def link(parent: str, child: str, kind: str) -> None:
        row = {"site_id": "a", "parent_id": parent, "child_id": child, "genealogy_kind": kind}
        small_lake.add("batch_genealogy", row)

    for n in ("1", "2"):
        link(f"C{n}", f"B{n}", "collection_to_batch")
        link("L1", f"B{n}", "lot_to_batch")
        link(f"B{n}", f"I{n}", "batch_to_infusion")
    find(small_lake.con, "sound")
    assert "impossible_genealogy" not in codes(small_lake)
    link("C1", "B2", "collection_to_batch")
    link("B1", "I2", "batch_to_infusion")
    link("I1", "C1", "batch_to_batch")
    link("B1", "B2", "batch_to_batch")
    find(small_lake.con, "run")
    told = found(small_lake, "impossible_genealogy")
    assert {k: v for k, v in told.items() if "forebear" not in v} == {
        "C1|B2|collection_to_batch": "C1 was collected for order O1, the batch made for O2",
        "B1|I2|batch_to_infusion": "B1 was not given: the infusion names batch B2",
        "B1|B2|batch_to_batch": "B1 is another patient's batch",
    }
    assert {k for k, v in told.items() if "forebear" in v} == {
        "C1|B1|collection_to_batch",
        "B1|I1|batch_to_infusion",
        "I1|C1|batch_to_batch",
    }


def test_a_decision_without_a_sample_or_a_result(small_lake: Any) -> None:
    shared(small_lake)
    for n in ("1", "2", "3", "no"):
        batch = {"release_decision": {"decision": "rejected" if n == "no" else "conditional"}}
        if n in ("2", "no"):
            batch |= {"sample": {"batch_id": "Belse"}}
        if n in ("2", "3", "no"):
            batch |= {"assay_result": {"sample_id": f"S{n}", "batch_id": "Belse"}}
        journey(small_lake, n, **batch)
    find(small_lake.con, "run")
    assert found(small_lake, "sample_missing") == {
        "Q2": "conditional, but batch B2 has no sample on record",
        "Q3": "conditional, but batch B3 has no result on record",
    }


def test_a_file_far_beyond_the_feeds_own_past(small_lake: Any) -> None:
    at_day = [f"2026-02-{d:02d}T00:00:00+00:00" for d in range(1, 25)]
    # A third of the least is 16.67, three times the most 168.
    sizes = [50 + n % 7 for n in range(20)] + [169, 168, 17, 5]
    for n, (day, size) in enumerate(zip(at_day, sizes, strict=True)):
        told = {"site_id": "a", "feed": "assay", "source_file": f"f{n}", "source_file_sha256": f"{n:064d}"}
        small_lake.add("file", told | {"sent_at": day, "received": size, "file_state": "read"})
    find(small_lake.con, "run")
    assert found(small_lake, "volume_unusual") == {
        "f20": "169 records; the 20 files before it held 50 to 56",
        "f23": "5 records; the 23 files before it held 17 to 169",
    }


def test_growth_that_cells_cannot_do(small_lake: Any) -> None:
    shared(small_lake)
    journey(small_lake)
    result = {"site_id": "a", "sample_id": "S1", "batch_id": "B1", "operator": "=", "result_at": at(210)}
    values = {
        # 200 h are 8.3 days: 16.7 doublings at most, 106,000-fold.
        "fold_expansion": [(1e5, False), (2e5, True)],
        "total_viable_cells": [(1e9, False)],
        "total_viable_car_pos_cells": [(1.1e9, False), (1.3e9, True)],
    }
    for attribute, told in values.items():
        for value, _ in told:
            small_lake.add(
                "assay_result",
                result | {"result_id": f"{attribute}{value:g}", "attribute": attribute, "value": value},
            )
    find(small_lake.con, "run")
    assert set(found(small_lake, "implausible_growth")) == {
        f"{a}{v:g}" for a, told in values.items() for v, wrong in told if wrong
    }


def test_a_percentage_that_is_a_fraction(small_lake: Any) -> None:
    shared(small_lake)
    journey(small_lake)
    result = {
        "site_id": "a",
        "sample_id": "S1",
        "batch_id": "B1",
        "operator": "=",
        "attribute": "killing_pct",
        "result_at": at(210),
    }
    values = [60.0, 65, 70, 72, 75, 77, 80, 82, 85, 88, 0.71, 0.05]
    for i, value in enumerate(values):
        small_lake.add("assay_result", result | {"result_id": f"K{i}", "value": value})
    find(small_lake.con, "run")
    assert set(found(small_lake, "unit_implausible")) == {"K10"}


def test_readings_of_an_unknown_batch_are_one_finding(small_lake: Any) -> None:
    reading = {
        "site_id": "a",
        "batch_id": "B?",
        "channel": "T",
        "quantity_name": "temperature_c",
        "reading": 37.0,
        "reading_status": "good",
    }
    small_lake.add("reading", *(reading | {"read_at": at(i)} for i in range(5)))
    find(small_lake.con, "run")
    assert set(found(small_lake, "reference_missing")) == {"B?"}


def test_every_rule_runs_on_an_empty_lake(small_lake: Any) -> None:
    assert set(rules()) >= {"time_order", "reference_missing"}
    assert find(small_lake.con, "run") == 0
