"""A published snapshot that was cut or has a flipped bit: no other number is read from it, and publishing mends it."""

from __future__ import annotations

import os
import random
from pathlib import Path
from shutil import copyfile

import duckdb
import pytest

from dashboards.providers.snapshot import NoSnapshot, Snapshots
from pipelines.doctor import examine
from pipelines.publication import publish_fleet
from tests.integration.small_site import ORDERS, RESULTS, Site, result
from warehouse.publish import is_sound, newest

pytestmark = pytest.mark.faults
FLIPS = 400 if os.environ.get("CELLFLEET_FAULTS") == "all" else 12
Rows = dict[str, list[tuple[object, ...]]]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    made = Site(tmp_path_factory.mktemp("damage") / "fleet")
    made.send("results_0.csv", RESULTS + "".join(result(n, f"{80 + n}.5") for n in range(5)))
    made.send("orders_0.csv", ORDERS + "O0,M0,Name 0,1960-01-01,p,,2026-02-01T10:00:00Z\n")
    made.run()
    made.run("order")
    publish_fleet(made.settings, "run")
    return made


def read(path: Path) -> Rows:
    """Every row of every table of a snapshot."""
    with duckdb.connect(str(path), read_only=True) as con:
        tables = con.execute("SELECT schema_name, table_name FROM duckdb_tables() ORDER BY ALL").fetchall()
        return {f"{s}.{t}": con.execute(f"SELECT * FROM {s}.{t}").fetchall() for s, t in tables}


def cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def flip(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 3)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 4]))


def told_of(snapshot: Path, site: Site) -> None:
    """Its bytes are known not to be those published, and doctor says which file it is and what mends it."""
    assert is_sound(snapshot) is False
    (said,) = [d for d in examine(site.settings) if d.check == "snapshot"]
    assert not said.ok
    assert str(snapshot) in said.said
    assert "cellfleet publish" in said.said


def test_it_is_told_of_and_publishing_mends_it(site: Site, tmp_path: Path) -> None:
    snapshot = newest(site.settings.published_path)
    assert snapshot is not None
    assert is_sound(snapshot)
    whole, kept = read(snapshot), copyfile(snapshot, tmp_path / "whole.duckdb")
    snapshot.chmod(0o644)
    cut(snapshot)
    told_of(snapshot, site)
    with pytest.raises(NoSnapshot, match="cellfleet publish"):
        Snapshots(site.settings.published_path).current()
    copyfile(kept, snapshot)
    assert is_sound(snapshot)
    flip(snapshot)
    told_of(snapshot, site)
    mended = publish_fleet(site.settings, "again")
    assert mended.path != snapshot
    assert is_sound(mended.path)
    now = read(mended.path)
    assert now["core.assay_result"]
    # The same rows and answers; what names the publication itself lies in other schemas.
    for name in (n for n in whole if n.startswith(("core.", "mart."))):
        assert sorted(map(repr, now[name])) == sorted(map(repr, whole[name])), name


def test_no_other_number_is_read_whatever_bit_flips(site: Site, tmp_path: Path) -> None:
    snapshot = newest(site.settings.published_path)
    assert snapshot is not None
    whole, drawn, noticed = read(snapshot), random.Random(3), 0
    for _ in range(FLIPS):
        spoiled = copyfile(snapshot, tmp_path / "spoiled.duckdb")
        with spoiled.open("r+b") as file:
            file.seek(drawn.randrange(spoiled.stat().st_size))
            byte = file.read(1)[0]
            file.seek(-1, 1)
            file.write(bytes([byte ^ (1 << drawn.randrange(8))]))
        try:
            # Where it can be read at all, the bit lay where nothing is kept.
            assert read(spoiled) == whole
        except duckdb.Error:
            noticed += 1
    assert noticed > FLIPS / 4
