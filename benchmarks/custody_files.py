"""Planted defects of custody in the sites' files: written, read, promoted, judged and scored, over seeds.

Belongs here: simulated fleets whose files go through the real vault, reader, contract, audit and lake, for the feeds
that a chain of custody is held against. Does not belong here: what is planted (`pipelines/simulator`), whole runs with
every feed (`cellfleet score --seeds`), the page (`custody.py`).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import duckdb

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from pipelines.harmonise.contract import load_contract  # noqa: E402
from pipelines.ingest.asset import ingest  # noqa: E402
from pipelines.simulator.fleet import simulate  # noqa: E402
from pipelines.simulator.score import score  # noqa: E402
from pipelines.simulator.spoil_custody import CLASSES  # noqa: E402
from pipelines.validation.findings import find  # noqa: E402
from warehouse import lake  # noqa: E402
from warehouse.plan import load_plan  # noqa: E402
from warehouse.settings import Settings  # noqa: E402

TABLES = {"therapy_order", "collection", "batch", "release_decision", "infusion", "custody_event"}


def through_files(seed: int, scale: str, folder: Path) -> dict[str, Any]:
    """Planted, found and false by class of custody, and the orders of the fleet."""
    chosen = Settings(home=str(folder), sources=str(folder / "sources"))
    simulate(folder / "sources", scale, seed)
    for path in sorted(chosen.sites_path.glob("*/defs.yaml")):
        contract = load_contract(path)
        for name, feed in contract.feeds.items():
            if TABLES & {m.table for m in feed.maps}:
                ingest(contract, name, chosen, f"trial-{seed}")
    with lake.opened(chosen) as con:
        find(con, f"trial-{seed}", load_plan(chosen.sites_path / "fleet.yaml"))
        [(orders,)] = con.execute("SELECT count(*) FROM current.therapy_order").fetchall()
        con.execute(f"ATTACH '{folder / 'told.duckdb'}' AS told")
        con.execute("CREATE SCHEMA told.quality")
        for table in ("accounting", "finding", "quarantine"):
            con.execute(f"CREATE TABLE told.quality.{table} AS SELECT * FROM lake.quality.{table}")
        con.execute("DETACH told")
    with duckdb.connect(str(folder / "told.duckdb")) as told:
        told.execute(
            "CREATE SCHEMA mart; CREATE TABLE mart.comparability (attribute TEXT, site TEXT, verdict TEXT, "
            "reason TEXT, estimate DOUBLE, ci_low DOUBLE, ci_high DOUBLE)"
        )
        found = score(folder / "sources", told)["defects"]
    kept = {c: {k: found[c][k] for k in ("planted", "found", "false")} for c in CLASSES}
    return {"seed": seed, "scale": scale, "orders": orders, "classes": kept}
