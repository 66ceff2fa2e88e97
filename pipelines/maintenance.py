"""Maintenance as one command and one Dagster job: the home's files, Dagster's history, pages of audits.

Belongs here: what of Dagster's is past its time, the asset and its schedule. Does not belong here: the lake and
files, the note of what was done (`warehouse/upkeep.py`).
"""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg

from pipelines.ingest.asset import POOL
from pipelines.instance import dagster_home
from pipelines.runner import Locked, locked
from warehouse import lake, logs
from warehouse.settings import Settings, settings
from warehouse.upkeep import GRACE, Swept, compact, note, sweep

MAINTENANCE = dg.AssetKey(["ops", "maintenance"])
COMPACTION = dg.AssetKey(["ops", "compaction"])
FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
SCHEMA = dg.TableSchema(
    [
        dg.TableColumn("what", "string", "Kind of what is kept for a time."),
        dg.TableColumn("rule", "string", "How long, and why."),
        dg.TableColumn("there", "integer", "How many there were."),
        dg.TableColumn("past", "integer", "How many were past their time, and removed."),
        dg.TableColumn("bytes", "integer", "Bytes of these."),
    ]
)


def maintain(
    chosen: Settings, instance: dg.DagsterInstance, *, apply: bool, grace: timedelta = GRACE
) -> list[Swept]:
    """Find what is past its time and, with `apply`, remove it and note it. Raises Locked, LakeError."""
    at = datetime.now(UTC)
    with locked(chosen, "maintenance", lock="upkeep"):
        swept = [
            *sweep(chosen, apply=apply, now=at, grace=grace),
            _history(chosen, instance, at, apply=apply),
            _pages(chosen, at, apply=apply),
        ]
        if apply:
            note(chosen, at, swept)
    return swept


def _history(chosen: Settings, instance: dg.DagsterInstance, at: datetime, *, apply: bool) -> Swept:
    """Runs and their events. The run that made an asset's, or a partition's, newest data stays, however old."""
    before = at - timedelta(days=float(chosen.history_days))
    total = instance.get_runs_count()
    old = instance.get_run_ids(dg.RunsFilter(statuses=FINISHED, updated_before=before))
    kept = _runs_in_force(instance) if old else set()
    past = [run_id for run_id in old if run_id not in kept]
    folder = chosen.home_path / "dagster" / "history" / "runs"
    size = sum(p.stat().st_size for run_id in past for p in folder.glob(f"{run_id}.db*"))
    if apply:
        for run_id in past:
            instance.delete_run(run_id)
    rule = f"kept {chosen.history_days} days, and while its data are the newest"
    return Swept("Dagster runs with their events", rule, total, len(past), size)


def _runs_in_force(instance: dg.DagsterInstance) -> set[str]:
    """Runs that made the newest data of an asset, of each of its partitions, or the newest outcome of its job."""
    events, found = instance.event_log_storage, set()
    ids: set[int] = set()
    for key in instance.all_asset_keys():
        ids |= set(
            events.get_latest_storage_id_by_partition(key, dg.DagsterEventType.ASSET_MATERIALIZATION).values()
        )
    for record in instance.get_asset_records():
        if (entry := record.asset_entry.last_materialization_record) is not None:
            found.add(entry.run_id)
            ids.discard(entry.storage_id)
    wanted = sorted(ids)
    for first in range(0, len(wanted), 500):
        page = instance.event_log_storage.get_event_records(
            dg.EventRecordsFilter(
                dg.DagsterEventType.ASSET_MATERIALIZATION, storage_ids=wanted[first : first + 500]
            )
        )
        found |= {r.run_id for r in page}
    return found


def _pages(chosen: Settings, at: datetime, *, apply: bool) -> Swept:
    """Pages of audits (Data Docs): those of runs that Dagster no longer has either; a table's newest stays."""
    before = (at - timedelta(days=float(chosen.history_days))).timestamp()
    there, past = 0, []
    folders: dict[Path, list[Path]] = {}
    for page in chosen.data_docs_path.rglob("*.html"):
        folders.setdefault(page.parent, []).append(page)
    for pages in folders.values():
        there += len(pages)
        pages.sort(key=lambda p: p.stat().st_mtime_ns)
        past += [p for p in pages[:-1] if p.stat().st_mtime < before]
    size = sum(p.stat().st_size for p in past)
    if apply:
        for page in past:
            page.unlink()
    return Swept(
        "pages of audits",
        f"kept {chosen.history_days} days, the newest of each table always",
        there,
        len(past),
        size,
    )


def with_history(chosen: Settings, *, apply: bool) -> list[Swept]:
    """`maintain` on the home's own Dagster instance, as the command does it."""
    dagster_home(chosen)
    with dg.DagsterInstance.get() as instance:
        return maintain(chosen, instance, apply=apply)


class MaintenanceConfig(dg.Config):
    """How a run of the job is meant."""

    dry_run: bool = False


def maintenance_definitions(owners: list[str]) -> dg.Definitions:
    """`[ops, maintenance]` with its job and its weekly schedule, `[ops, compaction]` with its nightly ones."""

    @dg.multi_asset(
        name="upkeep",
        specs=[
            dg.AssetSpec(
                MAINTENANCE, group_name="upkeep", owners=owners, kinds={"ducklake", "dagster"},
                description="What was past its time and removed: lake snapshots and files, published snapshots, "
                "Dagster runs, pages of audits, logs.",
                metadata={"dagster/column_schema": SCHEMA},
            )
        ],
    )  # fmt: skip
    def upkeep(
        context: dg.AssetExecutionContext, config: MaintenanceConfig
    ) -> Iterator[dg.MaterializeResult[None]]:
        try:
            swept = maintain(settings(), context.instance, apply=not config.dry_run)
        except (Locked, lake.LakeError) as error:
            raise dg.Failure(description=str(error), allow_retries=False) from error
        logs.logger(settings()).info("maintained", run_id=context.run.run_id, rows=sum(s.past for s in swept))
        yield dg.MaterializeResult(asset_key=MAINTENANCE, metadata=told_of(swept, dry_run=config.dry_run))

    job = dg.define_asset_job(
        "maintenance",
        dg.AssetSelection.assets(MAINTENANCE),
        description="Remove what is past its time; with `dry_run` only tell.",
    )
    weekly = dg.ScheduleDefinition(
        name="maintenance_every_week", job=job, cron_schedule="15 4 * * 0", execution_timezone="UTC",
        description="What is past its time goes on Sundays.",
    )  # fmt: skip

    @dg.multi_asset(
        name="compact",
        specs=[
            dg.AssetSpec(
                COMPACTION, group_name="upkeep", owners=owners, kinds={"ducklake", "parquet"},
                description="Small files of the lake that were merged: readings to one a site and month, others to "
                "one a table. No row and no answer changes.",
                metadata={"dagster/column_schema": SCHEMA},
            )
        ],
        pool=POOL,
    )  # fmt: skip
    def compact_lake(
        context: dg.AssetExecutionContext, config: MaintenanceConfig
    ) -> Iterator[dg.MaterializeResult[None]]:
        try:
            merged = compact(settings(), apply=not config.dry_run)
        except lake.LakeError as error:
            raise dg.Failure(description=str(error), allow_retries=False) from error
        logs.logger(settings()).info("compacted", run_id=context.run.run_id, files=merged.past)
        yield dg.MaterializeResult(asset_key=COMPACTION, metadata=told_of([merged], dry_run=config.dry_run))

    compaction = dg.define_asset_job(
        "compaction",
        dg.AssetSelection.assets(COMPACTION),
        description="Merge the lake's small files; with `dry_run` only tell.",
    )
    nightly = dg.ScheduleDefinition(
        name="compaction_every_night", job=compaction, cron_schedule="45 3 * * *", execution_timezone="UTC",
        description="Small files of the day are merged each night.",
    )  # fmt: skip
    return dg.Definitions(assets=[upkeep, compact_lake], jobs=[job, compaction], schedules=[weekly, nightly])


def told_of(swept: list[Swept], *, dry_run: bool) -> dict[str, Any]:
    """Metadata of the asset: the figures, and a table of each kind."""
    return {
        "dry run": dry_run,
        "past their time": sum(s.past for s in swept),
        "bytes": sum(s.bytes for s in swept),
        "by kind": dg.MetadataValue.table([dg.TableRecord(asdict(s)) for s in swept]),
    }
