"""JSON lines, Excel, FHIR, B2MML, EPCIS and flow cytometry: what is kept and what is refused."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.formats.fcs import compensate
from pipelines.formats.protocol import Options, Reading, UnreadableFile
from pipelines.formats.registry import read_file

from . import samples


def read(folder: Path, data: bytes, name: str, **options: object) -> Reading:
    path = folder / name
    path.write_bytes(data)
    return read_file(path, options=Options.model_validate(options))


def refusals(reading: Reading) -> list[tuple[int | None, str]]:
    return [(refused.source_row, refused.reason) for refused in reading.refused]


def test_json_lines_keep_digits_and_nesting(tmp_path: Path) -> None:
    reading = read(tmp_path, b'{"v":1.50,"n":{"a":[1e3,null]},"t":true,"s":"x"}\n{"v":null}\n', "a.jsonl")
    assert reading.records.columns == ["source_row", "v", "n", "t", "s"]
    assert reading.records.rows() == [
        (1, "1.50", '{"a":[1e3,null]}', "true", "x"),
        (2, None, None, None, None),
    ]


def test_a_bad_line_is_refused_alone(tmp_path: Path) -> None:
    lines = b'{"a":1}\n{"a":\n[1]\n{"a":NaN}\n{"a":1,"a":2}\n\xff{}\n\n{"a":2}'
    reading = read(tmp_path, lines, "a.jsonl")
    assert reading.records["source_row"].to_list() == [1, 7]
    assert refusals(reading) == [
        (2, "bad_json"), (3, "not_an_object"), (4, "bad_json"), (5, "bad_json"), (6, "bad_encoding"),
    ]  # fmt: skip


def test_no_line_of_json_refuses_the_file(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="not one line"):
        read(tmp_path, b"{a}\n{b}\n", "a.jsonl")


def book(*rows: list[Any], merge: str | None = None, hide: int | None = None, more: bool = False) -> bytes:
    workbook = openpyxl.Workbook()
    sheet = workbook.active
    sheet.title = "Batch"
    for row in rows:
        sheet.append(row)
    if merge:
        sheet.merge_cells(merge)
    if hide:
        sheet.row_dimensions[hide].hidden = True
    if more:
        workbook.create_sheet("Other").append(["x"])
    out = io.BytesIO()
    workbook.save(out)
    return out.getvalue()


def test_excel_joins_names_over_several_rows(tmp_path: Path) -> None:
    data = book(["Run", "Harvest", None], [None, "cells", "viability"], ["B1", 5, 91.5], merge="B1:C1")
    reading = read(tmp_path, data, "a.xlsx", header_rows=2)
    assert reading.records.columns[1:] == ["Run", "Harvest / cells", "Harvest / viability"]
    assert reading.records.row(0)[1:] == ("B1", "5", "91.5")


def test_excel_merged_cells_hold_for_all_their_rows(tmp_path: Path) -> None:
    reading = read(tmp_path, book(["b", "v"], ["B1", 1], [None, 2], merge="A2:A3"), "a.xlsx")
    assert reading.records["b"].to_list() == ["B1", "B1"]
    assert [(flag.source_row, flag.field, flag.text) for flag in reading.flags] == [
        (2, "b", "merged with row 2")
    ]


def test_excel_hidden_rows_are_decided_on_purpose(tmp_path: Path) -> None:
    data = book(["b"], ["B1"], ["B2"], hide=3)
    with pytest.raises(UnreadableFile, match="hidden row"):
        read(tmp_path, data, "a.xlsx")
    kept = read(tmp_path, data, "a.xlsx", hidden_rows="keep")
    assert kept.records["b"].to_list() == ["B1", "B2"]
    assert [(flag.source_row, flag.text) for flag in kept.flags] == [(2, "hidden row")]
    skipped = read(tmp_path, data, "a.xlsx", hidden_rows="skip")
    assert skipped.records["b"].to_list() == ["B1"]
    assert refusals(skipped) == [(2, "hidden_row")]


def test_excel_sheets_and_names(tmp_path: Path) -> None:
    data = book(["b"], ["B1"], more=True)
    with pytest.raises(UnreadableFile, match="not exactly one"):
        read(tmp_path, data, "a.xlsx")
    assert read(tmp_path, data, "a.xlsx", sheet="Batch").received == 1
    with pytest.raises(UnreadableFile, match="no sheet 'Absent'"):
        read(tmp_path, data, "a.xlsx", sheet="Absent")
    with pytest.raises(UnreadableFile, match="values but no name"):
        read(tmp_path, book(["Report"], ["b", "v"], ["B1", 1]), "a.xlsx")


def test_excel_dates_errors_and_blank_rows(tmp_path: Path) -> None:
    import datetime as dt

    when = dt.datetime(2026, 3, 1, 8, 30)  # noqa: DTZ001  # a worksheet has no zones
    data = book(["d", "e"], [when, "#N/A"], [None, None], [dt.date(2026, 3, 2), True])
    reading = read(tmp_path, data, "a.xlsx")
    assert reading.records.rows() == [(1, "2026-03-01 08:30:00", "#N/A"), (2, "2026-03-02", "true")]
    assert [(flag.source_row, flag.text) for flag in reading.flags] == [(1, "#N/A")]


def test_fhir_lines_are_validated(tmp_path: Path) -> None:
    wrong = {**samples.PATIENT, "birthDate": "1999-09-99"}
    unknown = {**samples.PATIENT, "favouriteColour": "blue"}
    data = samples.lines(samples.PATIENT, wrong, {"resourceType": "Alien"}, unknown)
    reading = read(tmp_path, data, "a.ndjson")
    assert refusals(reading) == [(2, "invalid_resource"), (3, "unknown_term")]
    assert "birthDate" in reading.refused[0].mend
    assert [(flag.source_row, flag.field, flag.text) for flag in reading.flags] == [
        (4, "favouriteColour", "unknown_field")
    ]
    assert reading.records["favouriteColour"].to_list() == [None, "blue"]


def test_fhir_bundles_give_their_resources_and_deletions(tmp_path: Path) -> None:
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {"resource": samples.PATIENT},
            {"request": {"method": "DELETE", "url": "Observation/o9"}},
            {"fullUrl": "urn:x"},
        ],
    }
    reading = read(tmp_path, json.dumps(bundle, indent=1).encode(), "a.json")
    assert reading.received == 3
    assert reading.records["deleted"].to_list() == [None, "true"]
    assert reading.records["id"].to_list() == ["p1", "o9"]
    assert refusals(reading) == [(3, "missing_field")]
    lines = read(tmp_path, samples.lines(samples.PATIENT, bundle), "b.ndjson")
    assert lines.received == 4


def test_b2mml_keeps_the_tree_and_masks_people(tmp_path: Path) -> None:
    reading = read(tmp_path, samples.B2MML.encode(), "a.xml")
    step = reading.records.row(3, named=True)
    assert step["path"] == "R1/1/Make/Expand"
    assert (step["procedure"], step["unit_procedure"], step["batch_id_printed"]) == ("Make", "Expand", "BX1")
    assert step["parent_row"] == "3"
    assert json.loads(step["OtherInformation"])["Value"]["ValueString"] == "7.2"
    assert step["Performer"] == "masked 1"
    assert "jdoe" not in str(reading.records.rows())
    assert [(r.source_row, r.field, r.reason) for r in reading.refused] == [(5, "TimeStamp", "bad_time")]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("B2MML-V0401", "B3MML"), "namespace"),
        (("</Comments>", ""), "not whole XML"),
        (("<BatchProd", '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><BatchProd'), "document type"),
    ],
)
def test_b2mml_refuses_other_xml(change: tuple[str, str], says: str, tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(samples.B2MML.replace(*change, 1))
    with pytest.raises(UnreadableFile, match=says):
        read_file(path, "b2mml")


CHANGES: list[tuple[dict[str, Any], str | None]] = [
    ({}, None),
    ({"bizStep": "https://ref.gs1.org/cbv/BizStep-receiving"}, None),
    ({"bizStep": "urn:epcglobal:cbv:bizstep:transforming"}, "unknown_term"),
    ({"bizStep": "transforming"}, "unknown_term"),
    ({"bizStep": "https://example.org/bizstep/thawing"}, None),
    ({"disposition": "in_transport"}, "unknown_term"),
    ({"action": "CREATE"}, "unknown_term"),
    ({"action": None}, "missing_field"),
    ({"eventTime": None}, "missing_field"),
    ({"eventTime": "2026-02-30T10:00:00Z"}, "bad_time"),
    ({"eventTime": "2026-04-03T20:33:31"}, "bad_time"),
    ({"eventTimeZoneOffset": "+25:00"}, "bad_time"),
    ({"epcList": None}, "missing_field"),
    ({"epcList": ["G123"]}, "invalid_identifier"),
    ({"epcList": "urn:epc:id:sgtin:1"}, "wrong_type"),
    ({"quantityList": [{"epcClass": "urn:x:1", "quantity": "20"}]}, "wrong_type"),
    ({"quantityList": [{"epcClass": "urn:x:1", "weight": 5}]}, "unknown_term"),
    ({"ilmd": {"example:batch": "B1"}}, "conflicting_header"),
    ({"action": "ADD", "ilmd": {"batch": "B1"}}, "unknown_term"),
    ({"sourceList": [{"type": "place", "source": "urn:x:1"}]}, "unknown_term"),
    ({"temperature": 4}, "unknown_term"),
    ({"readPoint": "urn:epc:id:sgln:1"}, "wrong_type"),
    ({"sensorElementList": [{"sensorReport": [{"type": "Temperature", "value": "hot"}]}]}, "wrong_type"),
    ({"sensorElementList": [{"sensorReport": [{"type": "Temperature", "value": -151.5}]}]}, None),
    ({"example:temperature": 4}, None),
    ({"type": "AggregationEvent"}, "missing_field"),
    ({"type": "TransportEvent"}, "unknown_term"),
]


@pytest.mark.parametrize(("change", "reason"), CHANGES, ids=[json.dumps(change) for change, _ in CHANGES])
def test_epcis_events_are_checked(change: dict[str, Any], reason: str | None, tmp_path: Path) -> None:
    event = {key: value for key, value in {**samples.EVENT, **change}.items() if value is not None}
    reading = read(tmp_path, samples.epcis(samples.EVENT, event), "a.json")
    assert reading.received == 2
    assert (2, reason) in refusals(reading) if reason else not reading.refused


def test_an_error_declaration_is_a_correction(tmp_path: Path) -> None:
    declared = {"declarationTime": "2026-05-01T10:00:00Z", "reason": "did_not_occur"}
    reading = read(tmp_path, samples.epcis({**samples.EVENT, "errorDeclaration": declared}), "a.json")
    assert reading.records["is_correction"].to_list() == ["true"]
    assert [flag.text for flag in reading.flags] == ["corrects this event: did_not_occur"]


def test_epcis_documents(tmp_path: Path) -> None:
    assert refusals(read(tmp_path, samples.epcis(samples.EVENT, **{"@context": None}), "a.json")) == [
        (1, "missing_field")
    ]
    with pytest.raises(UnreadableFile, match="not EPCIS 2"):
        read(tmp_path, samples.epcis(samples.EVENT, schemaVersion="1.2"), "a.json")
    with pytest.raises(UnreadableFile, match="does not say when"):
        read(tmp_path, samples.epcis(samples.EVENT, creationDate=None), "a.json")
    with pytest.raises(UnreadableFile, match="no list of events"):
        read(tmp_path, samples.epcis(epcisBody={}), "a.json")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_fcs_integers_of_any_width(tmp_path: Path, data: st.DataObject) -> None:
    bits = data.draw(st.lists(st.sampled_from([8, 10, 12, 16, 18, 24, 32, 64]), min_size=1, max_size=4))
    event = st.tuples(*(st.integers(0, (1 << width) - 1) for width in bits)).map(list)
    events = data.draw(st.lists(event, min_size=1, max_size=5))
    reading = read(tmp_path, samples.fcs(bits, events), "a.fcs")
    assert [list(row[1:]) for row in reading.records.rows()] == events


def test_fcs_mixed_byte_order_and_range(tmp_path: Path) -> None:
    little = samples.fcs([16], [[0x0102]], order="1,2,3,4")
    assert read(tmp_path, little, "a.fcs").records.row(0)[1] == 0x0201
    masked = samples.fcs([16], [[0xFFFF]], P_1R="1024")
    assert read(tmp_path, masked, "a.fcs").records.row(0)[1] == 1023


def test_fcs_compensation_undoes_the_spill(tmp_path: Path) -> None:
    spill = np.array([[1.0, 0.2], [0.1, 1.0]])
    true = np.array([[100.0, 0.0], [0.0, 50.0], [30.0, 70.0]])
    measured = (true @ spill).tolist()
    data = samples.fcs([32, 32], measured, kind="F", SPILL="2,C1,C2,1.0,0.2,0.1,1.0")
    clean = compensate(read(tmp_path, data, "a.fcs"))
    assert np.allclose(clean.select("C1", "C2").to_numpy(), true, atol=1e-4)
    with pytest.raises(ValueError, match="no spillover"):
        compensate(read(tmp_path, samples.fcs([16], [[1]]), "b.fcs"))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (samples.fcs([16], [[1], [2]])[:-2], "bytes of events are missing"),
        (samples.fcs([16], [[1]], **{"$TOT": "9"}), "9 events stated"),
        (samples.fcs([16], [[1]], **{"$NEXTDATA": "900"}), "a further data set is missing"),
        (samples.fcs([16], [[1]], **{"$MODE": "C"}), "histograms"),
        (samples.fcs([16], [[1]], **{"$PAR": ""}), "required keyword"),
        (samples.fcs([16], [[1]]).replace(b"FCS3.0", b"FCS9.9"), "no version"),
        (samples.fcs([16], [[1]])[:100], "ends before its keywords"),
    ],
)
def test_fcs_files_that_cannot_be_read(data: bytes, says: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=says):
        read(tmp_path, data, "a.fcs")
