"""Delimited text and Parquet: rows as the standard library sees them, malformed ones refused alone."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import duckdb
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipelines.formats import delimited, parquet, rows
from pipelines.formats.protocol import Options, Reading, UnreadableFile
from pipelines.formats.registry import read_file

VALUE = st.text(st.sampled_from('ab1,;\t|"\n\r äµ€'), max_size=6).filter(
    lambda text: text == text.strip("\r\n")
)


def read(folder: Path, data: bytes, **options: object) -> Reading:
    path = folder / "a.csv"
    path.write_bytes(data)
    return read_file(path, "delimited", Options.model_validate(options))


def refusals(reading: Reading) -> list[tuple[int | None, str]]:
    return [(refused.source_row, refused.reason) for refused in reading.refused]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.integers(2, 4).flatmap(
        lambda n: st.lists(st.lists(VALUE, min_size=n, max_size=n), min_size=1, max_size=8)
    ),
    delimiter=st.sampled_from(",;\t|"),
    end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
    last=st.booleans(),
)
def test_rows_are_what_was_written(
    rows: list[list[str]], delimiter: str, end: str, encoding: str, *, last: bool, tmp_path: Path
) -> None:
    names = [f"n{i}" for i in range(len(rows[0]))]
    out = io.StringIO()
    quoting = csv.QUOTE_ALL if any("\r" in value for row in rows for value in row) else csv.QUOTE_MINIMAL
    csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=quoting).writerows([names, *rows])
    text = out.getvalue() if last else out.getvalue().removesuffix(end)
    stated = {"encoding": "cp1252"} if encoding == "cp1252" else {}
    data = text.encode(encoding)
    if encoding == "cp1252" and data.isascii() is False:
        try:
            data.decode("utf-8")
        except UnicodeDecodeError:
            pass
        else:
            return  # bytes that are well-formed UTF-8 are refused as Windows-1252, by intention
    reading = read(tmp_path, data, delimiter=delimiter, **stated)
    assert not reading.refused
    assert reading.received == len(rows)
    assert [list(row[1:]) for row in reading.records.iter_rows()] == rows


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(
        st.sampled_from(["a", "", '""', '"b"', '"c,d"', '"e""f"', 'g"h', '"i\nj"', '"k', "äl"]), min_size=4
    ),
    ends=st.sampled_from(["\n", "\r\n"]),
    block=st.integers(8, 40),
)
def test_a_quick_count_is_the_thorough_one(
    values: list[str], ends: str, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "QUICK_BLOCK", block)
    lines = [",".join(values[n : n + 2]) for n in range(0, len(values) - 1, 2)]
    path = tmp_path / "a.csv"
    path.write_text("x,y" + ends + ends.join(lines), "utf-8", newline="")
    thorough, quick = (delimited.scan(path, Options(), tmp_path, quick=quick) for quick in (False, True))
    if not thorough.refused:
        assert quick.received == thorough.received


def test_a_file_cut_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"x,y\n1,2\n")
    with path.open("rb") as handle:
        data = rows.FileBytes(handle)
        assert data[2:6] == b"y\n1,"
        path.write_bytes(b"x,y\n")
        with pytest.raises(UnreadableFile, match="became shorter"):
            data[:]


def test_malformed_rows_are_refused_alone(tmp_path: Path) -> None:
    reading = read(tmp_path, b'a;b\n1;2\n3\n\n4;5;6\n7;8\n9;"x\ny"\n')
    assert reading.records.rows() == [(1, "1", "2"), (4, "7", "8"), (5, "9", "x\ny")]
    assert refusals(reading) == [(2, "ragged_row"), (3, "ragged_row")]
    assert reading.received == 5


def test_a_stray_quote_costs_its_own_row_only(tmp_path: Path) -> None:
    reading = read(tmp_path, b'a;b\n1;2\n3;5" n\n7;8\n9;"x\ny"\n"oops;1\n2;3\n')
    assert reading.records["source_row"].to_list() == [1, 3, 4, 6]
    assert refusals(reading) == [(2, "stray_quote"), (5, "stray_quote")]


def test_without_quoting_a_quote_is_a_character(tmp_path: Path) -> None:
    reading = read(tmp_path, b'a;b\n3;5" n\n', quote="")
    assert reading.records.rows() == [(1, "3", '5" n')]


def test_a_carriage_return_inside_a_value(tmp_path: Path) -> None:
    assert refusals(read(tmp_path, b"a;b\n1;2\n3\r;4\n")) == [(2, "stray_line_end")]


@pytest.mark.parametrize("end", [b"\r", b"\r\n", b"\n"])
def test_line_ends(end: bytes, tmp_path: Path) -> None:
    assert read(tmp_path, end.join([b"a,b", b"1,2", b"3,4", b""])).records["b"].to_list() == ["2", "4"]


def test_mixed_line_ends_keep_those_inside_values(tmp_path: Path) -> None:
    reading = read(tmp_path, b'a,b\r\n1,"x\r\ny"\n3,4\r\n')
    assert reading.records["b"].to_list() == ["x\r\ny", "4"]


def test_nothing_printed_is_an_empty_text(tmp_path: Path) -> None:
    assert read(tmp_path, b'a,b\n,""\n').records.rows() == [(1, "", "")]


def test_preamble_units_and_names(tmp_path: Path) -> None:
    reading = read(tmp_path, b"# export\n\na,b\nu,v\n1,2\n", header_row=3, skip_rows=1)
    assert reading.records.rows() == [(1, "1", "2")]
    assert reading.header["preamble"] == ["# export", ""]
    assert read(tmp_path, b"1,2\n", header_row=None, columns=("x", "y")).records.columns == [
        "source_row",
        "x",
        "y",
    ]


def test_names_are_made_different_also_without_case(tmp_path: Path) -> None:
    assert read(tmp_path, b"a,A,,a\n1,2,3,4\n").records.columns[1:] == ["a", "A_2", "column_3", "a_3"]


@pytest.mark.parametrize(
    ("data", "options", "says"),
    [
        ("ä;b\n".encode("latin-1"), {}, "not UTF-8"),
        ("a;b\n1;ä\n".encode(), {"encoding": "latin-1"}, "well-formed UTF-8"),
        ("a;b\n1;€\n".encode("cp1252"), {"encoding": "latin-1"}, "control characters"),
        ("a;b\n1;ä\n".encode("utf-16"), {"encoding": "utf-8"}, "marked as utf-16"),
        (b"a;b\n1;\x00\n", {}, "NUL"),
        (b"a;b\n1;2\n3;4", {"ends_with_newline": True}, "half-written"),
        (b"a;b\n", {"header_row": 9}, "ends before its column names"),
        (b"a;;;;\n1;2;3;4;5\n", {}, "have no name"),
        (b"a;b\n", {"columns": ("x",)}, "1 columns are declared"),
    ],
)
def test_what_cannot_be_read_says_why(
    data: bytes, options: dict[str, object], says: str, tmp_path: Path
) -> None:
    with pytest.raises(UnreadableFile, match=says):
        read(tmp_path, data, delimiter=";", **options)


def test_options_refuse_what_does_not_exist() -> None:
    for wrong in ({"zone": "Mars/Base"}, {"encoding": "utf-9"}, {"delimeter": ";"}):
        with pytest.raises(ValidationError):
            Options.model_validate(wrong)


def test_a_large_file_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Block borders fall inside values, quotes and line ends: the count and the rows stay the same."""
    from pipelines.formats import rows

    lines = [f'{i};"v;{i}\r\n{"x" * (i % 13)}";end' for i in range(500)]
    lines[77] += ";more"
    path = tmp_path / "big.csv"
    path.write_bytes("\r\n".join(["a;b;c", *lines, ""]).encode())
    for size in (64, 65, 1000, 1 << 20):
        monkeypatch.setattr(rows, "BLOCK", size)
        reading = read_file(path, "delimited")
        assert reading.received == 500
        assert refusals(reading) == [(78, "ragged_row")]
        assert reading.records["a"].to_list() == [str(i) for i in range(500) if i != 77]
        assert reading.records["source_row"].to_list() == [i for i in range(1, 501) if i != 78]


def test_scan_gives_duckdb_what_read_gives(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"tag;v\nT1;1,5\nT2\nT3;2,5\nT4\nT5;3,5\n")
    found = delimited.scan(path, Options(), tmp_path)
    assert delimited.count_records(path, Options()) == found.received == 5
    with duckdb.connect() as connection:
        direct = connection.sql(f"FROM {found.sql} ORDER BY source_row").fetchall()
        copy = tmp_path / "copy.parquet"
        connection.execute(f"COPY (FROM {found.unnumbered}) TO '{copy}'")
        rows = f"read_parquet('{copy}', file_row_number=true)"
        numbered = delimited.numbered(f"(SELECT * FROM {rows})", "file_row_number + 1", found.gaps)
        staged = connection.sql(f"SELECT source_row, tag, v FROM {numbered} ORDER BY source_row").fetchall()
    assert direct == staged == [(1, "T1", "1,5"), (3, "T3", "2,5"), (5, "T5", "3,5")]
    with pytest.raises(ValueError, match="scratch"):
        delimited.scan(path, Options())


def test_scan_of_a_clean_file_reads_it_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "it's.csv"
    path.write_bytes("größe;v\r\nT1;1\r\n".encode("latin-1"))
    found = delimited.scan(path, Options(encoding="latin-1"))
    with duckdb.connect() as connection:
        assert connection.sql(f"FROM {found.sql}").fetchall() == [(1, "T1", "1")]
    assert found.columns == ("größe", "v")
    assert not list(tmp_path.glob("tmp*"))


def test_parquet_keeps_types_and_counts_by_the_footer(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pl.DataFrame({"t": [1.5, None], "Source_Row": ["x", "y"]}).write_parquet(path)
    reading = read_file(path)
    assert reading.records.rows() == [(1, 1.5, "x"), (2, None, "y")]
    assert reading.records.dtypes[1] == pl.Float64
    assert parquet.count_records(path, Options()) == 2
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UnreadableFile, match="truncated or half-written"):
        read_file(path, "parquet")
