"""The lake's Parquet files: which the catalog names, which of them are not there.

Belongs here: names and sizes, in a folder or on S3, asked through the connection that reads them anyway. Does not
belong here: what the rows say (`lake.py`), removing files (`upkeep.py`), copying them (`backup.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import duckdb

from warehouse.dictionary.render import quoted
from warehouse.settings import Settings

CATALOG = "__ducklake_metadata_lake"


@dataclass(frozen=True)
class LakeFile:
    """One file that the catalog names: its path below the data folder, its table, its bytes as the catalog has them."""

    path: str
    table: str
    bytes: int


def data_path(chosen: Settings) -> str:
    """Folder or `s3://` prefix of the lake's Parquet files, without a slash at its end."""
    return (chosen.lake_data or str(chosen.home_path / "lake" / "data")).rstrip("/")


def named(con: duckdb.DuckDBPyConnection) -> list[LakeFile]:
    """Every file that any snapshot of the attached lake names, data and deletions, sorted by path."""
    columns = "SELECT table_id, path, path_is_relative, file_size_bytes"
    return _of(
        con,
        " UNION ALL ".join(f"{columns} FROM {CATALOG}.ducklake_{kind}_file" for kind in ("data", "delete")),
    )


def _of(con: duckdb.DuckDBPyConnection, parts: str) -> list[LakeFile]:
    found = con.execute(f"""
        SELECT DISTINCT CASE WHEN f.path_is_relative THEN concat(
                 CASE WHEN t.path_is_relative THEN s.path ELSE '' END, t.path, f.path) ELSE f.path END AS path,
               s.schema_name || '.' || t.table_name AS name, f.file_size_bytes
        FROM ({parts}) AS f
        JOIN (SELECT DISTINCT table_id, schema_id, table_name, path, path_is_relative
              FROM {CATALOG}.ducklake_table) AS t USING (table_id)
        JOIN (SELECT DISTINCT schema_id, schema_name, path FROM {CATALOG}.ducklake_schema) AS s USING (schema_id)
        ORDER BY path, name""").fetchall()
    return list({path: LakeFile(path, name, size) for path, name, size in found}.values())


def missing(con: duckdb.DuckDBPyConnection, chosen: Settings) -> list[LakeFile]:
    """Files that the catalog names and that are not there, or are there with other than their bytes."""
    files = named(con)
    base = data_path(chosen)
    if base.startswith("s3://"):
        there = _listed(con, base)
        return [f for f in files if there.get(full_path(base, f.path)) != f.bytes]
    return [f for f in files if _size(Path(full_path(base, f.path))) != f.bytes]


def vanished(con: duckdb.DuckDBPyConnection, chosen: Settings) -> str | None:
    """The newest file that the catalog names, where it is not there; asked before anything is written.

    Where the disk of the data folder is not mounted, what is written into the empty folder would be hidden later.
    """
    base = data_path(chosen)
    if base.startswith("s3://"):
        return None
    newest = f"SELECT * FROM {CATALOG}.ducklake_data_file WHERE end_snapshot IS NULL ORDER BY data_file_id DESC LIMIT 1"
    for f in _of(con, newest):
        path = Path(full_path(base, f.path))
        # A file alone that is missing is another matter: `missing` tells of it.
        return None if path.parent.exists() else str(path)
    return None


def full_path(base: str, path: str) -> str:
    """Where a file lies; one that the catalog names by its whole path lies there."""
    return path if path.startswith(("/", "s3://")) else f"{base}/{path}"


def in_words(files: Iterable[LakeFile], base: str) -> str:
    """The first of some missing files and how many there are, as a sentence that says the mend."""
    lost = list(files)
    tables = ", ".join(sorted({f.table for f in lost}))
    return (
        f"{len(lost)} of the lake's files are missing or cut, the first {full_path(base, lost[0].path)} (tables: "
        f"{tables}). Nothing is published without them: bring them back with `cellfleet restore BACKUP --missing`, "
        "then run again."
    )


def _listed(con: duckdb.DuckDBPyConnection, base: str) -> dict[str, int]:
    """Files below an S3 prefix with their bytes."""
    pattern = quoted(f"{base}/**/*.parquet")
    if not con.execute(f"SELECT count(*) FROM glob({pattern})").fetchall()[0][0]:
        return {}
    return dict(con.execute(f"SELECT filename, size FROM read_blob({pattern})").fetchall())


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None
