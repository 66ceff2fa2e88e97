"""What every command uses at the terminal: tables, sentences of failure, the options that many have.

Does not belong here: a command.
"""

from __future__ import annotations

import os
from typing import Annotated, Any

import duckdb
import typer
from rich.console import Console
from rich.table import Table

from warehouse import logs
from warehouse.publish import newest
from warehouse.settings import Settings

out = Console(width=int(os.environ.get("COLUMNS", "120")))
err = Console(stderr=True)
OneSite = Annotated[str | None, typer.Option("--site", help="Only of this site.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")]


def fail(code: int, sentence: str) -> typer.Exit:
    """Say what is wrong and what to do; the exit code goes with it."""
    err.print(sentence, style="red", highlight=False, markup=False)
    return typer.Exit(code)


def snapshot(chosen: Settings) -> duckdb.DuckDBPyConnection:
    """The published snapshot, read-only. Exits where there is none yet."""
    path = newest(chosen.published_path)
    if path is None:
        raise fail(1, f"Nothing is published in {chosen.published_path}. Run `cellfleet run` first.")
    con = duckdb.connect(str(path), read_only=True)
    # What is shown is logged under the run that published it.
    published_by = con.execute("SELECT value FROM meta.snapshot WHERE fact = 'run_id'").fetchone()
    logs.bind_contextvars(run_id=published_by[0] if published_by else None)
    return con


def rows(
    con: duckdb.DuckDBPyConnection, sql: str, parameters: list[Any] | None = None
) -> list[dict[str, Any]]:
    """Rows of a query as dictionaries."""
    cursor = con.execute(sql, parameters or [])
    names = [d[0] for d in cursor.description or []]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def show(title: str, told: list[dict[str, Any]], columns: list[str] | None = None) -> None:
    """Print rows as a table; an empty one says so."""
    if not told:
        out.print(f"{title}: nothing.")
        return
    table = Table(title=title, title_justify="left")
    names = columns or list(told[0])
    for name in names:
        numeric = isinstance(told[0].get(name), int | float)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in told:
        table.add_row(
            *(
                "" if row[n] is None else f"{row[n]:.4g}" if isinstance(row[n], float) else str(row[n])
                for n in names
            )
        )
    out.print(table)
