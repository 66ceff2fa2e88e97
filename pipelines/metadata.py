"""Dagster metadata rendered from the dictionary: column schemas, tags, tables."""

from __future__ import annotations

import dagster as dg

from pipelines.validation.samples import Sampled
from warehouse.dictionary import Table, dictionary
from warehouse.dictionary.render import SQL_TYPES, described


def column_schema(table: Table) -> dg.TableSchema:
    """Dagster column schema of a table of the lake."""
    d = dictionary()
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=f.name,
                type=SQL_TYPES[f.type],
                description=described(f),
                constraints=dg.TableColumnConstraints(
                    nullable=f.name not in table.required, unique=table.key == (f.name,)
                ),
                tags={"privacy": f.privacy},
            )
            for f in d.columns(table.name)
        ]
    )


def evidence(sampled: Sampled) -> dict[str, dg.MetadataValue]:
    """Rows of a check's query as a table, with the query and its duration."""
    told: dict[str, dg.MetadataValue] = {
        "query": dg.MetadataValue.md(f"```sql\n{sampled.query}\n```"),
        "seconds": dg.MetadataValue.float(round(sampled.seconds, 3)),
    }
    if sampled.rows:
        texts = [
            {k: v if isinstance(v, int) else str(v or "") for k, v in row.items()} for row in sampled.rows
        ]
        told["samples"] = dg.MetadataValue.table([dg.TableRecord(row) for row in texts])
    return told
