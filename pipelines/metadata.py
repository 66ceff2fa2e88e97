"""Dagster metadata rendered from the dictionary: column schemas, tags, tables."""

from __future__ import annotations

import dagster as dg

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
