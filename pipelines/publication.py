"""Publishing the fleet: marts built into the next snapshot, with the facts a reader needs to trust it."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import duckdb

from pipelines.harmonise.contract import ContractError, load_contract
from pipelines.logbook import cosigned, heads_of
from pipelines.real_files import contract_paths
from warehouse import lake, lake_files, logs
from warehouse.alone import alone
from warehouse.distribution import distribute, fetch
from warehouse.ledger import LedgerError
from warehouse.marts.build import build
from warehouse.plan import Fleet, load_plan
from warehouse.publish import Snapshot, publish
from warehouse.settings import Settings
from warehouse.upkeep import last_done

SYNTHETIC = "SYNTHETIC"


def publish_fleet(chosen: Settings, run_id: str) -> Snapshot:
    """Publish the lake as it stands, and hand the snapshot to other machines where there are any.

    Raises LakeError or PlanError; the previous snapshot then stays. Raises ObjectStorageError where it was published
    here but could not be handed on.
    """
    plan = load_plan(chosen.sites_path / "fleet.yaml")
    with alone(chosen, "publish"):
        if chosen.published:
            # Numbers go on from what other machines have, also where this one's folder is new.
            fetch(chosen)
        done = _published(chosen, plan, run_id)
        if chosen.published:
            distribute(chosen, done.path)
    return done


def _published(chosen: Settings, plan: Fleet, run_id: str) -> Snapshot:
    with lake.opened(chosen) as con:
        if lost := lake_files.missing(con, chosen):
            raise lake.LakeError(lake_files.in_words(lost, lake_files.data_path(chosen)))
        made = con.execute("SELECT max(recorded_at) FROM lake.quality.accounting").fetchone()
        facts = {
            "as_of": made[0].isoformat() if made and made[0] else "",
            "run_id": run_id,
            "small_cell_limit": str(plan.small_cell_limit),
            "cellfleet": version("cellfleet"),
            "contracts": ", ".join(f"{site}={told}" for site, told in _contracts(chosen).items()),
            # The simulator marks the sources it writes; a real fleet's folder has no such mark.
            "data": "synthetic" if (chosen.sources_path / SYNTHETIC).exists() else "as received",
        }

        def marts(catalog: str, number: int, previous: Path | None, touched: str | None) -> dict[str, int]:
            _ledger_heads(con, catalog, chosen)
            _maintenance(con, catalog, chosen)
            return build(
                con,
                catalog,
                plan,
                number,
                previous,
                touched,
                alpha=float(chosen.alpha),
                power=float(chosen.power),
                run_id=run_id,
            )

        return publish(con, chosen, facts, marts)


def _ledger_heads(con: duckdb.DuckDBPyConnection, catalog: str, chosen: Settings) -> None:
    """`meta.ledger_head`: what the ledger had signed when this snapshot was made; its own head follows it.

    A damaged ledger stops no publication: the table is then empty, and the ledger's own check fails.
    """
    table = f"{catalog}.meta.ledger_head"
    con.execute(
        f"CREATE OR REPLACE TABLE {table} (signed_at TIMESTAMPTZ, entries BIGINT, root VARCHAR, public_key VARCHAR, "
        "signature VARCHAR, cosigned_by VARCHAR)"
    )
    con.execute(
        f"COMMENT ON TABLE {table} IS 'Signed heads of the ledger before this snapshot: time, entries covered, "
        "Merkle root, key and signature (Ed25519), and the sites that cosigned it.'"
    )
    try:
        heads, sites = heads_of(chosen.ledger_path), cosigned(chosen.ledger_path)
    except LedgerError as error:
        logs.logger(chosen).warning("ledger not readable", problem=str(error))
        return
    rows = [[h.at, h.size, h.root, h.key, h.signature, ", ".join(sites.get(h.at, ()))] for h in heads]
    if rows:
        con.executemany(f"INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?)", rows)


def _maintenance(con: duckdb.DuckDBPyConnection, catalog: str, chosen: Settings) -> None:
    """`meta.maintenance`: what the last maintenance found and removed, by kind."""
    table = f"{catalog}.meta.maintenance"
    con.execute(
        f"CREATE OR REPLACE TABLE {table} (place BIGINT, done_at TIMESTAMPTZ, what VARCHAR, rule VARCHAR, "
        "there BIGINT, past BIGINT, bytes BIGINT)"
    )
    con.execute(
        f"COMMENT ON TABLE {table} IS 'The last maintenance before this snapshot, by kind of what is kept for a time: "
        "how many there were, how many were past it and removed, and their bytes.'"
    )
    if (done := last_done(chosen)) is not None:
        at, swept = done
        rows = [[n, at, s.what, s.rule, s.there, s.past, s.bytes] for n, s in enumerate(swept)]
        con.executemany(f"INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?, ?)", rows)


def _contracts(chosen: Settings) -> dict[str, str]:
    told: dict[str, str] = {}
    for path in contract_paths(chosen):
        try:
            told[path.parent.name] = load_contract(path).version_hash
        except ContractError:
            told[path.parent.name] = "refused"
    return told
