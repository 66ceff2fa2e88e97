"""A feed as Dagster assets: `[raw, site, feed]` and `[core, site, feed]` in one step, with the evidence of its audit.

Does not belong here: the steps themselves (`take`, `stage`, `promote`, `large`), which know nothing of Dagster.
"""

import os
import time
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from functools import cache

import dagster as dg

from pipelines.failures import PermanentFailure, TransientFailure
from pipelines.harmonise.contract import Contract, Feed
from pipelines.ingest.accounting import AccountingError, is_large, last_account, set_aside
from pipelines.ingest.large import promote_large
from pipelines.ingest.outcome import Outcome
from pipelines.ingest.promote import promote
from pipelines.ingest.stage import stage
from pipelines.ingest.take import take
from pipelines.metadata import column_schema, evidence
from pipelines.validation import data_docs
from pipelines.validation.audit import Audit, AuditFailed
from pipelines.validation.samples import Sampled, open_entries
from warehouse import lake, logs
from warehouse.alone import alone
from warehouse.dictionary import dictionary
from warehouse.settings import Settings, settings
from warehouse.trouble import in_words

POOL = "lake_writer"
MOST_CORES = 8
RETRY = dg.RetryPolicy(max_retries=2, delay=2, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)


def ingest(
    contract: Contract,
    feed_name: str,
    chosen: Settings,
    run_id: str,
    *,
    days: tuple[date, date] | None = None,
    progress: Callable[[str], None] = print,
) -> Outcome:
    """Take what is new of one feed and promote it; a quiet feed commits nothing.

    Each audit leaves its page (`data_docs`), also one that fails.
    Raises PermanentFailure, TransientFailure, AuditFailed, AccountingError or LakeError.
    """
    audits: list[Audit] = []
    try:
        # Two at once would both see the same files as new.
        with alone(chosen, f"{contract.site_id}/{feed_name}"):
            return _taken_in(contract, feed_name, chosen, run_id, days, progress, audits)
    except AuditFailed as error:
        audits.append(error.audit)
        raise
    finally:
        data_docs.write(chosen, audits, contract.site_id, feed_name, run_id)


def _taken_in(
    contract: Contract,
    feed_name: str,
    chosen: Settings,
    run_id: str,
    days: tuple[date, date] | None,
    progress: Callable[[str], None],
    audits: list[Audit],
) -> Outcome:
    """`ingest`, which leaves in `audits` what was audited and promoted."""
    feed, outcome = contract.feeds[feed_name], None
    while True:
        with lake.opened(chosen, cores=_cores(feed)) as con:
            con.execute("SET VARIABLE run_id = ?", [run_id])
            with take(con, contract, feed_name, chosen, days, progress) as taken:
                if not taken.takings and (before := last_account(con, contract.site_id, feed_name)):
                    done = Outcome(contract.site_id, feed_name, before)
                elif is_large(feed):
                    done = promote_large(con, contract, feed_name, taken.takings, run_id, progress)
                else:
                    staged = stage(con, contract, feed, taken.arrivals, chosen)
                    done = promote(con, contract, feed_name, staged, taken.takings, run_id)
            audits += done.audits
            outcome = done if outcome is None else outcome.followed_by(done)
            if taken.failure is not None:
                raise taken.failure
            if not taken.more:
                return outcome


def _cores(feed: Feed) -> int:
    """Cores that DuckDB works on while a feed is taken in."""
    # To share the hundred small queries of a small feed out to several costs a fifth more than it gives; with each
    # core more it holds some 15 MB more of a large one, whatever its limit.
    return min(os.cpu_count() or 1, MOST_CORES) if is_large(feed) else 1


def feed_asset(contract: Contract, feed_name: str) -> dg.AssetsDefinition:
    """The feed's two assets with one check a table, one for the sum and one for files that could not be read."""
    feed, d, site = contract.feeds[feed_name], dictionary(), contract.site_id
    raw, core = dg.AssetKey(["raw", site, feed_name]), dg.AssetKey(["core", site, feed_name])
    tables = list(dict.fromkeys(m.table for m in feed.maps))
    tags = {"site": site, "feed": feed_name}
    kind = contract.systems[feed.system].kind
    specs = [
        dg.AssetSpec(
            raw,
            description=f"{feed_name} of {contract.name} as received from {feed.system}: kept in the site's vault, "
            "each record with its identity.",
            kinds={kind, "parquet"},
            metadata={
                "dagster/column_schema": column_schema(d.tables["record" if not is_large(feed) else "file"])
            },
            group_name=site,
            owners=[contract.owner],
            tags=tags,
        ),
        dg.AssetSpec(
            core,
            deps=[raw],
            description=f"{feed_name} of {contract.name} in the dictionary's words. "
            + " ".join(d.tables[t].row for t in tables),
            kinds={"duckdb", "ducklake"},
            freshness_policy=_due(contract.deadline, contract.time_zone),
            metadata={
                "dagster/column_schema": column_schema(d.tables[tables[0]]),
                "dagster/table_name": f"lake.core.{tables[0]}",
                "tables": ", ".join(tables),
                "contract": contract.version_hash,
            },
            group_name=site,
            owners=[contract.owner],
            tags=tags,
        ),
    ]
    checks = [
        *(
            dg.AssetCheckSpec(f"audit_{t}", asset=core, blocking=True,
                              description=f"Rows of core.{t} keep to the dictionary before they are promoted.")
            for t in tables
        ),
        dg.AssetCheckSpec("adds_up", asset=core, blocking=True,
                          description="Every record received is promoted, superseded, duplicate or quarantined."),
        dg.AssetCheckSpec("nothing_waits", asset=core,
                          description="No record or field of the feed waits in quarantine; those that do, by reason."),
        dg.AssetCheckSpec("files_readable", asset=raw, description="Every file that came could be read."),
    ]  # fmt: skip
    partitions = months_of(contract, feed)

    @dg.multi_asset(
        name=f"{site}__{feed_name}",
        specs=[s.replace_attributes(partitions_def=partitions) for s in specs] if partitions else specs,
        check_specs=checks,
        pool=POOL,
        retry_policy=RETRY,
        backfill_policy=dg.BackfillPolicy.single_run() if partitions else None,
        group_name=None,
    )
    def feed_step(
        context: dg.AssetExecutionContext,
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        days = None
        if partitions is not None and context.has_partition_key_range:
            window = context.partition_time_window
            days = (window.start.date(), (window.end - timedelta(days=1)).date())
        with logs.bound_contextvars(run_id=context.run.run_id, site=site, feed=feed_name):
            outcome = _ingested(contract, feed_name, context, days)
        with lake.opened(settings(), cores=_cores(feed)) as con:
            waiting = open_entries(con, site, feed_name, set_aside(outcome.accounting))
        yield from _results(outcome, raw, core, tables, waiting)

    return feed_step


@cache
def _due(deadline: str, zone: str) -> dg.FreshnessPolicy:
    """One policy a deadline: Dagster goes through a year of its times whenever one is made."""
    return dg.FreshnessPolicy.cron(
        deadline_cron=deadline, lower_bound_delta=timedelta(hours=12), timezone=zone
    )


def months_of(contract: Contract, feed: Feed) -> dg.MonthlyPartitionsDefinition | None:
    """Partitions of a feed of readings; None of any other feed."""
    # Months, as the lake's files are: Dagster writes an event a partition, and a year of days cost 15 s a site.
    start = f"{contract.starts_on[:7]}-01"
    return (
        dg.MonthlyPartitionsDefinition(start_date=start, timezone="UTC", end_offset=1)
        if is_large(feed)
        else None
    )


def _ingested(
    contract: Contract, feed_name: str, context: dg.AssetExecutionContext, days: tuple[date, date] | None
) -> Outcome:
    """`ingest` as a step: logged, its failures told as Dagster's."""
    chosen, started = settings(), time.perf_counter()
    log = logs.logger(chosen)
    try:
        outcome = ingest(
            contract, feed_name, chosen, context.run.run_id, days=days, progress=context.log.info
        )
    except TransientFailure as error:
        log.warning("feed is tried again", problem=str(error))
        raise dg.RetryRequested(max_retries=2, seconds_to_wait=2) from error
    except (PermanentFailure, AuditFailed, AccountingError, lake.LakeError) as error:
        log.error("feed failed", problem=str(error))
        raise dg.Failure(description=str(error), allow_retries=False) from error
    except Exception as error:
        log.error("feed failed", **logs.error_told(error))
        if (told := in_words(str(error))) is not None:
            raise dg.Failure(description=told) from error
        raise
    log.info(
        "feed taken in",
        **outcome.accounting,
        rows=sum(outcome.rows.values()),
        files_refused=len(outcome.refused_files),
        seconds=round(time.perf_counter() - started, 2),
    )
    return outcome


def _results(
    outcome: Outcome, raw: dg.AssetKey, core: dg.AssetKey, tables: list[str], waiting: Sampled
) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    counts: dict[str, dg.MetadataValue] = {
        name: dg.MetadataValue.int(n) for name, n in outcome.accounting.items()
    }
    yield dg.MaterializeResult(
        asset_key=raw, metadata={"received": counts["received"], "files refused": len(outcome.refused_files)}
    )
    added: dict[str, dg.MetadataValue] = {
        "dagster/row_count": dg.MetadataValue.int(sum(outcome.rows.values())),
        "rows added": dg.MetadataValue.json(outcome.rows),
    }
    yield dg.MaterializeResult(asset_key=core, metadata={**counts, **added})
    by_table = {t: [a for a in outcome.audits if a.table == t] for t in tables}
    for table, audits in by_table.items():
        yield dg.AssetCheckResult(
            asset_key=core,
            check_name=f"audit_{table}",
            passed=all(a.success for a in audits),
            metadata=_audit_metadata(audits)
            | {
                "data docs": dg.MetadataValue.url(
                    data_docs.address_of(settings(), outcome.site, outcome.feed, table)
                )
            },
        )
    yield dg.AssetCheckResult(asset_key=core, check_name="adds_up", passed=True, metadata=counts)
    yield dg.AssetCheckResult(
        asset_key=core, check_name="nothing_waits", passed=not waiting.rows,
        severity=dg.AssetCheckSeverity.WARN, metadata=evidence(waiting),
    )  # fmt: skip
    yield dg.AssetCheckResult(
        asset_key=raw, check_name="files_readable", passed=not outcome.refused_files,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"refused": dg.MetadataValue.md("\n".join(f"- {f}" for f in outcome.refused_files) or "none")},
    )  # fmt: skip


def _audit_metadata(audits: list[Audit]) -> dict[str, dg.MetadataValue]:
    records = [
        dg.TableRecord(
            {
                "expectation": c.expectation,
                "on": c.column,
                "severity": c.severity,
                "reason": c.reason,
                "holds": c.success,
                "seen": c.seen,
                "unexpected": c.unexpected,
                "query": c.query,
            }
        )
        for a in audits
        for c in a.checks
    ]
    rows, seconds = sum(a.rows for a in audits), sum(a.seconds for a in audits)
    told: dict[str, dg.MetadataValue] = {
        "rows": dg.MetadataValue.int(rows),
        "seconds": dg.MetadataValue.float(float(round(seconds, 3))),
    }
    if records:
        told["expectations"] = dg.MetadataValue.table(records)
    return told
