"""Small files of the lake are merged: fewer files, the same rows, the same answer at every snapshot that is kept."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.integration.small_site import RESULTS, Site, attributes, result
from tests.integration.test_readings_two_ways import CODES, contract
from warehouse import lake, upkeep
from warehouse.lake_layout import CATALOG

HEADER = "batch;tag;at;value;unit;quality\n"
DAYS = (
    datetime(2026, 3, 30, tzinfo=UTC),
    datetime(2026, 3, 31, 12, tzinfo=UTC),
    datetime(2026, 3, 1, tzinfo=UTC),
)


def site_with_three_days(folder: Path) -> Site:
    """Results and readings of three runs; the second day's go over into April, the third is late."""
    sensor = contract({"format": "epoch_ms"}, ".")["feeds"]["sensor"]
    content: dict[str, Any] = attributes(codes=CODES, units={"%": "%", "C": "Cel"})
    content["feeds"] = {"assay": content["feeds"]["assay"], "sensor": sensor}
    site = Site(folder, content)
    for n, day in enumerate(DAYS):
        rows = [
            f"{batch};T;{int((day + timedelta(hours=h)).timestamp() * 1000)};36.{h % 10};C;g"
            for batch in ("B2", "B1")
            for h in range(24)
        ]
        site.send(f"readings_{n}.csv", HEADER + "\n".join(rows) + "\n", hours=n)
        site.send(f"results_{n}.csv", RESULTS + result(n), hours=n)
        assert site.run("sensor").accounting["promoted"] == 48 * (n + 1)
        assert site.run("assay").accounting["promoted"] == n + 1
    return site


def test_fewer_files_and_the_same_answers(tmp_path: Path) -> None:
    site = site_with_three_days(tmp_path)
    before, snapshot = (
        site.hashes(),
        site.rows("SELECT max(snapshot_id) FROM ducklake_snapshots('lake')")[0][0],
    )
    # March comes in three files, of which the late day's is the last; April in one.
    months = f"""
        SELECT t.table_name, f.path, count(*) OVER (PARTITION BY t.table_name) FROM {CATALOG}.ducklake_data_file AS f
        JOIN {CATALOG}.ducklake_table AS t USING (table_id) WHERE f.end_snapshot IS NULL AND t.end_snapshot IS NULL"""
    small = [row for row in site.rows(months) if row[0] == "reading"]
    assert sorted(path.rpartition("/")[0] for _, path, _ in small) == [
        *["site_id=kleinort/year=2026/month=3"] * 3, "site_id=kleinort/year=2026/month=4",
    ]  # fmt: skip

    told = upkeep.compact(site.settings, apply=False)
    assert told.past > 3
    assert len(site.rows(months)) == told.there

    assert upkeep.compact(site.settings, apply=True).past == told.past
    merged = site.rows(months)
    assert len([row for row in merged if row[0] == "reading"]) == 2
    assert {n for name, _, n in merged if name != "reading"} == {1}
    assert upkeep.compact(site.settings, apply=False).past == 0
    assert site.hashes() == before
    sorted_rows = site.rows("SELECT batch_id, read_at FROM lake.core.reading WHERE read_at < '2026-04-01'")
    assert sorted_rows == sorted(sorted_rows)

    # Once the small files are gone, a snapshot from before the merge still answers as it did.
    swept = {s.what: s for s in upkeep.sweep(site.settings, apply=True, grace=timedelta(0))}
    assert swept["lake files of no snapshot kept"].past == told.past
    for back, count in ((0, 144), (2, 96)):
        with closing(lake.attach(site.settings, snapshot=snapshot - back)) as con:
            assert con.execute("SELECT count(*) FROM lake.core.reading").fetchone() == (count,)

    # The next run goes on from there, also where it says again what was merged.
    site.send("readings_again.csv", HEADER + f"B1;T;{int(DAYS[0].timestamp() * 1000)};36.0;C;g\n", hours=9)
    assert site.run("sensor").accounting["duplicate"] == 1
