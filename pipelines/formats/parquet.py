"""Parquet files, such as a historian's nightly export, with the types the writer gave them.

Here: opening, the footer's own record count, and the hand-over to DuckDB. Units and meaning are the
contract's.
"""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from pipelines.formats.delimited import FILES, Scan, engine, unique_names
from pipelines.formats.protocol import Flag, Options, Reading, UnreadableFile, reading

_MAGIC = b"PAR1"
# Key of the file's own metadata under which its writer may say what is remarkable: JSON, [[row, field, text], ...].
FLAGS = "cellfleet_flags"
_SEND_AGAIN = "The file is kept as sent; ask the site to send it again."


def _footer(path: Path) -> Any:
    """Metadata of the file; what is not a whole Parquet file is refused."""
    import pyarrow as pa  # costly
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as handle:
            size = os.fstat(handle.fileno()).st_size
            if size == 0:
                raise UnreadableFile(path, "0 bytes", "the file is empty", _SEND_AGAIN)
            if handle.read(4) != _MAGIC:
                raise UnreadableFile(
                    path, "byte 1", "not a Parquet file", "Check the format in the contract."
                )
            handle.seek(max(0, size - 8))
            tail = handle.read(8)
            if size < 12 or tail[4:] != _MAGIC or struct.unpack("<I", tail[:4])[0] > size - 12:
                raise UnreadableFile(
                    path, f"byte {size}", "the footer is missing: truncated or half-written", _SEND_AGAIN
                )
        footer = pq.read_metadata(path)
        # Decoded only when asked for, so asked for here: names of columns, and of the writer.
        footer.schema.to_arrow_schema()
        _ = footer.created_by
        return footer
    except OSError as failed:
        raise UnreadableFile(path, "", f"cannot be opened: {failed}", _SEND_AGAIN) from failed
    except (pa.ArrowException, UnicodeDecodeError) as failed:
        raise UnreadableFile(path, "footer", f"damaged: {failed}", _SEND_AGAIN) from failed


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _identifier(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'


def count_records(path: Path, options: Options) -> int:
    """Records in the file: the sum over row groups in the footer, read without DuckDB."""
    del options  # a Parquet file says all about its own layout
    footer = _footer(path)
    return sum(footer.row_group(i).num_rows for i in range(footer.num_row_groups))


def scan(path: Path, options: Options, scratch: Path | None = None, *, quick: bool = False) -> Scan:
    """How DuckDB reads the file; without `quick` every value is read once, and damage below the footer refused.

    `scratch` is taken so that all bulk formats are called alike.
    """
    del scratch
    footer = _footer(path)
    received = count_records(path, options)
    schema = footer.schema.to_arrow_schema()
    ours = unique_names(schema.names)
    renamed = ", ".join(
        f"{_identifier(old)} AS {_identifier(new)}" for old, new in zip(schema.names, ours, strict=True)
    )
    if any(c in str(path) for c in "*?["):
        raise UnreadableFile(path, "", "the name holds *, ? or [", "Keep the file under a plain name.")
    file = _literal(str(path))
    sql = f"(SELECT file_row_number + 1 AS source_row, {renamed} FROM read_parquet({file}, file_row_number=true))"
    # Types are told as well: files are read in one go only where they agree.
    types = ", ".join(map(str, schema.types)).replace("*/", "")
    together = f"(SELECT {renamed}, file_index FROM read_parquet({FILES})) /* {types} */"
    unnumbered = f"(SELECT {renamed} FROM read_parquet({file}))"
    if not quick:
        _read_through(path, sql)
    header = {"columns": list(ours), "writer": footer.created_by}
    flags = _flags(path, footer)
    return Scan(sql, unnumbered, ours, (), received, (), header, flags, together, path)


def _read_through(path: Path, sql: str) -> None:
    try:
        with engine().cursor() as connection:
            connection.execute(f"SELECT bit_xor(hash(COLUMNS(*))) FROM {sql}").fetchall()
    except duckdb.Error as failed:
        raise UnreadableFile(path, "", f"damaged: {str(failed).splitlines()[0]}", _SEND_AGAIN) from failed


def _flags(path: Path, footer: Any) -> tuple[Flag, ...]:
    said = (footer.metadata or {}).get(FLAGS.encode())
    if said is None:
        return ()
    try:
        return tuple(Flag(int(row), str(field), str(text)) for row, field, text in json.loads(said))
    except (ValueError, TypeError) as failed:
        raise UnreadableFile(path, "footer", f"its {FLAGS} cannot be read: {failed}", _SEND_AGAIN) from failed


def scan_sql(path: Path, options: Options, scratch: Path | None = None) -> str:
    """What goes after FROM to read the file in DuckDB."""
    return scan(path, options, scratch, quick=True).sql


class Parquet:
    """Any Parquet file."""

    name = "parquet"

    def recognises(self, head: bytes, filename: str) -> bool:
        """The magic number."""
        del filename
        return head.startswith(_MAGIC)

    def read(self, path: Path, options: Options) -> Reading:
        """Read every row, typed as the file says."""
        found = scan(path, options, quick=True)
        try:
            with engine().cursor() as connection:
                records: pl.DataFrame = connection.sql(f"SELECT * FROM {found.sql} ORDER BY source_row").pl()
        except duckdb.Error as failed:
            raise UnreadableFile(path, "", f"damaged: {str(failed).splitlines()[0]}", _SEND_AGAIN) from failed
        return reading(path, self.name, records, found.received, flags=found.flags, header=found.header)
