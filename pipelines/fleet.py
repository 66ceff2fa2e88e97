"""Fleet-wide assets: findings across tables, the marts, the published snapshot; they follow every site's part."""

from collections.abc import Iterator

import dagster as dg

from pipelines.alerts import alert_definitions
from pipelines.harmonise.contract import Contract
from pipelines.ingest.asset import POOL
from pipelines.ingest.sites import record_sites
from pipelines.ledger_asset import LOG, ledger_definitions
from pipelines.maintenance import maintenance_definitions
from pipelines.mart_checks import examined, mart_checks
from pipelines.metadata import column_schema, evidence
from pipelines.publication import publish_fleet
from pipelines.validation.findings import find
from pipelines.validation.samples import findings_of
from warehouse import lake, logs
from warehouse.alone import alone
from warehouse.dictionary import dictionary
from warehouse.dictionary.render import SQL_TYPES, described
from warehouse.marts.columns import mart_columns
from warehouse.plan import load_plan
from warehouse.settings import settings

FLEET = dg.AutomationCondition.eager() & dg.AutomationCondition.all_deps_blocking_checks_passed()
# A finding holds nothing back, so none of its checks blocks.
SEVERITIES = {
    "critical": dg.AssetCheckSeverity.ERROR,
    "error": dg.AssetCheckSeverity.ERROR,
    "warning": dg.AssetCheckSeverity.WARN,
}
OWNERS = ["team:fleet-quality"]


def fleet_definitions(core: list[dg.AssetKey], contracts: list[Contract]) -> dg.Definitions:
    """`[quality, finding]`, `[mart, <name>]` and `[published, fleet]`, downstream of every site's core assets."""
    finding, site = dg.AssetKey(["quality", "finding"]), dg.AssetKey(["core", "site"])
    table = dictionary().tables["site"]

    @dg.asset(
        key=site,
        group_name="fleet",
        owners=OWNERS,
        kinds={"yaml", "ducklake"},
        pool=POOL,
        automation_condition=dg.AutomationCondition.eager(),
        description=f"{table.row} A row is added when a contract says something new.",
        metadata={"dagster/column_schema": column_schema(table), "dagster/table_name": "lake.core.site"},
    )
    def sites(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        with alone(settings(), "sites"), lake.opened(settings()) as con:
            return dg.MaterializeResult(
                metadata={"rows added": record_sites(con, contracts, context.run.run_id)}
            )

    @dg.asset(
        key=finding,
        deps=[*core, site],
        group_name="fleet",
        owners=OWNERS,
        kinds={"duckdb", "sql"},
        pool=POOL,
        automation_condition=FLEET,
        description="What is true but remarkable across tables: order of events, identity, specifications, sensors.",
        check_specs=[
            dg.AssetCheckSpec(
                f"no_{name}",
                asset=finding,
                description=f"No finding of severity {name}; those there are, by reason.",
            )
            for name in SEVERITIES
        ],
        metadata={
            "dagster/column_schema": column_schema(dictionary().tables["finding"]),
            "dagster/table_name": "lake.quality.finding",
        },
    )
    def findings(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        with alone(settings(), "findings"), lake.opened(settings()) as con:
            new = find(con, context.run.run_id, load_plan(settings().sites_path / "fleet.yaml"))
            logs.logger(settings()).info("findings searched", run_id=context.run.run_id, findings=new)
            total = con.execute("SELECT count(*) FROM lake.quality.finding").fetchone()
            by_severity = {name: findings_of(con, name) for name in SEVERITIES}
        yield dg.MaterializeResult(
            metadata={"new": new, "dagster/row_count": int(total[0]) if total else 0},
            check_results=[
                dg.AssetCheckResult(
                    check_name=f"no_{name}",
                    passed=not told.rows,
                    severity=SEVERITIES[name],
                    metadata=evidence(told),
                )
                for name, told in by_severity.items()
            ],
        )

    published = dg.AssetKey(["published", "fleet"])
    marts = [
        dg.AssetSpec(
            dg.AssetKey(["mart", name]), deps=[finding], group_name="fleet", owners=OWNERS,
            kinds={"duckdb", "sql"}, automation_condition=FLEET,
            description=mart.description,
            metadata={
                "dagster/column_schema": dg.TableSchema(
                    [dg.TableColumn(f.name, SQL_TYPES[f.type], described(f)) for f in mart.fields]
                ),
                "dagster/table_name": f"mart.{name}",
            },
        )
        for name, mart in mart_columns().items()
    ]  # fmt: skip
    snapshot = dg.AssetSpec(
        published, deps=[m.key for m in marts], group_name="fleet", owners=OWNERS, kinds={"duckdb"},
        automation_condition=FLEET,
        description="The snapshot that dashboards and analysts read: native, self-contained, switched by rename.",
        metadata={"dagster/column_schema": dg.TableSchema([
            dg.TableColumn("fact", description="What is told of the snapshot."),
            dg.TableColumn("value", description="Its value."),
        ])},
    )  # fmt: skip

    @dg.multi_asset(name="publish", specs=[*marts, snapshot], check_specs=mart_checks(), pool=POOL)
    def publish(
        context: dg.AssetExecutionContext,
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        done = publish_fleet(settings(), context.run.run_id)
        logs.logger(settings()).info("published", run_id=context.run.run_id, snapshot=done.number)
        for spec in marts:
            name = spec.key.path[-1]
            yield dg.MaterializeResult(
                asset_key=spec.key, metadata={"dagster/row_count": done.rows.get(f"mart.{name}", 0)}
            )
        yield dg.MaterializeResult(
            asset_key=published,
            metadata={
                "snapshot": done.number,
                "path": dg.MetadataValue.path(str(done.path)),
                "core tables copied whole": len(done.copied),
                "batches with readings rolled up": "all" if done.rolled_up is None else done.rolled_up,
            },
        )
        yield from examined(done.path)

    chosen = dg.AssetSelection.assets(site, finding, published, *(m.key for m in marts), LOG)
    job = dg.define_asset_job(
        "fleet", chosen, description="Findings, marts, the published snapshot, the ledger."
    )
    fleet = dg.Definitions(assets=[sites, findings, publish], jobs=[job])
    return dg.Definitions.merge(
        fleet,
        ledger_definitions(published, FLEET, OWNERS),
        alert_definitions(),
        maintenance_definitions(OWNERS),
    )
