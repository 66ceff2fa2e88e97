"""How a feed is written: each drift is named as what it is, with the line that accepts it; what is readable is kept."""

from __future__ import annotations

from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
from small_site import RESULTS, Site, attributes

VIABILITY = "viability_trypan_blue_pct"
CODES = {"attribute": {"viab": VIABILITY}}


def rows(first: int, values: list[str], test: str = "viab", at: str = "2026-02-01T09:00:00Z") -> str:
    return "".join(
        f"R{first + n:05d},S{n},{test},{value},%,{at},2026-02-01T10:00:00Z\n"
        for n, value in enumerate(values)
    )


def texts(seed: int, n: int = 12) -> list[str]:
    return [f"{v:.2f}" for v in np.random.default_rng(seed).uniform(80, 98, n)]


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site after five files in which nothing is remarkable, to be copied."""
    folder = tmp_path_factory.mktemp("usual")
    site = Site(folder, attributes(codes=CODES))
    for k in range(5):
        site.send(f"results_{k}.csv", RESULTS + rows(100 * k, texts(k)), 24 * k)
    site.run()
    assert site.rows("SELECT reason_code FROM lake.quality.finding") == []
    return folder


@pytest.fixture
def site(usual: Path, tmp_path: Path) -> Site:
    made = Site(tmp_path, attributes(codes=CODES), runs=1)
    copytree(usual, tmp_path, dirs_exist_ok=True)
    return made


def told(site: Site, last: str) -> dict[str, str]:
    """Findings on one more file."""
    site.send("results_9.csv", last, 24 * 9)
    site.run()
    return dict(site.rows("SELECT reason_code, detail FROM lake.quality.finding"))


def test_a_comma_for_a_point_is_told_as_another_type_and_waits(site: Site) -> None:
    comma = RESULTS + rows(900, [f'"{t.replace(".", ",")}"' for t in texts(9)])
    found = told(site, comma)
    assert set(found) == {"column_retyped"}
    assert "column result (viab) now holds numbers with a decimal comma" in found["column_retyped"]
    assert '`decimal: ","`' in found["column_retyped"]
    assert site.rows("SELECT DISTINCT reason_code FROM current.quarantine") == [("number_format",)]


def test_another_time_format_is_told_with_the_line_that_reads_it(site: Site) -> None:
    found = told(site, RESULTS + rows(900, texts(9), at="01.02.2026 09:00"))
    assert set(found) == {"column_retyped"}
    assert '`time: {format: "%d.%m.%Y %H:%M"}`' in found["column_retyped"]


def test_fewer_and_more_decimals_are_told_and_promoted(site: Site) -> None:
    found = told(site, RESULTS + rows(900, [str(round(float(t))) for t in texts(9)]))
    assert set(found) == {"precision_changed"}
    assert "at most 0 decimals" in found["precision_changed"]
    assert "rounded" in found["precision_changed"]
    assert site.rows("SELECT count(*) FROM current.assay_result") == [(72,)]
    finer = RESULTS + rows(800, [f"{t}37" for t in texts(8)])
    site.send("results_10.csv", finer, 24 * 10)
    site.run()
    details = [d for (d,) in site.rows("SELECT detail FROM lake.quality.finding")]
    assert sum("written finer" in d for d in details) == 1


def test_a_new_code_is_told_once_with_the_word_of_the_one_that_stopped(site: Site) -> None:
    found = told(site, RESULTS + rows(900, texts(9), test="VIAB-TB"))
    assert set(found) == {"code_new"}
    assert f"`attribute: {{VIAB-TB: {VIABILITY}}}`" in found["code_new"]
    assert site.rows("SELECT count(*) FROM current.quarantine") == [(12,)]


def test_rows_in_another_order_are_told_and_promoted(site: Site) -> None:
    lines = rows(900, texts(9)).splitlines(keepends=True)
    found = told(site, RESULTS + "".join(reversed(lines)))
    assert set(found) == {"row_order_changed"}
    assert "nothing rests on the order" in found["row_order_changed"]
    assert site.rows("SELECT count(*) FROM current.quarantine") == [(0,)]


def test_a_column_that_is_gone_is_told_and_its_records_wait(site: Site) -> None:
    gone = "\n".join(",".join(line.split(",")[:4] + line.split(",")[5:]) for line in
                     (RESULTS + rows(900, texts(9))).splitlines())  # fmt: skip
    found = told(site, gone + "\n")
    assert set(found) == {"column_dropped"}
    assert "column unit is missing and nothing else of the file looks like it" in found["column_dropped"]
    assert site.rows("SELECT DISTINCT reason_code FROM current.quarantine") == [("column_missing",)]


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
def test_another_encoding_is_refused_as_what_it_is(tmp_path: Path, encoding: str) -> None:
    site = Site(tmp_path)
    site.send("results_1.csv", (RESULTS + rows(1, texts(1), test="größe")).encode(encoding))
    site.run()
    ((reason, wanted),) = set(
        site.rows("SELECT DISTINCT reason_code, value_wanted FROM current.quarantine ORDER BY ALL")
    )
    assert reason in ("bad_encoding", "file_unreadable")
    assert "ncoding" in wanted or "encoded" in wanted


def test_no_alarm_where_nothing_drifts(tmp_path: Path) -> None:
    """60 files of values whose level and digits move as a process does, 3 to 20 each: not one remark."""
    site = Site(tmp_path, attributes(codes=CODES))
    rng = np.random.default_rng(5)
    for k in range(60):
        level = 90 + 3 * np.sin(k / 5)
        values = [f"{v:.3g}" for v in np.clip(rng.normal(level, 4, rng.integers(3, 20)), 30, 99.9)]
        site.send(f"results_{k:02d}.csv", RESULTS + rows(100 * k, values), 24 * k)
    site.run()
    assert site.rows("SELECT reason_code, detail FROM lake.quality.finding") == []
