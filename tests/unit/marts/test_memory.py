"""Parts taken from the last snapshot: what the marts say is what a whole rebuild says, whatever came in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.unit.conftest import together
from tests.unit.marts.test_chart_marts import CHARTED, approve, freeze
from tests.unit.marts.test_marts import at
from tests.unit.marts.test_trajectory_marts import DECLARED, ORIGIN, add_runs, run_of
from warehouse import made_by
from warehouse.marts import memory
from warehouse.marts.build import build
from warehouse.marts.columns import mart_columns
from warehouse.marts.memory import digest

WATCHED = CHARTED.model_copy(update={"trajectories": DECLARED})
# What names the snapshot itself or says what changed since the one before.
OF_THE_NIGHT = {"change"}
ATTRIBUTES = ("cd3_pct", "viability_flow_pct")


@together
def lots(lake: Any, rng: np.random.Generator, first: int, count: int, site: str, stamp: int = 0) -> None:
    """Batches of one site with a result of each attribute; a later stamp corrects what is there."""
    numbers = range(first, first + count)
    lake.add("batch", *(
        {"site_id": site, "batch_id": f"{site}{i:02d}", "order_id": f"{site}O{i}", "batch_started_at": at(24 * i),
         "protocol_version": "P-1", "product_id": "X", "batch_status": "complete", "disposition": "released"}
        for i in numbers
    ))  # fmt: skip
    lake.add("sample", *(
        {"site_id": site, "sample_id": f"{site}S{i}", "batch_id": f"{site}{i:02d}", "sample_point": "release",
         "taken_at": at(24 * i + 200)}
        for i in numbers
    ))  # fmt: skip
    lake.add("assay_result", *(
        {"site_id": site, "result_id": f"{site}{name}{i}", "sample_id": f"{site}S{i}", "batch_id": f"{site}{i:02d}",
         "attribute": name, "value": float(rng.uniform(80, 95)), "operator": "=", "replicate": 1,
         "result_at": at(24 * i + 210 + stamp)}
        for i in numbers for name in ATTRIBUTES
    ))  # fmt: skip


def published(con: Any, path: Path, previous: Path | None) -> dict[str, pl.DataFrame]:
    """Every mart of a publication, in the order in which it was written."""
    name = path.stem
    con.execute(f"ATTACH '{path}' AS {name}")
    build(con, name, WATCHED, 1, previous)
    told = {
        mart: con.execute(f"SELECT * FROM {name}.mart.{mart}").pl()
        for mart in mart_columns()
        if mart not in OF_THE_NIGHT
    }
    con.execute(f"DETACH {name}")
    return told


def alike(one: dict[str, pl.DataFrame], other: dict[str, pl.DataFrame]) -> None:
    for mart, frame in one.items():
        assert frame.equals(other[mart]), mart


def test_a_night_that_takes_over_says_what_a_whole_rebuild_says(
    small_lake: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[memory.Memory] = []
    first = memory.Memory.__init__

    def noted(self: memory.Memory, con: Any, earlier: str | None) -> None:
        first(self, con, earlier)
        made.append(self)

    monkeypatch.setattr(memory.Memory, "__init__", noted)
    rng, con = np.random.default_rng(1), small_lake.con
    lots(small_lake, rng, 0, 12, "a")
    lots(small_lake, rng, 0, 12, "b")
    runs = {f"R{i}": run_of(rng) for i in range(7)}
    add_runs(small_lake, runs, dict.fromkeys(runs, ORIGIN))
    previous, quiet = tmp_path / "first.duckdb", tmp_path / "quiet.duckdb"
    alike(published(con, previous, None), published(con, quiet, previous))
    assert made[-1].taken == len(made[-1]._now) > 10

    def charted() -> None:
        lots(small_lake, rng, 12, 1, "a")
        freeze(con, "engineer")
        approve(con, "quality")

    def followed() -> None:
        lots(small_lake, rng, int(rng.integers(0, 12)), 1, "b", stamp=5)
        add_runs(small_lake, {"R9": run_of(rng)}, {"R9": ORIGIN})

    for night in (charted, followed):
        night()
        whole = published(con, tmp_path / f"{night.__name__}_whole.duckdb", None)
        path = tmp_path / f"{night.__name__}.duckdb"
        alike(whole, published(con, path, previous))
        assert made[-2].taken == 0
        assert 0 < made[-1].taken < len(made[-1]._now)
        previous = path


def test_other_code_takes_over_nothing(
    small_lake: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lots(small_lake, np.random.default_rng(3), 0, 9, "a")
    previous = tmp_path / "first.duckdb"
    published(small_lake.con, previous, None)
    small_lake.con.execute(f"ATTACH '{previous}' AS earlier (READ_ONLY)")
    known = memory.Memory(small_lake.con, "earlier")
    assert known.same("chart_rule", ("nelson",))
    monkeypatch.setattr(made_by, "code", lambda: "another")
    assert not memory.Memory(small_lake.con, "earlier").same("chart_rule", ("nelson",))
    small_lake.con.execute("DETACH earlier")


def test_a_digest_tells_apart_what_looks_alike() -> None:
    told = [
        digest("ab", "c"),
        digest("a", "bc"),
        digest(np.array([1.0, 2.0])),
        digest(np.array([[1.0], [2.0]])),
        digest(pl.DataFrame({"x": ["", None]})),
        digest(pl.DataFrame({"x": [None, ""]})),
        digest(pl.DataFrame({"x": [0.30000000000000004]})),
        digest(pl.DataFrame({"x": [0.3]})),
    ]
    assert len(set(told)) == len(told)
    assert digest(pl.DataFrame({"x": [0.1]}), "a") == digest(pl.DataFrame({"x": [0.1]}), "a")
