"""Expectation suites, rendered from the dictionary: what must hold of rows before they are promoted.

Does not belong here: how a source's text becomes a row (`pipelines/harmonise`), rules across tables (`rules/`).
"""

from __future__ import annotations

from functools import cache
from typing import Any

from warehouse.dictionary import Dictionary, Field, Table, dictionary
from warehouse.dictionary.render import quoted


@cache
def suite_of(table_name: str) -> Any:
    """The suite of a core table: not empty, required fields, ranges, vocabularies, patterns, one row a key.

    Each expectation is critical: where one fails nothing is promoted. Its `meta` holds the reason code with which rows
    that break it are set aside before.
    """
    d = dictionary()
    table = d.tables[table_name]
    import great_expectations as gx
    import great_expectations.expectations as gxe

    expectations: list[Any] = [gxe.ExpectTableRowCountToBeBetween(min_value=1)]
    expectations += [
        gxe.ExpectColumnValuesToNotBeNull(column=name, meta=_reason("missing_value"))
        for name in table.required
    ]
    for name in table.fields:
        f = d.fields[name]
        if f.minimum is not None or f.maximum is not None:
            expectations.append(
                gxe.ExpectColumnValuesToBeBetween(
                    column=name, min_value=f.minimum, max_value=f.maximum, meta=_reason("out_of_range")
                )
            )
        if f.vocabulary:
            words = list(d.vocabularies[f.vocabulary])
            expectations.append(
                gxe.ExpectColumnValuesToBeInSet(column=name, value_set=words, meta=_reason("code_unknown"))
            )
    # Regex and compound-key expectations are slow or unsupported on DuckDB: the same as plain SQL.
    expectations += [
        gxe.UnexpectedRowsExpectation(
            unexpected_rows_query=sql, description=description, meta=_reason(reason) if reason else None
        )
        for description, sql, reason in row_rules(d, table)
    ]
    return gx.ExpectationSuite(name=f"core.{table.name}", expectations=expectations)


def _reason(code: str) -> dict[str, str]:
    return {"reason_code": code}


def row_rules(d: Dictionary, table: Table) -> list[tuple[str, str, str]]:
    """Rules that one column's expectation cannot say: description, SQL over `{batch}` of the rows that break it, and
    reason code (empty where no record is set aside for it)."""
    rules: list[tuple[str, str, str]] = []
    for name in table.fields:
        f = d.fields[name]
        if f.pattern:
            pattern = quoted(f.pattern).replace("{", "{{").replace("}", "}}")
            sql = (
                f'SELECT * FROM {{batch}} WHERE "{name}" IS NOT NULL '
                f'AND NOT regexp_full_match("{name}", {pattern})'
            )
            rules.append((f"{name} has its pattern", sql, "pattern"))
    for target, value, fields in (
        ("attribute", "value", d.attributes),
        ("quantity_name", "reading", d.channels),
    ):
        if target in table.fields and value in table.fields:
            rules.append(
                (
                    f"{value} lies in the range of its {target}",
                    f"SELECT * FROM {{batch}} WHERE {_outside(target, value, fields)}",
                    "out_of_range",
                )
            )
    key = ", ".join(
        (*table.key, "record_id" if table.volume == "small" else "source_row", "source_file_sha256")
    )
    if table.volume == "small":
        rules.append(
            (
                "one row a key and record",
                f"SELECT {key}, count(*) AS n FROM {{batch}} GROUP BY {key} HAVING count(*) > 1",
                "",
            )
        )
    return rules


def _outside(target: str, value: str, fields: dict[str, Field]) -> str:
    limits = [
        f'("{target}" = {quoted(n)} AND ("{value}" < {f.minimum} OR "{value}" > {f.maximum}))'
        for n, f in fields.items()
        if f.minimum is not None and f.maximum is not None
    ]
    return " OR ".join(limits)
