"""Other fields: units, booleans, codes, parts of a text, alternatives, sensors and their quantities."""

from __future__ import annotations

from typing import Any

import pytest
from mapping_harness import attributes, feed_of, mapped, reasons

CODES: dict[str, Any] = attributes()["codes"]


def test_fahrenheit_becomes_celsius_and_millions_become_thousand_millions() -> None:
    event = {
        "event_id": "id", "coi_id": "coi", "happened_at": "at",
        "custody_temperature_c": {"from": "temp", "unit": "[degF]"},
    }  # fmt: skip
    [row] = mapped(
        [{"id": "E", "coi": "C", "at": "05.03.2026 14:05", "temp": "41"}],
        feeds={"custody": feed_of("custody_event", event)},
    )
    assert row["custody_temperature_c"] == pytest.approx(5.0)
    collection = {
        "collection_id": "id", "order_id": "order", "tnc_e9": {"from": "tnc", "unit": "10*6.{cells}"},
    }  # fmt: skip
    [row] = mapped(
        [{"id": "C", "order": "O", "tnc": "8600"}], feeds={"collection": feed_of("collection", collection)}
    )
    assert row["tnc_e9"] == pytest.approx(8.6)


def sensor(**changed: Any) -> dict[str, Any]:
    """A feed of readings whose tag ends in the quantity."""
    columns = {
        "batch_id": "id", "channel": "tag", "read_at": "at",
        "quantity_name": {"from": "tag", "part": r"\.(\w+)$", "codes": "channel"},
        "reading": {"from": "value", "unit_from": "unit"},
    }  # fmt: skip
    return feed_of("reading", {**columns, **changed})


CHANNELS = {"TEMP": "temperature_c", "GLC": "glucose_mmol_l", "LAC": "lactate_mmol_l", "PH": "ph"}
SENSOR_UNITS = {"": "[pH]", "degF": "[degF]", "mg/dL": "mg/dL", "g/L": "g/L"}


def read(tag: str, value: str, unit: str | None, **changed: Any) -> dict[str, Any]:
    """One reading, mapped."""
    row = {"id": "B", "tag": tag, "at": "05.03.2026 14:05", "value": value, "unit": unit}
    codes = {**CODES, "channel": CHANNELS, "by_quantity": {"glucose_mmol_l": "g/L", "temperature_c": "Cel"}}
    [found] = mapped([row], feeds={"sensor": sensor(**changed)}, codes=codes, units=SENSOR_UNITS)
    return found


@pytest.mark.parametrize(
    ("tag", "value", "unit", "expected"),
    [
        ("BR01.TEMP", "98.6", "degF", 37.0),
        ("BR01.GLC", "180.156", "mg/dL", 10.0),  # molar mass of glucose: 180.156 g/mol
        ("BR01.LAC", "0.90078", "g/L", 10.0),  # of lactic acid: 90.078 g/mol
        ("BR01.PH", "7.2", None, 7.2),
    ],
)
def test_a_reading_takes_the_unit_of_its_quantity(
    tag: str, value: str, unit: str | None, expected: float
) -> None:
    row = read(tag, value, unit)
    assert (row["reading"], row["problems"]) == (pytest.approx(expected), [])


def test_a_unit_of_another_quantity_is_refused() -> None:
    assert reasons(read("BR01.TEMP", "37", "g/L")) == ["unit_not_convertible"]
    assert reasons(read("BR01.TEMP", "37", "K")) == ["unit_not_declared"]


def test_a_unit_may_follow_from_the_quantity() -> None:
    row = read(
        "BR01.GLC", "1.80156", None, reading={"from": "value", "unit_by": {"quantity_name": "by_quantity"}}
    )
    assert (row["reading"], row["problems"]) == (pytest.approx(10.0), [])


def test_booleans_are_the_usual_words_or_the_sites_own() -> None:
    columns = {
        "infusion_id": "id", "order_id": "order", "infused_at": "at",
        "out_of_specification": {"from": "oos", "codes": "yes_no"},
    }  # fmt: skip
    row = {"id": "I", "order": "O", "at": "05.03.2026 14:05"}
    rows = mapped(
        [{**row, "oos": w} for w in ("ja", "nein", "yes")], feeds={"i": feed_of("infusion", columns)}
    )
    assert [r["out_of_specification"] for r in rows] == [True, False, None]
    assert [reasons(r) for r in rows] == [[], [], ["code_unknown"]]
    columns["out_of_specification"] = "oos"
    rows = mapped(
        [{**row, "oos": w} for w in ("1", "false", "ja")], feeds={"i": feed_of("infusion", columns)}
    )
    assert [r["out_of_specification"] for r in rows] == [True, False, None]
    assert reasons(rows[2]) == ["boolean_format"]


def test_a_part_of_a_text_and_the_first_of_several_columns() -> None:
    columns = {
        "event_id": "id", "happened_at": "at",
        "coi_id": {"first": ["epc", "child"], "part": "^urn:coi:(.+)$"},
    }  # fmt: skip
    row = {"id": "E", "at": "05.03.2026 14:05"}
    rows = mapped(
        [
            {**row, "epc": "urn:coi:A", "child": "urn:coi:B"},
            {**row, "child": "urn:coi:B"},
            {**row, "epc": "other"},
        ],
        feeds={"custody": feed_of("custody_event", columns)},
    )
    assert [r["coi_id"] for r in rows] == ["A", "B", None]
    assert reasons(rows[2]) == ["missing_value"]


def test_only_records_with_the_text_of_where_fill_a_table() -> None:
    feed = feed_of("equipment", {"equipment_id": "id"})
    feed["tables"][0]["where"] = {"kind": "E"}
    rows = mapped([{"id": "1", "kind": "E"}, {"id": "2", "kind": "X"}], feeds={"equipment": feed})
    assert [r["equipment_id"] for r in rows] == ["1"]


def test_a_word_outside_the_vocabulary_is_refused_and_shown_only_where_it_may_be() -> None:
    columns = {"patient_key": "id", "indication": "dx"}
    [row] = mapped([{"id": "PAAAAAAAAAAAA", "dx": "private"}], feeds={"order": feed_of("patient", columns)})
    assert [(p["reason_code"], p["value_seen"]) for p in row["problems"]] == [("code_unknown", None)]
