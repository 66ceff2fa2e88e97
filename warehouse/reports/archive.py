"""Bytes that come out the same each time: JSON, tables as CSV and Parquet, ZIP archives; and which code made them.

Belongs here: canonical forms. Does not belong here: which rows and reports go into them.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from warehouse.dictionary.render import quoted
from warehouse.settings import ROOT

EPOCH = (1980, 1, 1, 0, 0, 0)
CODE = ("warehouse", "pipelines")


def code_version(folders: Sequence[str] = CODE) -> str:
    """SHA-256 over the program's own files that bear on results: the same code, the same hash, wherever it lies."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".sql", ".yaml") and "defs" not in path.relative_to(ROOT).parts[:2]:
                digest.update(f"{path.relative_to(ROOT)}\0".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def as_json(content: Any) -> bytes:
    """Sorted, indented JSON."""
    return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, default=str) + "\n").encode()


def table_files(
    con: duckdb.DuckDBPyConnection, sql: str, values: Mapping[str, Any], formats: Sequence[str] = ("csv",)
) -> dict[str, bytes]:
    """Rows of a query by format (`csv`, `parquet`), every digit kept, times in UTC.

    `con` need not be allowed to write files: another connection, in memory, does that.
    """
    rows = con.execute(sql, {k: v for k, v in values.items() if f"${k}" in sql}).to_arrow_table()
    made: dict[str, bytes] = {}
    # One thread, so that rows stand in one order and row groups end at one place.
    with tempfile.TemporaryDirectory() as folder, duckdb.connect(config={"threads": 1}) as writer:
        writer.execute("SET TimeZone = 'UTC'")
        writer.register("found", rows)
        for name in formats:
            path = Path(folder) / f"rows.{name}"
            header = ", HEADER true" if name == "csv" else ""
            writer.execute(f"COPY found TO {quoted(str(path))} (FORMAT {name}{header})")
            made[name] = path.read_bytes()
    return made


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A ZIP archive: stored, sorted, without times of its own."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in sorted(files.items()):
            info = zipfile.ZipInfo(name, EPOCH)
            info.external_attr = 0o644 << 16
            info.create_system = 3
            archive.writestr(info, content)
    return buffer.getvalue()
