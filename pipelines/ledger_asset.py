"""The ledger as a Dagster asset: after each publication, and each night, what is new is logged and a head is signed.

Belongs here: the asset, its check and its schedule. What is logged is `pipelines/logbook.py`, how it is kept
`warehouse/ledger`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from pipelines.logbook import log_fleet, stamp_newest
from warehouse import logs
from warehouse.ledger import LedgerError, audit, read_certificates
from warehouse.settings import Settings, settings

LOG = dg.AssetKey(["ledger", "log"])
CHECK = "every_byte_fits"
SCHEMA = dg.TableSchema(
    [
        dg.TableColumn("at", "timestamp", "When the head was signed, UTC."),
        dg.TableColumn("size", "integer", "Entries that the head covers."),
        dg.TableColumn("root", "string", "Merkle root of those entries, SHA-256 in hex (RFC 9162)."),
        dg.TableColumn("key", "string", "Public key of the ledger, Ed25519 in hex."),
        dg.TableColumn("signature", "string", "Signature over size, root and time."),
    ]
)


def _stamped(chosen: Settings) -> str:
    """Have the newest head stamped where an authority is set. One that does not answer stops nothing: the next
    head is stamped too, and covers this one."""
    if not chosen.time_stamp_url:
        return "no authority is set"
    try:
        return stamp_newest(chosen).isoformat()
    except OSError as error:
        logs.logger(chosen).warning("head not stamped", problem=str(error))
        return f"the authority did not answer: {error}"


def ledger_definitions(
    published: dg.AssetKey, condition: dg.AutomationCondition[Any], owners: list[str]
) -> dg.Definitions:
    """`[ledger, log]`, downstream of the published snapshot, with the audit as its check and a nightly schedule."""

    @dg.multi_asset(
        name="log_ledger",
        specs=[
            dg.AssetSpec(
                LOG, deps=[published], group_name="ledger", owners=owners, kinds={"ed25519", "sha256"},
                automation_condition=condition,
                description="Append-only log of custody events, release decisions, specification versions and "
                "published snapshots; a row of the schema is one signed head.",
                metadata={"dagster/column_schema": SCHEMA},
            )
        ],
        check_specs=[
            dg.AssetCheckSpec(
                CHECK, asset=LOG,
                description="Every salt, text, hash, head and cosignature fits every other; else the first bad entry.",
            )
        ],
    )  # fmt: skip
    def log_ledger(
        context: dg.AssetExecutionContext,
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        chosen = settings()
        try:
            done = log_fleet(chosen)
            stamped = _stamped(chosen)
            certificates = chosen.time_stamp_certificates
            report = audit(
                chosen.ledger_path, authority=read_certificates(Path(certificates)) if certificates else ()
            )
        except LedgerError as error:
            raise dg.Failure(str(error)) from error
        logs.logger(chosen).info(
            "ledger logged",
            run_id=context.run.run_id,
            entries=done.size,
            added=done.added,
            head=done.head.root,
        )
        yield dg.MaterializeResult(
            asset_key=LOG,
            metadata={
                "entries": done.size, "added": done.added, "read": done.read, "head": done.head.root,
                "signed at": done.head.at, "public key": done.head.key,
                "time stamp": stamped,
                "path": dg.MetadataValue.path(str(chosen.ledger_path)),
            },
        )  # fmt: skip
        first = report.first_bad
        yield dg.AssetCheckResult(
            asset_key=LOG, check_name=CHECK, passed=report.ok,
            metadata={
                "entries": report.size, "heads": report.heads, "cosignatures": report.cosignatures,
                "time stamps": report.stamps, "erased": report.erased, "findings": len(report.findings),
                "first bad": first.sentence if first else "none",
            },
        )  # fmt: skip

    job = dg.define_asset_job(
        "ledger_nightly",
        dg.AssetSelection.assets(LOG),
        description="Log what is new, sign the day's head, audit.",
    )
    nightly = dg.ScheduleDefinition(
        name="ledger_every_night", job=job, cron_schedule="45 23 * * *", execution_timezone="UTC",
        description="A signed head for every UTC day, also one on which nothing was published.",
    )  # fmt: skip
    return dg.Definitions(assets=[log_ledger], jobs=[job], schedules=[nightly])
