"""One audit of staged rows: what was asked, what was seen, and whether the rows may be promoted."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import duckdb

from warehouse.dictionary import Table
from warehouse.dictionary.render import quoted


class AuditFailed(RuntimeError):  # noqa: N818 - the design names it so
    """Staged rows do not keep to the dictionary; the last good data stay in place. `audit` says which and how."""

    def __init__(self, sentence: str, audit: Audit) -> None:
        self.audit = audit
        super().__init__(sentence)


@dataclass(frozen=True)
class Checked:
    """One expectation, how severe it is, the reason code of rows that break it, and what was seen."""

    expectation: str
    severity: str
    reason: str
    column: str
    success: bool
    seen: str
    unexpected: int
    query: str


@dataclass(frozen=True)
class Audit:
    """Result of a table's audit; `result` is Great Expectations' own, None where no rows came."""

    table: str
    rows: int
    seconds: float
    checks: list[Checked] = field(default_factory=list)
    result: Any = field(default=None, compare=False, repr=False)

    @property
    def success(self) -> bool:
        return all(c.success for c in self.checks)

    def require(self) -> None:
        """Raise AuditFailed naming every expectation that did not hold."""
        failed = [f"{c.expectation}({c.column}): {c.seen}" for c in self.checks if not c.success]
        if failed:
            raise AuditFailed(
                f"core.{self.table}: {'; '.join(failed)}; nothing was promoted, the last good data stay",
                self,
            )


def audit(con: duckdb.DuckDBPyConnection, table: Table, relation: str) -> Audit:
    """Audit an ordinary committed table of staged rows. Rows that are none are not audited: the caller judges that."""
    count = con.execute(f"SELECT count(*) FROM {relation}").fetchone()
    rows = int(count[0]) if count else 0
    if rows == 0:
        return Audit(table.name, 0, 0.0)
    from pipelines.validation.engine import validate
    from pipelines.validation.suites import suite_of

    started = time.perf_counter()
    result = validate(con, relation, suite_of(table.name))
    checks = []
    for r in result.results:
        config = r.expectation_config
        told = config.kwargs
        column = str(told.get("column") or config.description or "rows")
        crashed = (r.exception_info or {}).get("raised_exception")
        seen = (
            "could not be computed"
            if crashed
            else str(r.result.get("observed_value", f"{r.result.get('unexpected_count', 0)} unexpected"))
        )
        checks.append(
            Checked(
                config.type,
                str(getattr(config.severity, "value", config.severity)),
                str((config.meta or {}).get("reason_code", "")),
                column,
                bool(r.success),
                seen,
                int(r.result.get("unexpected_count") or 0),
                _query(config.type, told, f"core.{table.name}"),
            )
        )
    return Audit(table.name, rows, time.perf_counter() - started, checks, result)


def _query(kind: str, told: dict[str, Any], name: str) -> str:
    """SQL of the rows that an expectation does not want, over the published table."""
    column = told.get("column")
    if "unexpected_rows_query" in told:
        return str(told["unexpected_rows_query"]).format(batch=name)
    if kind == "expect_column_values_to_not_be_null":
        return f"SELECT * FROM {name} WHERE {column} IS NULL"
    if kind == "expect_column_values_to_be_between":
        limits = [
            f"{column} {sign} {told[limit]}"
            for sign, limit in (("<", "min_value"), (">", "max_value"))
            if told.get(limit) is not None
        ]
        return f"SELECT * FROM {name} WHERE {' OR '.join(limits)}"
    if kind == "expect_column_values_to_be_in_set":
        words = ", ".join(quoted(str(word)) for word in told["value_set"])
        return f"SELECT * FROM {name} WHERE {column} NOT IN ({words})"
    return f"SELECT count(*) FROM {name}"
