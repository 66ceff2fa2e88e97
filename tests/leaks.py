"""Where words lie in a home, whatever file holds them: Parquet, DuckDB and SQLite tables, members of archives, bytes.

Belongs here: searching. What is planted, and where it may lie (the vault and the site's edge), the caller says. A plain
search of bytes would find nothing in what is compressed, and could never fail there.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import sqlite3
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import duckdb

EDGE = ("vault", "sources", "keys")
STREAM = b"stream\n"


def leaks(home: Path, words: Sequence[str], *, edge: Sequence[str] = EDGE) -> list[str]:
    """`file: word` of each word found outside the folders `edge` of the home, whatever its case."""
    found = []
    for path in sorted(home.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.relative_to(home).parts[0] not in edge:
            found += [f"{path.relative_to(home)}: {word}" for word in sorted(words_in(path, words))]
    return found


def words_in(path: Path, words: Sequence[str]) -> set[str]:
    """Those of the words that a file holds."""
    head = path.open("rb").read(16)
    if head.startswith(b"PAR1"):
        return _in_parquet(path, words)
    if head[8:12] == b"DUCK":
        return _in_duckdb(path, words)
    if head.startswith(b"SQLite format 3"):
        return _in_sqlite(path, words)
    return _in_bytes(path.read_bytes(), words)


def _in_bytes(content: bytes, words: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for part in _unpacked(content):
        text = part.lower()
        found |= {w for w in words if any(form in text for form in _written(w))}
    return found


def _unpacked(content: bytes) -> Iterator[bytes]:
    """The content itself, and what archives and compressed streams in it (gzip, zip, those of a PDF) hold."""
    yield content
    if content.startswith(b"\x1f\x8b"):
        yield gzip.decompress(content)
    elif content.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                yield from _unpacked(archive.read(name))
    elif content.startswith(b"%PDF"):
        for part in content.split(STREAM)[1:]:
            try:
                yield zlib.decompressobj().decompress(part)
            except zlib.error:
                continue


def _written(word: str) -> set[bytes]:
    """A word as text holds it, small or large: in UTF-8 and Latin-1, escaped as JSON and as addresses do."""
    forms: set[bytes] = set()
    for text in (word.lower(), word.upper()):
        forms |= {text.encode(), text.encode("latin-1", "ignore"), text.encode("unicode_escape")}
        forms |= {json.dumps(text)[1:-1].encode(), quote(text).encode()}
    return {form.lower() for form in forms}


def _in_parquet(path: Path, words: Sequence[str]) -> set[str]:
    with duckdb.connect() as con:
        return _in_relation(con, f"read_parquet('{path}')", words)


def _in_duckdb(path: Path, words: Sequence[str]) -> set[str]:
    found: set[str] = set()
    with duckdb.connect(str(path), read_only=True) as con:
        tables = con.execute("SELECT table_schema, table_name FROM information_schema.tables").fetchall()
        for schema, name in tables:
            found |= _in_relation(con, f'"{schema}"."{name}"', words)
    return found


def _in_relation(con: duckdb.DuckDBPyConnection, relation: str, words: Sequence[str]) -> set[str]:
    found: set[str] = set()
    any_of = "(?i)" + "|".join(re.escape(w) for w in words)
    for name, kind, *_ in con.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall():
        if "VARCHAR" in kind or kind in ("JSON", "BLOB"):
            text = f'CAST("{name}" AS VARCHAR)'
            sql = f"SELECT DISTINCT {text} FROM {relation} WHERE regexp_matches({text}, ?)"
            for (held,) in con.execute(sql, [any_of]).fetchall():
                found |= {w for w in words if w.lower() in held.lower()}
    return found


def _in_sqlite(path: Path, words: Sequence[str]) -> set[str]:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as con:
        con.text_factory = bytes
        names = [
            row[0].decode() for row in con.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        found: set[str] = set()
        for name in names:
            for row in con.execute(f'SELECT * FROM "{name}"'):
                held = b"\n".join(value for value in row if isinstance(value, bytes))
                found |= _in_bytes(held, [w for w in words if w not in found])
    return found
