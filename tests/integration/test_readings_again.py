"""Files of readings that come again and say otherwise, and historian files that are damaged."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.integration.small_site import Site
from tests.integration.test_readings_two_ways import contract

NAMES = "batch;tag;at;value;unit;quality"
TIME = {"format": "iso", "zone": "Europe/Berlin"}
IN_FORCE = "SELECT reading FROM current.reading ORDER BY read_at"
REFUSED = "SELECT refusal FROM lake.raw.file WHERE file_state = 'refused'"
TOLD = "SELECT subject, detail FROM lake.quality.finding WHERE reason_code = 'changed_without_notice'"


def rows(values: list[float]) -> str:
    said = [f"B1;T;2026-03-01T{n:02}:00:00;{v};C;g" for n, v in enumerate(values)]
    return "\n".join([NAMES, *said]) + "\n"


def test_a_later_file_that_says_otherwise_is_told_once_a_file(tmp_path: Path) -> None:
    site = Site(tmp_path, contract(TIME, "."))
    site.send("readings_1.csv", rows([36.5, 36.6, 36.7, 36.8]))
    site.run("sensor")
    # The same again, and more of the day: nothing that was said is another.
    site.send("readings_2.csv", rows([36.5, 36.6, 36.7, 36.8, 36.9]), hours=1)
    assert site.run("sensor").accounting["duplicate"] == 4
    assert site.rows(TOLD) == []
    site.send("readings_3.csv", rows([36.5, 30.0, 31.0]), hours=2)
    site.run("sensor")
    assert site.rows(IN_FORCE) == [(36.5,), (30.0,), (31.0,), (36.8,), (36.9,)]
    ((subject, detail),) = site.rows(TOLD)
    assert subject == "readings_3.csv"
    assert detail.startswith("2 readings say otherwise than an earlier file")
    # What was written before and comes late changes nothing that is in force.
    site.send("readings_0.csv", rows([20.0]), hours=-1)
    site.run("sensor")
    assert site.rows(IN_FORCE)[0] == (36.5,)
    assert len(site.rows(TOLD)) == 1


def test_files_of_one_run_that_contradict_each_other_are_told(tmp_path: Path) -> None:
    site = Site(tmp_path, contract(TIME, "."))
    site.send("readings_1.csv", rows([36.5, 36.6]))
    site.send("readings_2.csv", rows([36.5, 30.0]), hours=1)
    site.run("sensor")
    assert site.rows(IN_FORCE) == [(36.5,), (30.0,)]
    assert [subject for subject, _ in site.rows(TOLD)] == ["readings_2.csv"]


def historian(n: int) -> bytes:
    frame = pl.DataFrame(
        {
            "batch": ["B1"] * n, "tag": ["T"] * n, "value": [36 + k % 97 / 100 for k in range(n)], "unit": ["C"] * n,
            "quality": ["g"] * n, "at": [f"2026-03-01T{k // 3600:02}:{k // 60 % 60:02}:{k % 60:02}" for k in range(n)],
        }
    )  # fmt: skip
    out = io.BytesIO()
    frame.write_parquet(out, row_group_size=500)
    return out.getvalue()


@pytest.mark.parametrize("others", [0, 2])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.99])
def test_a_damaged_historian_file_is_set_aside_and_the_others_are_read(
    tmp_path: Path, others: int, share: float
) -> None:
    told: dict[str, Any] = contract(TIME, ".")
    told["feeds"]["sensor"] |= {"files": "readings_*.parquet", "format": {"name": "parquet"}}
    site = Site(tmp_path, told)
    sound = historian(2000)
    for k in range(others):
        site.send(f"readings_{k}.parquet", sound, hours=k)
    damaged = bytearray(sound)
    at = int(share * len(damaged))
    damaged[at : at + 64] = b"\xff" * len(damaged[at : at + 64])
    site.send("readings_9.parquet", bytes(damaged), hours=9)
    site.run("sensor")
    # Bytes that still decode are what the file says: then its values are looked at, one by one.
    assert {file for (file,) in site.rows("SELECT source_file FROM lake.quality.quarantine")} == {
        "readings_9.parquet"
    }
    right = [36 + k % 97 / 100 for k in range(2000)] if others else []
    found = [value for (value,) in site.rows(IN_FORCE)]
    assert found == right if site.rows(REFUSED) else set(right) <= set(found)
