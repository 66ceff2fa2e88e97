"""Checks of the published marts: each key names one row, and the charts keep the fleet's false-alarm budget.

Belongs here: what can be asked of a finished snapshot. Not here: what stops a record (`pipelines/validation`).
"""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import duckdb

from warehouse.marts.columns import Mart, mart_columns

KEY, BUDGET = "key_names_one_row", "keeps_the_budget"
# Widths are solved to a per mille; a budget kept within this is kept.
SLACK = 1.02


def mart_checks() -> list[dg.AssetCheckSpec]:
    """One check a mart, and one of the false-alarm budget."""
    keys = [
        dg.AssetCheckSpec(KEY, asset=_asset(name), description=f"No two rows share {', '.join(mart.key)}.")
        for name, mart in mart_columns().items()
    ]
    words = "All ringing charts together ring by chance no more often than the fleet allows."
    return [*keys, dg.AssetCheckSpec(BUDGET, asset=_asset("chart_budget"), description=words)]


def examined(snapshot: Path) -> Iterator[dg.AssetCheckResult]:
    """Results of all checks on a snapshot file."""
    with duckdb.connect(str(snapshot), read_only=True) as con:
        for name, mart in mart_columns().items():
            twice = _twice(con, name, mart)
            yield dg.AssetCheckResult(
                check_name=KEY,
                asset_key=_asset(name),
                passed=twice == 0,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={"rows too many": twice},
            )
        row = con.execute(
            "SELECT max(fleet_false_alarms_per_year), max(allowed_per_year) FROM mart.chart_budget"
        ).fetchone()
        expected, allowed = row if row and row[0] is not None else (0.0, 0.0)
        yield dg.AssetCheckResult(
            check_name=BUDGET,
            asset_key=_asset("chart_budget"),
            passed=expected <= allowed * SLACK,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"false alarms a year": expected, "allowed": allowed},
        )


def _twice(con: duckdb.DuckDBPyConnection, name: str, mart: Mart) -> int:
    key = ", ".join(f'"{column}"' for column in mart.key)
    row = con.execute(
        f"SELECT coalesce(sum(n - 1), 0) FROM (SELECT count(*) AS n FROM mart.{name} GROUP BY {key} HAVING n > 1)"
    ).fetchone()
    return int(row[0]) if row else 0


def _asset(name: str) -> dg.AssetKey:
    return dg.AssetKey(["mart", name])
