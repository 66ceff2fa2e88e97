"""What holds for every format: recognised, read whole, and never half-read when damaged."""

from __future__ import annotations

import warnings
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.formats.protocol import Options, Reading, UnreadableFile
from pipelines.formats.registry import FORMATS, NAMES, format_named, read_file, recognise

from .samples import SAMPLES, Sample

BY_NAME = [pytest.param(sample, id=sample.format + ":" + sample.name) for sample in SAMPLES]


def write(folder: Path, sample: Sample, data: bytes | None = None) -> Path:
    path = folder / sample.name
    path.write_bytes(sample.data if data is None else data)
    return path


def attempt(sample: Sample, path: Path) -> Reading | UnreadableFile:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the workbook reader, about parts we do not use
        try:
            return format_named(sample.format).read(path, Options())
        except UnreadableFile as refused:
            return refused


def adds_up(reading: Reading) -> None:
    whole = {r.source_row for r in reading.refused if r.field is None and r.source_row is not None}
    assert reading.received == reading.records.height + len(whole)
    assert reading.records.columns[0] == "source_row"
    rows = reading.records["source_row"].to_list()
    assert rows == sorted(set(rows))
    assert not whole & set(rows)
    if reading.received:
        assert set(rows) | whole == set(range(1, reading.received + 1))
    for refused in reading.refused:
        assert refused.mend.endswith(".")
    if reading.format not in ("parquet", "fcs"):
        assert set(reading.records.dtypes[1:]) <= {pl.String}


def test_every_format_has_a_sample() -> None:
    assert {sample.format for sample in SAMPLES} == set(NAMES)
    assert len(set(NAMES)) == len(FORMATS)


@pytest.mark.parametrize("sample", BY_NAME)
def test_a_file_is_recognised_and_read_whole(sample: Sample, tmp_path: Path) -> None:
    path = write(tmp_path, sample)
    known = recognise(path)
    assert known is not None
    assert known.name == sample.format
    reading = read_file(path)
    assert reading.format == sample.format
    assert reading.received == sample.records
    adds_up(reading)


@pytest.mark.parametrize("sample", BY_NAME)
def test_reading_twice_gives_the_same(sample: Sample, tmp_path: Path) -> None:
    path = write(tmp_path, sample)
    first, second = read_file(path), read_file(path)
    assert first.records.equals(second.records)
    assert (first.flags, first.refused, first.header) == (second.flags, second.refused, second.header)


@pytest.mark.parametrize("sample", BY_NAME)
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
def test_the_encoding_of_a_text_file_is_found(sample: Sample, encoding: str, tmp_path: Path) -> None:
    plain = write(tmp_path, sample)
    marked = encoding in ("utf-16", "utf-8-sig")
    if sample.format in ("parquet", "excel", "vicell_xr_results", "fcs") or (
        sample.name.endswith((".xml", ".wsp")) and not marked
    ):
        return
    text = sample.data.decode("utf-16" if sample.data.startswith(b"\xff\xfe") else "utf-8")
    wanted = read_file(plain)
    found = read_file(write(tmp_path, sample, text.encode(encoding)))
    assert found.format == sample.format
    assert found.records.equals(wanted.records)
    assert (found.flags, found.refused, found.received) == (wanted.flags, wanted.refused, wanted.received)


@pytest.mark.parametrize("sample", BY_NAME)
@pytest.mark.parametrize("data", [b"", b"\x00" * 64, b"\xff\xfe", b"\xef\xbb\xbf", b"\n\n", b"\x80\x81\x82"])
def test_what_is_no_such_file_is_refused(sample: Sample, data: bytes, tmp_path: Path) -> None:
    path = write(tmp_path, sample, data)
    result = attempt(sample, path)
    if isinstance(result, UnreadableFile):
        assert result.file == sample.name
        assert result.problem.endswith(".")
        assert result.mend.endswith(".")
    else:
        assert result.records.height == 0


@pytest.mark.parametrize("sample", BY_NAME)
def test_an_empty_file_says_so(sample: Sample, tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="empty"):
        read_file(write(tmp_path, sample, b""))


@pytest.mark.parametrize(
    ("dyes", "names", "told"),
    [
        (",,FAM,,", "Run name,Well,Target,Conc.,Positives", "do not end with its threshold"),
        (",,FAM,,VIC", "Run name,Well,Target,Conc.,Target", "unlike columns"),
    ],
)
def test_a_summary_cut_in_its_names_is_refused(dyes: str, names: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "aq_summary.csv"
    path.write_text(f"{dyes}\n{names}\n", "utf-8")
    with pytest.raises(UnreadableFile, match=told):
        format_named("absolute_q_summary").read(path, Options())


@pytest.mark.parametrize("sample", BY_NAME)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused_and_adds_up(
    sample: Sample, tmp_path: Path, data: st.DataObject
) -> None:
    damaged = bytearray(sample.data)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(0, len(damaged) - 1)))
        kind = data.draw(st.sampled_from(["cut", "drop", "insert", "flip", "repeat"]))
        if kind == "cut":
            del damaged[at:]
        elif kind == "drop":
            del damaged[at : at + data.draw(st.integers(1, 20))]
        elif kind == "insert":
            damaged[at:at] = data.draw(
                st.sampled_from([b"\n", b"\r", b"\t", b'"', b";", b"<", b"{", b"\x00", b"\xff", b"9"])
            )
        elif kind == "flip" and damaged:
            damaged[at] ^= 1 << data.draw(st.integers(0, 7))
        else:
            damaged[at:at] = damaged[at : at + 40]
    path = write(tmp_path, sample, bytes(damaged))
    result = attempt(sample, path)
    if isinstance(result, Reading):
        adds_up(result)
    else:
        assert result.mend.endswith(".")


def test_a_parquet_file_damaged_at_any_byte_is_read_or_refused(tmp_path: Path) -> None:
    """Its texts, the writer's name too, are decoded late, and no damage to them may come as an error of its own."""
    [sample] = [s for s in SAMPLES if s.format == "parquet"]
    for at in range(len(sample.data)):
        damaged = bytearray(sample.data)
        damaged[at] ^= 0x80
        result = attempt(sample, write(tmp_path, sample, bytes(damaged)))
        assert isinstance(result, Reading) or result.mend.endswith(".")


@pytest.mark.parametrize("name", ["notes.md", "data.bin"])
def test_an_unknown_file_lists_what_was_tried(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"nothing that any reader knows\n")
    with pytest.raises(UnreadableFile, match="no format recognises it") as refused:
        read_file(path)
    for known in NAMES:
        assert known in refused.value.problem


def test_a_format_that_does_not_exist(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"a,b\n1,2\n")
    with pytest.raises(KeyError, match="no format 'csv'"):
        read_file(path, "csv")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="cannot be opened"):
        read_file(tmp_path / "absent.csv")
