"""Workbooks and tables that instruments arrange in their own way: names in two rows, dyes side by side, footers."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from pipelines.formats.protocol import Options, Reading, UnreadableFile
from pipelines.formats.registry import read_file, recognise

from . import samples


def read(folder: Path, data: bytes, name: str, **options: object) -> Reading:
    path = folder / name
    path.write_bytes(data)
    return read_file(path, options=Options.model_validate(options))


def test_names_in_two_rows_and_the_hidden_row_of_numbers(tmp_path: Path) -> None:
    found = read(tmp_path, samples.sheet(samples.VICELL_XR_RESULTS, (6, 8)), "xr.xlsx", zone="Europe/Berlin")
    first, second = found.records.iter_rows(named=True)
    assert first["sample_id"] == "S1"
    assert first["result_at"] == "2026-04-06T10:25:31+02:00"
    assert first["viable_cell_density_per_ml"] == "13200000"
    assert first["instrument_serial_number"] == "AW1"
    assert second["viability_trypan_blue_pct"] is None
    assert {(flag.source_row, flag.text) for flag in found.flags} == {(2, "ERROR"), (2, "hidden row")}


def test_a_workbook_that_lacks_a_column_is_refused_by_its_name(tmp_path: Path) -> None:
    rows = tuple(
        tuple(text.replace("Sample date/time", "When") for text in row) for row in samples.VICELL_XR_RESULTS
    )
    with pytest.raises(UnreadableFile, match="no column sample date"):
        read(tmp_path, samples.sheet(rows), "xr.xlsx")


def test_the_same_table_as_text_and_as_workbook(tmp_path: Path) -> None:
    rows = tuple(tuple(row) for row in csv.reader(samples.CEDEX_HIRES.splitlines()))
    text = read(tmp_path, samples.CEDEX_HIRES.encode(), "a.csv")
    book = read(tmp_path, samples.sheet(rows), "a.xlsx")
    assert book.format == "cedex_hires"
    assert book.records.equals(text.records)
    assert book.received == text.received


def test_one_record_a_well_in_a_dye(tmp_path: Path) -> None:
    found = read(tmp_path, samples.ABSOLUTE_Q_SUMMARY.encode(), "a.csv")
    shown = found.records.select("well", "dye", "target", "concentration_copies_per_ul", "is_aggregate")
    assert shown.rows() == [
        ("Average", "FAM", "T1", "1905.18", "true"),
        ("Average", "VIC", "T2", "1200.85", "true"),
        ("A1", "FAM", "T1", "392.15", "false"),
        ("A1", "VIC", "T2", "399.55", "false"),
    ]
    with pytest.raises(UnreadableFile, match="another number of values"):
        read(tmp_path, samples.ABSOLUTE_Q_SUMMARY.replace("T1,392.15,", "T1,").encode(), "a.csv")


def test_a_signature_below_the_table_is_no_record(tmp_path: Path) -> None:
    plain = read(tmp_path, samples.INTELLIFLEX.encode(), "a.csv")
    signed = samples.INTELLIFLEX + "--DOCUMENT SIGNATURE--\nData Signature:\nABCD\n"
    found = read(tmp_path, signed.encode(), "a.csv")
    assert found.records.equals(plain.records)
    assert not found.refused
    assert found.header["footer"] == ["--DOCUMENT SIGNATURE--", "Data Signature:", "ABCD"]


def test_lines_that_allotropy_leaves_out_are_kept(tmp_path: Path) -> None:
    """A number in the file that the model does not have keeps its line: here the set point and the mean Cq."""
    found = read(tmp_path, samples.CFX.encode(), "a.csv")
    kept = found.records.filter(found.records["record_kind"] == "unmapped_lines")
    assert kept["place"].to_list() == ["line 2", "line 4"]
    assert kept["lines"][0].split("\t")[7::6] == ["23.5", "60"]
    assert found.header["kept"] == 3  # the other bears a mark
    assert found.received == found.records.height
    last = samples.CFX.splitlines()[-1]
    more = read(tmp_path, f"{samples.CFX}{last}\n{last}\n".encode(), "a.csv")
    assert more.records["lines"][-1].count("\n") == 2  # lines that follow each other are one record


def test_what_only_looks_like_a_workbook(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    path.write_bytes(samples.sheet(samples.VICELL_XR_RESULTS)[:900])
    known = recognise(path)
    assert known is not None
    with pytest.raises(UnreadableFile, match="not a whole workbook"):
        known.read(path, Options())
