"""Readings mapped quickly say the same as those mapped one by one from their texts, also where they are bad."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipelines.formats import delimited
from pipelines.ingest import readings
from pipelines.ingest.memory import MEMORY, MEMORY_OF_TEXTS, bounded
from tests.integration.small_site import Site, attributes

CODES = {
    "attribute": {"viab": "viability_trypan_blue_pct"},
    "channel": {"T": "temperature_c", "PH": "ph"},
    "status": {"g": "good", "b": "bad"},
}
# How a day with a clock change is written: (time format of the contract, decimal mark, times, one that is none).
BERLIN = ["2026-03-29T00:59:59", "2026-03-29T02:30:00", "2026-03-29T03:00:00", "2026-10-25T02:30:00"]
LAYOUTS: dict[str, tuple[dict[str, Any], str, list[str], str]] = {
    "local": ({"format": "iso", "zone": "Europe/Berlin"}, ".", [*BERLIN, "2026-03-01T12:00:00Z"], "noon"),
    "stamped": (
        {"format": "iso"},
        ",",
        ["2026-03-01T12:00:00+01:00", "2026-03-01T12:00:01Z", "2026-03-01T12:00+01", "2026-03-01T12:00:02"],
        "2026-02-30T00:00:00Z",
    ),
    "printed": (
        {"format": "%d.%m.%Y %H:%M:%S", "zone": "Europe/Berlin"},
        ",",
        ["29.03.2026 00:59:59", "29.03.2026 02:30:00", "29.03.2026 03:00:00", "25.10.2026 02:30:00"],
        "31.02.2026 00:00:00",
    ),
    "counted": ({"format": "epoch_ms"}, ".", ["1772668800000", "1772669100000"], "1772668800000.5"),
}


def contract(time: dict[str, Any], decimal: str) -> dict[str, Any]:
    columns = {
        "batch_id": "batch",
        "channel": "tag",
        "quantity_name": {"from": "tag", "codes": "channel"},
        "read_at": "at",
        "reading": {"from": "value", "unit_from": "unit"},
        "reading_status": {"from": "quality", "codes": "status"},
    }
    feed = {
        "system": "export",
        "files": "readings_*.csv",
        "format": {"name": "delimited", "delimiter": ";"},
        "decimal": decimal,
        "record": ["batch", "tag", "at"],
        "time": time,
        "tables": [{"table": "reading", "columns": columns}],
    }
    units = {"degF": "[degF]", "C": "Cel", "pH": "[pH]"}
    return attributes(codes=CODES, units=units, feeds={"sensor": feed})


def lines(times: list[str], none: str, decimal: str) -> list[str]:
    """Readings of every kind: good, in another unit, out of range, of words, times and numbers that are none."""
    said = [("36.9", "C", "g"), ("98.6", "degF", "b"), ("-0.0", "C", "g"), ("7.1", "pH", "g")]
    said += [("36.9", "K", "g"), ("999", "C", "g"), ("warm", "C", "g"), ("", "C", "g"), ("36.9", "C", "q")]
    rows = [
        f"B{b};{'PH' if unit == 'pH' else tag};{at};{value.replace('.', decimal)};{unit};{quality}"
        for b in (2, 1)
        for tag in ("T", "nobody's")
        for at in [*times, none, ""]
        for value, unit, quality in said
    ]
    return [*rows, *rows[:3], f" B3 ;T;{times[0]}; 36{decimal}5 ;C; g "]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_both_ways_say_the_same(layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    time, decimal, times, none = LAYOUTS[layout]
    rows = lines(times, none, decimal)
    names = "batch;tag;at;value;unit;quality"
    found = []
    # Of a file as long as SAMPLED_FROM words are looked for in a line of every SAMPLED bytes: all are found, or few.
    for way, sampled in (
        ("quick", None),
        ("all words found", 30),
        ("few words found", 4000),
        ("thorough", None),
    ):
        site = Site(tmp_path / way, contract(time, decimal))
        site.send("readings_1.csv", "\n".join([names, *rows]))
        # Rows that the reader refuses leave a gap in the numbers of those that follow.
        site.send("readings_2.csv", "\n".join([names, *rows[5:9], "B1;T", *rows[9:20]]) + "\n", hours=1)
        monkeypatch.setattr(delimited, "SAMPLED_FROM", 1 << 30 if sampled is None else 0)
        monkeypatch.setattr(delimited, "SAMPLED", sampled or 1 << 15)
        if way == "thorough":
            monkeypatch.setattr(readings, "MOST_COMBINATIONS", 0)
        outcome = site.run("sensor")
        assert outcome.accounting["promoted"] > 0 < outcome.accounting["quarantined"]
        found.append((outcome.accounting, site.hashes()))
    assert all(one == found[-1] for one in found)


def test_rows_that_make_up_for_each_other_are_found(tmp_path: Path) -> None:
    """The quick count sees as many delimiters as it expects; the parser does not."""
    site = Site(tmp_path, contract({"format": "epoch_ms"}, "."))
    rows = [f"B1;T;{1772668800000 + n};36.9;C;g" for n in range(50)]
    rows[10], rows[20] = "B1;T;1772668800010;36.9;C", "B1;T;1772668800020;36.9;C;g;g"
    site.send("readings_1.csv", "\n".join(["batch;tag;at;value;unit;quality", *rows]) + "\n")
    counts = site.run("sensor").accounting
    assert (counts["received"], counts["promoted"], counts["quarantined"]) == (50, 48, 2)
    refused = "SELECT source_row, reason_code FROM lake.quality.quarantine ORDER BY source_row"
    assert site.rows(refused) == [(11, "ragged_row"), (21, "ragged_row")]
    assert site.rows("SELECT max(source_row) FROM lake.core.reading") == [(50,)]


def test_readings_are_stored_by_batch_channel_and_time(tmp_path: Path) -> None:
    """Also where the next file goes on before the first."""
    site = Site(tmp_path, contract({"format": "epoch_ms"}, "."))
    for n, start in enumerate((1772668900000, 1772668800000)):
        rows = [f"B1;T;{start + i};36.9;C;g" for i in range(20)]
        site.send(f"readings_{n}.csv", "\n".join(["batch;tag;at;value;unit;quality", *rows]) + "\n", hours=n)
    assert site.run("sensor").accounting["promoted"] == 40
    times = [row[0] for row in site.rows("SELECT read_at FROM lake.core.reading")]
    assert times == sorted(times)


def test_readings_said_twice_are_found_however_many_there_are(tmp_path: Path) -> None:
    """Also where one core maps a reading and another core the same one again: each takes so many rows at a time."""
    site = Site(tmp_path, contract({"format": "epoch_ms"}, "."))
    rows = [f"B{b};T;{1772668800000 + 1000 * i};36.9;C;g" for b in (1, 2) for i in range(300_000)]
    for at in range(122_880, len(rows), 122_880):
        rows[at] = rows[at - 1]
    site.send("readings_1.csv", "\n".join(["batch;tag;at;value;unit;quality", *rows]) + "\n")
    accounting = site.run("sensor").accounting
    assert (accounting["promoted"], accounting["duplicate"]) == (599_996, 4)


def test_memory_is_bounded_while_it_is_asked_for_and_given_back_also_where_that_fails() -> None:
    def limit() -> str:
        # What holds; the setting tells what was said, which is not always the same.
        row = con.execute("SELECT any_value(memory_limit) FROM pragma_database_size()").fetchone()
        assert row is not None
        return str(row[0]).replace(".0 ", "")

    def fails() -> None:
        with bounded(con):
            with bounded(con, MEMORY_OF_TEXTS, then=MEMORY):
                assert limit() == MEMORY_OF_TEXTS
            assert limit() == MEMORY
            raise ZeroDivisionError

    with duckdb.connect() as con:
        usual, after = limit(), []
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                fails()
            after.append(limit())
        assert len(set(after)) == 1
        assert after[0].split()[1] == usual.split()[1]
        assert 0.9 < float(after[0].split()[0]) / float(usual.split()[0]) <= 1
