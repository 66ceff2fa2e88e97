"""Bringing an older lake to this version's format: planned, backed up, applied; a newer lake is refused.

Belongs here: the steps from each format version to the next, insert only. Does not belong here: creating a new lake.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import duckdb

from warehouse import lake
from warehouse.settings import Settings

# From version → what it takes to reach the next. Version 1 is the first, so there is nothing to bring yet.
STEPS: dict[int, tuple[str, Callable[[duckdb.DuckDBPyConnection], None]]] = {}


def migrate(chosen: Settings, *, apply: bool) -> Iterator[str]:
    """Lines that say what is or would be done. Raises LakeError for a lake of a newer version."""
    with lake.opened(chosen) as con:
        have = lake.format_version(con) or lake.FORMAT_VERSION
        steps = [(v, *STEPS[v]) for v in range(have, lake.FORMAT_VERSION)]
        if not steps:
            yield f"The lake has format {have}, which is this version's. Nothing to do."
            return
        for version, what, _ in steps:
            yield f"{version} → {version + 1}: {what}"
        if not apply:
            yield "Nothing was changed. Run `cellfleet migrate --apply` to back up and apply."
            return
    backup = chosen.home_path / "backups" / f"catalog-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.sqlite"
    backup.parent.mkdir(parents=True, exist_ok=True)
    if not chosen.catalog:
        shutil.copyfile(chosen.home_path / "lake" / "catalog.sqlite", backup)
        yield f"Backed up the catalog to {backup}."
    with lake.opened(chosen) as con:
        for version, what, step in steps:
            lake.commit(con, _applied(con, version, step), "cellfleet", f"migrate to {version + 1}: {what}")
            yield f"Applied {version} → {version + 1}."


def _applied(
    con: duckdb.DuckDBPyConnection, version: int, step: Callable[[duckdb.DuckDBPyConnection], None]
) -> Callable[[], None]:
    def write() -> None:
        step(con)
        con.execute("INSERT INTO lake.ops.format VALUES (?, now())", [version + 1])

    return write
