"""Readings are counted run by run, as they are stored: the sum is that of all ever sent, or the run fails."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from pipelines.ingest import large
from pipelines.ingest.accounting import AccountingError
from tests.integration.small_site import STATES, Site
from tests.integration.test_readings_two_ways import contract
from warehouse import lake_layout

HEADER = "batch;tag;at;value;unit;quality\n"
START = 1772668800000
Row = tuple[str, int, str]


def text(row: Row) -> str:
    batch, at, value = row
    return f"{batch};T;{START + at};{value};C;g"


@pytest.mark.parametrize("seed", range(4))
def test_accounts_add_up_over_runs_that_overlap(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = random.Random(seed)
    # Every file a group of its own, so that one run makes several accounts.
    monkeypatch.setattr(large, "GROUP_BYTES", {"delimited": 1})
    site = Site(tmp_path, contract({"format": "epoch_ms"}, "."))
    sent: list[Row] = []
    for run in range(4):
        for file in range(drawn.randint(1, 3)):
            # New hours, hours sent before with the same or another value, and the same twice in one file.
            rows = [
                (drawn.choice("AB"), 1000 * drawn.randint(0, 30 * (run + 1)), f"36.{drawn.randint(1, 3)}")
                for _ in range(drawn.randint(1, 40))
            ]
            rows += drawn.choices(sent, k=min(len(sent), drawn.randint(0, 10))) + rows[:1]
            sent += rows
            lines = "\n".join(map(text, rows))
            site.send(
                f"readings_{run}_{file}.csv", f"{HEADER}{lines}\nB;T;never;36.9;C;g\n", hours=10 * run + file
            )
        counts = site.run("sensor").accounting
        files = int(site.rows("SELECT count(*) FROM lake.raw.file")[0][0])
        stored, keys = len(set(sent)), len({row[:2] for row in sent})
        wanted: dict[str, Any] = {
            "received": len(sent) + files, "promoted": keys, "superseded": stored - keys,
            "duplicate": len(sent) - stored, "quarantined": files,
        }  # fmt: skip
        assert {name: counts[name] for name in wanted} == wanted
        in_force = site.rows("SELECT count(*) FROM current.reading")[0][0]
        assert (in_force, site.rows("SELECT count(*) FROM lake.core.reading")[0][0]) == (keys, stored)


def test_a_file_sent_again_is_duplicates_whatever_became_of_its_readings(tmp_path: Path) -> None:
    """As a copy that does not keep the times of files sends them all."""
    site = Site(tmp_path, contract({"format": "epoch_ms"}, "."))
    lines = f"{HEADER}{text(('A', 0, '36.9'))}\nB;T;never;36.9;C;g\nB;T;nor now;36.9;C;g\n"
    for times in range(1, 4):
        site.send("readings_0.csv", lines, hours=times)
        counts = site.run("sensor").accounting
        assert (counts["received"], counts["promoted"], counts["quarantined"]) == (3 * times, 1, 2)
        assert counts["duplicate"] == 3 * (times - 1)


@pytest.mark.parametrize("lost", [0, 1])
def test_a_reading_that_is_not_stored_stops_the_run(
    lost: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in a later run, whose account goes on from the one before."""
    site = Site(tmp_path, contract({"format": "epoch_ms"}, "."))
    write = lake_layout.write_files

    def short(con: Any, table: Any, source: str) -> list[str]:
        return write(con, table, f"(SELECT * FROM {source} WHERE source_row > 1)")

    for run in range(2):
        rows = [("A", 1000 * (10 * run + n), "36.9") for n in range(5)]
        site.send(f"readings_{run}.csv", HEADER + "\n".join(map(text, rows)) + "\n", hours=run)
        if run < lost:
            assert site.run("sensor").accounting["promoted"] == 5
            continue
        monkeypatch.setattr(lake_layout, "write_files", short)
        with pytest.raises(AccountingError, match=f"{5 * (run + 1)} records received"):
            site.run("sensor")
        monkeypatch.undo()
        # Nothing of it was kept: run again, it is whole.
        assert site.run("sensor").accounting == dict.fromkeys(
            (*STATES, "fields_quarantined", "findings"), 0
        ) | {"received": 5 * (run + 1), "promoted": 5 * (run + 1)}
        break
