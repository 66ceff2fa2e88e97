"""What is rendered from the dictionary: DDL with comments, Polars schemas, the printed data dictionary.

Dagster column schemas and validation suites are rendered from the same model where those libraries may be imported
(`pipelines/metadata.py`, `pipelines/validation/suites.py`).
"""

from __future__ import annotations

import polars as pl

from warehouse.dictionary.model import Dictionary, Field, Table

SQL_TYPES = {
    "string": "VARCHAR", "integer": "BIGINT", "float": "DOUBLE", "boolean": "BOOLEAN",
    "timestamp": "TIMESTAMPTZ", "date": "DATE", "json": "JSON",
}  # fmt: skip
POLARS_TYPES: dict[str, pl.DataType] = {
    "string": pl.String(), "integer": pl.Int64(), "float": pl.Float64(), "boolean": pl.Boolean(),
    "timestamp": pl.Datetime("us", "UTC"), "date": pl.Date(), "json": pl.String(),
}  # fmt: skip


def quoted(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def described(f: Field) -> str:
    """Description of a field with its unit, as shown in comments and tables."""
    return f.description + (f" Unit: {f.unit}." if f.unit else "")


def ddl(d: Dictionary, table: Table, catalog: str) -> list[str]:
    """Statements that create `catalog.layer.table` with comments (DuckLake has no keys or checks)."""
    columns = ", ".join(f'"{f.name}" {SQL_TYPES[f.type]}' for f in d.columns(table.name))
    return [
        f"CREATE TABLE IF NOT EXISTS {catalog}.{table.qualified} ({columns})",
        *comments(d, table, f"{catalog}.{table.qualified}"),
    ]


def comments(d: Dictionary, table: Table, name: str, kind: str = "TABLE") -> list[str]:
    """COMMENT statements of a table, under the qualified `name`, and its columns; `kind` is TABLE or VIEW."""
    key = ", ".join(table.key)
    return [
        f"COMMENT ON {kind} {name} IS {quoted(f'{table.row} Key: {key}.')}",
        *(f'COMMENT ON COLUMN {name}."{f.name}" IS {quoted(described(f))}' for f in d.columns(table.name)),
    ]


def polars_schema(d: Dictionary, table: str) -> pl.Schema:
    """Polars schema of a table's columns, in order."""
    return pl.Schema({f.name: POLARS_TYPES[f.type] for f in d.columns(table)})


def markdown(d: Dictionary) -> str:
    """The printed data dictionary (`docs/data-dictionary.md`)."""
    lines = [
        "# Data dictionary",
        "",
        "Rendered from `warehouse/dictionary` by `make docs`; a test fails when it drifts.",
        "",
    ]
    for t in d.tables.values():
        lines += [f"## {t.qualified}", "", f"{t.row} Key: `{', '.join(t.key)}`.", "",
                  "| field | type | unit | privacy | description |", "|---|---|---|---|---|"]  # fmt: skip
        lines += [_row(d.fields[name]) for name in t.fields]
        lines.append("")
    lines += [
        "## Technical fields",
        "",
        "| field | type | unit | privacy | description |",
        "|---|---|---|---|---|",
    ]
    used = {name for t in d.tables.values() for name in t.fields}
    technical = {name for t in d.tables.values() for name in t.columns} - used
    lines += [_row(f) for f in d.fields.values() if f.name in technical]
    lines += ["", "## Attributes, channel quantities and instrument fields", "",
              "| field | type | unit | privacy | description |", "|---|---|---|---|---|"]  # fmt: skip
    lines += [_row(f) for f in d.fields.values() if f.name not in used | technical]
    lines += ["", "## Vocabularies", "", "| vocabulary | words |", "|---|---|"]
    lines += [f"| {name} | {', '.join(f'`{w}`' for w in words)} |" for name, words in d.vocabularies.items()]
    return "\n".join(lines) + "\n"


def _row(f: Field) -> str:
    return f"| `{f.name}` | {f.type} | {f.unit or ''} | {f.privacy} | {f.description.replace('|', '/')} |"
