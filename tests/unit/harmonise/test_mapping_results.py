"""Results: codes of test and method, decimal marks, units, censored and qualitative results, wide records."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mapping_harness import assay_feed, attributes, mapped, reasons

ROW = {
    "id": "R-1", "sample": "S-1", "test": "VIAB", "method": "TB", "result": "92.3", "unit": "%",
    "at": "05.03.2026 14:05",
}  # fmt: skip


def one(**changed: str | None) -> dict[str, object]:
    """ROW with changes, mapped."""
    [row] = mapped([{**ROW, **changed}])
    return row


def test_test_and_method_together_say_what_was_measured() -> None:
    blue, flow = mapped([ROW, {**ROW, "method": "FC"}])
    assert (blue["attribute"], flow["attribute"]) == ("viability_trypan_blue_pct", "viability_flow_pct")
    assert (blue["value"], blue["operator"], blue["problems"]) == (92.3, "=", [])
    assert (blue["value_as_given"], blue["unit_as_given"]) == ("92.3", "%")


def test_a_fraction_becomes_per_cent_by_its_unit() -> None:
    row = one(result="0.923", unit="1")
    assert row["value"] == pytest.approx(92.3)
    assert row["problems"] == []


@pytest.mark.parametrize(
    ("changed", "reason", "field"),
    [
        ({"test": "VIAB_OLD"}, "code_retired", "test|method"),
        ({"test": "UNHEARD"}, "code_unknown", "test|method"),
        ({"result": "92,4"}, "number_format", "result"),
        ({"result": "nan"}, "number_format", "result"),
        ({"result": "0.93"}, "unit_implausible", "result"),
        ({"result": "92.4", "unit": "1"}, "out_of_range", "result"),
        ({"unit": "per cent"}, "unit_not_declared", "unit"),
        ({"unit": None}, "unit_not_declared", "unit"),
        ({"test": "ENDO", "method": "LAL", "result": "0.3", "unit": "EU/kg"}, "unit_not_convertible", "unit"),
        ({"test": "ENDO", "method": "LAL", "result": "0", "unit": "EU/mL"}, "zero_below_detection", "result"),
        ({"test": "STER", "method": "CULT", "result": "cloudy"}, "code_unknown", "result"),
        ({"result": None}, "missing_value", "result"),
        ({"sample": " "}, "missing_value", "sample"),
    ],
)
def test_what_cannot_be_read_sets_the_record_aside(
    changed: dict[str, str | None], reason: str, field: str
) -> None:
    row = one(**changed)
    assert (reason, field, True) in {
        (p["reason_code"], p["field_name"], p["whole_record"]) for p in row["problems"]
    }


def test_a_time_that_cannot_be_read_is_refused_alone() -> None:
    row = one(at="31.02.2026 14:05")
    assert [(p["reason_code"], p["whole_record"]) for p in row["problems"]] == [("time_format", False)]
    assert (row["value"], row["result_at"]) == (92.3, None)


@pytest.mark.parametrize(("printed", "operator"), [("<0.05", "<"), ("> 0.05", ">"), ("0.05", "=")])
def test_a_censored_result_keeps_its_operator_and_limit(printed: str, operator: str) -> None:
    row = one(test="ENDO", method="LAL", result=printed, unit="EU/mL")
    assert (row["operator"], row["value"], row["problems"]) == (operator, 0.05, [])


def test_an_operator_may_stand_in_a_column_of_its_own() -> None:
    feed = assay_feed()
    feed["tables"][0]["columns"]["result"]["operator_from"] = "sign"
    rows = [
        {**ROW, "test": "ENDO", "method": "LAL", "unit": "EU/mL", "result": "0.05", "sign": s} for s in "<="
    ]
    assert [r["operator"] for r in mapped(rows, feeds={"assay": feed})] == ["<", "="]


def test_a_qualitative_result_is_a_word_and_has_no_value() -> None:
    row = one(test="STER", method="CULT", result="neg", unit=None)
    assert (row["result_code"], row["value"], row["operator"], row["problems"]) == (
        "negative",
        None,
        None,
        [],
    )


@settings(max_examples=25, deadline=None)
@given(st.lists(st.decimals(20, 100, places=3), min_size=1, max_size=20))
def test_a_decimal_comma_reads_the_same_number(numbers: list[object]) -> None:
    dots = mapped([{**ROW, "result": str(n)} for n in numbers])
    commas = mapped([{**ROW, "result": str(n).replace(".", ",")} for n in numbers], decimal=",")
    assert [r["value"] for r in dots] == [r["value"] for r in commas] == [float(str(n)) for n in numbers]


def test_a_point_is_refused_where_the_comma_is_declared() -> None:
    [row] = mapped([ROW], decimal=",")
    assert reasons(row) == ["number_format"]


def test_what_is_wanted_is_said_for_the_attribute_at_hand() -> None:
    [problem] = one(result="101")["problems"]
    assert (problem["value_seen"], problem["value_wanted"]) == ("101", "0 to 100")


def test_limits_of_a_specification_take_the_unit_of_their_attribute() -> None:
    columns = {
        "spec_id": "id", "spec_version": "version", "stage": "stage",
        "attribute": {"from": ["test", "method"], "codes": "attribute"},
        "low": {"from": "low", "unit_from": "unit"}, "high": {"from": "high", "unit_from": "unit"},
    }  # fmt: skip
    feed = assay_feed(tables=[{"table": "spec_limit", "columns": columns}])
    row = {
        "id": "SP",
        "version": "1",
        "stage": "release",
        "test": "VIAB",
        "method": "TB",
        "low": "0.7",
        "unit": "1",
    }
    [limit] = mapped([row], feeds={"spec_limit": feed})
    assert (limit["low"], limit["high"], limit["problems"]) == (pytest.approx(70), None, [])


def wide() -> dict[str, object]:
    """A feed whose records carry several results."""
    each = [
        {"attribute": "viability_trypan_blue_pct", "method_id": "vicell", "from": "viab", "unit": "%"},
        {
            "attribute": "viable_cell_density_per_ml",
            "method_id": "vicell",
            "from": "density",
            "unit": "{cells}/mL",
        },
    ]
    columns = {"result_id": {"template": "VC/{sample}/{attribute}"}, "sample_id": "sample"}
    return assay_feed(record="sample", tables=[{"table": "assay_result", "columns": columns, "each": each}])


def test_a_wide_record_gives_a_row_for_each_result_it_prints() -> None:
    rows = mapped(
        [
            {"sample": "S-1", "viab": "91.5", "density": "2000000"},
            {"sample": "S-2", "viab": "90", "density": None},
        ],
        feeds={"cell_count": wide()},
    )
    assert {r["result_id"]: r["value"] for r in rows} == {
        "VC/S-1/viability_trypan_blue_pct": 91.5,
        "VC/S-1/viable_cell_density_per_ml": 2_000_000,
        "VC/S-2/viability_trypan_blue_pct": 90,
    }


def test_one_bad_result_of_a_wide_record_is_refused_alone() -> None:
    rows = mapped([{"sample": "S-1", "viab": "abc", "density": "2000000"}], feeds={"cell_count": wide()})
    problems = {r["attribute"]: [(p["reason_code"], p["whole_record"]) for p in r["problems"]] for r in rows}
    assert problems == {
        "viability_trypan_blue_pct": [("number_format", False)],
        "viable_cell_density_per_ml": [],
    }


def test_a_source_column_with_a_fields_name_never_stands_in_for_the_field() -> None:
    feed = assay_feed()
    feed["tables"][0]["columns"] = {
        "result_id": "id", "sample_id": "sample", "attribute": {"from": "attribute", "codes": "plain"},
        "result": {"from": "value", "unit": "1"},
    }  # fmt: skip
    codes = {**attributes()["codes"], "plain": {"V": "viability_flow_pct"}}
    [row] = mapped(
        [{"id": "1", "sample": "S", "attribute": "V", "value": "0.9"}], feeds={"assay": feed}, codes=codes
    )
    assert (row["attribute"], row["value"]) == ("viability_flow_pct", pytest.approx(90))
