"""Instrument files: units, marks, times and masked names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from pipelines.formats.protocol import Options, Reading, UnreadableFile
from pipelines.formats.registry import read_file
from warehouse.dictionary.model import dictionary

from . import samples

HERE = Path(__file__).resolve().parents[3]


def read(folder: Path, text: str, name: str = "a.csv", **options: object) -> Reading:
    path = folder / name
    path.write_text(text, encoding="utf-8", newline="")
    return read_file(path, options=Options.model_validate(options))


def row(reading: Reading, number: int = 1) -> dict[str, Any]:
    return next(r for r in reading.records.iter_rows(named=True) if r["source_row"] == number)


def flagged(reading: Reading) -> set[tuple[int, str, str]]:
    return {(flag.source_row, flag.field, flag.text) for flag in reading.flags}


def test_every_term_of_a_reader_is_in_the_dictionary() -> None:
    fields = dictionary().fields
    sources = (HERE / "pipelines" / "formats").glob("*.py")
    terms = {
        term
        for path in sources
        for term in re.findall(r'Column\("([a-z][a-z0-9_]*)"', path.read_text("utf-8"))
    }
    assert len(terms) > 50
    assert not terms - fields.keys()
    for term in terms:
        if re.search(r"operator|user|computer|signed_by", term):
            assert fields[term].privacy == "identifying"


def test_densities_in_cells_per_ml_and_the_text_beside(tmp_path: Path) -> None:
    first = row(read(tmp_path, samples.VICELL_BLU))
    assert first["viable_cell_density_per_ml"] == "760000"
    assert first["viable_cell_density_per_ml_as_printed"] == "0.76"
    assert first["viability_trypan_blue_pct"] == "95.0"
    assert first["instrument_operator"] == "masked 1"


def test_error_texts_stay_as_flags(tmp_path: Path) -> None:
    reading = read(tmp_path, samples.VICELL_BLU)
    assert row(reading, 2)["total_cell_count"] is None
    assert row(reading, 2)["total_cell_count_as_printed"] == "ERROR"
    assert (2, "total_cell_count", "ERROR") in flagged(reading)
    assert not reading.refused


def test_a_time_without_a_zone_stays_local_text(tmp_path: Path) -> None:
    reading = read(tmp_path, samples.VICELL_BLU)
    assert row(reading)["result_at"] is None
    assert row(reading)["result_at_local"] == "3/21/2026 16:56"
    assert (1, "result_at", "no_time_zone") in flagged(reading)


def test_a_zone_gives_the_offset_of_that_day(tmp_path: Path) -> None:
    reading = read(tmp_path, samples.VICELL_BLU, zone="America/New_York")
    assert row(reading)["result_at"] == "2026-03-21T16:56:00-04:00"
    assert row(reading, 2)["result_at"] == "2026-03-29T02:30:00-04:00"


def test_a_time_the_clock_skips_is_refused(tmp_path: Path) -> None:
    reading = read(tmp_path, samples.VICELL_BLU, zone="Europe/Berlin")
    assert [(r.source_row, r.field, r.reason) for r in reading.refused] == [(2, "result_at", "bad_time")]


def test_a_time_that_happens_twice_is_not_guessed(tmp_path: Path) -> None:
    text = samples.VICELL_BLU.replace("3/29/2026 02:30", "10/25/2026 02:30")
    reading = read(tmp_path, text, zone="Europe/Berlin")
    assert row(reading, 2)["result_at"] is None
    assert (2, "result_at", "ambiguous_time") in flagged(reading)


def test_the_order_of_day_and_month_is_proven_or_stated(tmp_path: Path) -> None:
    text = samples.VICELL_BLU.replace("3/21/2026", "3/4/2026").replace("3/29/2026", "3/5/2026")
    unknown = read(tmp_path, text, zone="UTC")
    assert (1, "result_at", "date_order_unknown") in flagged(unknown)
    assert row(unknown)["result_at"] is None
    assert (
        row(read(tmp_path, text, zone="UTC", date_order="day_first"))["result_at"]
        == "2026-04-03T16:56:00+00:00"
    )


def test_nucleoview_keeps_marks_and_uses_its_own_offset(tmp_path: Path) -> None:
    reading = read(tmp_path, samples.NUCLEOVIEW, zone="Asia/Tokyo")
    first = row(reading)
    assert first["result_at"] == "2026-01-01T16:30:16+02:00"
    assert first["total_cell_density_per_ml_as_printed"] == "3.58E3 (Out of optimal range)"
    assert first["mean_cell_diameter_um"] is None
    assert (first["mean_cell_diameter_um_operator"], first["mean_cell_diameter_um_limit"]) == ("<", "8")
    assert {
        (1, "total_cell_density_per_ml", "Out of optimal range"),
        (1, "mean_cell_diameter_um", "<8"),
    } <= flagged(reading)
    assert first["viability_ao_dapi_pct"] == "68.2"
    assert "Jo" not in str(first)
    assert "DESKTOP" not in str(first)


def test_a_date_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    reading = read(tmp_path, samples.NC_VIEW_REPORT)
    assert [(r.field, r.value, r.reason) for r in reading.refused] == [
        ("result_at", "1999-09-99 09:49:29", "bad_time")
    ]


def test_blanks_between_thousands_and_powers_of_ten(tmp_path: Path) -> None:
    reading = read(tmp_path, samples.NC_VIEW)
    assert reading.records["total_cell_density_per_ml"].to_list() == ["274000", "1070000"]
    assert (2, "instrument_status", "Warning: Foreign object detected") in flagged(reading)


def test_decimal_commas_only_when_stated(tmp_path: Path) -> None:
    text = samples.NC_VIEW.replace(",", ";").replace("45.1", "45,1")
    assert row(read(tmp_path, text, decimal=","))["viability_ao_dapi_pct"] == "45,1".replace(",", ".")
    guessed = read(tmp_path, text)
    assert row(guessed)["viability_ao_dapi_pct"] is None
    assert guessed.refused[0].reason == "bad_number"


def test_a_censored_result_keeps_operator_limit_and_flag(tmp_path: Path) -> None:
    reading = read(tmp_path, samples.CEDEX_6, "a.txt", zone="UTC")
    second = row(reading, 2)
    assert (second["result_value"], second["result_value_operator"]) == (None, "<")
    assert second["result_value_limit"] == "20"
    assert row(reading, 3)["result_value"] == "6.71"
    assert row(reading, 3)["predilution"] == "1/4"
    assert {(2, "result_value", "< TEST RNG"), (3, "result_value", "< TEST RNG")} <= flagged(reading)
    assert row(reading, 3)["result_unit"] == "OD"


def test_cedex_software_5_has_other_columns(tmp_path: Path) -> None:
    first = row(read(tmp_path, samples.CEDEX_5, "a.txt"))
    assert (first["sample_id"], first["analyte_code"], first["result_value"]) == ("S1", "GLN2B", "5.393")
    moved = samples.CEDEX_5.replace("5.0.0.1206 (1206.0)", "6.0.0.1905 (1905)")
    assert read(tmp_path, moved, "a.txt").records.height == 0
    with pytest.raises(UnreadableFile, match=r"software 8\.0"):
        read(tmp_path, samples.CEDEX_5.replace("5.0.0.1206", "8.0"), "a.txt")


def test_summary_rows_are_marked(tmp_path: Path) -> None:
    reading = read(tmp_path, samples.ABSOLUTE_Q)
    assert reading.records["is_aggregate"].to_list() == ["true", "false"]
    assert row(reading)["result_at_date"] == "2026-05-19"
    assert row(reading)["result_at"] is None


def test_quantstudio_matches_nothing_and_loses_nothing(tmp_path: Path) -> None:
    reading = read(tmp_path, samples.QUANTSTUDIO, "a.txt")
    assert reading.header["sections"] == {"Sample Setup": 1, "Results": 2}
    assert row(reading, 3)["sample_id"] == "S9"
    assert row(reading, 3)["ct"] is None
    assert (3, "ct", "Undetermined") in flagged(reading)
    assert row(reading)["result_at"] == "2026-10-20T02:23:34-04:00"
    assert "* User Name = masked 1" in reading.header["header"]


def test_msd_marks_and_spots(tmp_path: Path) -> None:
    reading = read(tmp_path, samples.MSD)
    assert reading.header["plate"] == "Plate_T1"
    assert {
        (2, "detection_range", "Above Detection Range"),
        (2, "calculated_concentration", "NaN"),
    } <= flagged(reading)
    grid = read(tmp_path, samples.METHODICAL, "a.txt")
    assert grid.records.select("well", "spot_position", "spot_signal").rows()[-1] == ("A2", "2", "271341")
    assert grid.records["plate_id"].unique().to_list() == ["2CM0"]
    assert grid.header["plates"][0]["User"] == "masked 1"


def test_a_cut_grid_is_refused(tmp_path: Path) -> None:
    cut = samples.METHODICAL.split("\t271341")[0]
    with pytest.raises(UnreadableFile, match="1 values for 2 columns"):
        read(tmp_path, cut, "a.txt")


def test_xponent_sections(tmp_path: Path) -> None:
    reading = read(tmp_path, samples.XPONENT, zone="Europe/Berlin")
    assert reading.header["sections"] == {"Median": 2, "Count": 1}
    assert row(reading)["alpha"] == "11510"
    assert row(reading)["instrument_operator"] == "masked 1"
    assert row(reading)["result_at"] == "2026-05-18T11:36:34+02:00"


def test_what_allotropy_leaves_out_is_marked(tmp_path: Path) -> None:
    found = read(tmp_path, samples.CFX)
    assert found.header["vendor"] == "CFXMAESTRO"
    assert found.records["record_kind"].to_list() == [
        *["measurement"] * 3,
        "unmapped_lines",
        "marked_line",
        "unmapped_lines",
    ]
    assert found.records["processed data.cycle threshold result (qPCR)"].to_list()[:3] == [
        "23.51",
        None,
        "21.0",
    ]
    assert {(5, "text", "NaN"), (1, "measurement time", "no time in the file")} < flagged(found)
    assert "measurement identifier" not in found.records.columns  # allotropy draws it at random
    assert read(tmp_path, samples.CFX, "another name.csv").records.equals(found.records)


def test_times_of_allotropy_get_the_zone_of_the_contract(tmp_path: Path) -> None:
    local = read(tmp_path, samples.QUBIT)
    assert row(local, 2)["measurement time_local"] == "2026-08-11T10:46:00"
    assert {(2, "measurement time", "no_time_zone"), (3, "text", "Out of range")} < flagged(local)
    zoned = read(tmp_path, samples.QUBIT, zone="Europe/Berlin")
    assert row(zoned, 2)["measurement time"] == "2026-08-11T10:46:00+02:00"
    assert [(r.source_row, r.reason) for r in zoned.refused] == [(1, "bad_time")]  # the clock skips it


def test_softmax_blocks(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(samples.SOFTMAX.encode("utf-16"))
    reading = read_file(path)
    values = reading.records.filter(reading.records["line_kind"] == "values")
    assert values.select("well_row", "1", "2").rows() == [("A", "0.1", "0.2"), ("B", "0.3", "0.4")]
    path.write_bytes(samples.SOFTMAX.split("01\tA1")[0].encode("utf-16"))
    with pytest.raises(UnreadableFile, match="cut off"):
        read_file(path)


def test_an_export_of_another_version_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("Sample,Value\nS1,2\n")
    with pytest.raises(UnreadableFile, match="not the layout of vicell_blu exports"):
        read_file(path, "vicell_blu")
