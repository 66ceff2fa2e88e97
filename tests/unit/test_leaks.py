"""The search for what must not be read finds a word in whatever it is packed, and none where there is none."""

from __future__ import annotations

import gzip
import json
import sqlite3
import zipfile
import zlib
from pathlib import Path

import duckdb
import polars as pl
import pytest

from tests.leaks import leaks

WORD = "Kanarienvogel, Zebedäus"


def plain(path: Path, text: str) -> None:
    path.write_text(f"a line\n{text.upper()}\n", "utf-8")


def escaped(path: Path, text: str) -> None:
    path.write_text(json.dumps({"note": text}), "utf-8")


def latin(path: Path, text: str) -> None:
    path.write_bytes(text.encode("latin-1"))


def compressed(path: Path, text: str) -> None:
    path.write_bytes(gzip.compress(text.encode()))


def archive(path: Path, text: str) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("data/rows.csv", f"id,note\n1,{text}\n" * 40)


def document(path: Path, text: str) -> None:
    path.write_bytes(b"%PDF-1.7\n1 0 obj\nstream\n" + zlib.compress(text.encode()) + b"\nendstream\n")


def table(path: Path, text: str) -> None:
    pl.DataFrame({"n": range(1000), "note": ["-"] * 999 + [text]}).write_parquet(path, compression="zstd")


def snapshot(path: Path, text: str) -> None:
    with duckdb.connect(str(path)) as con:
        con.execute("CREATE SCHEMA mart")
        con.execute("CREATE TABLE mart.t AS SELECT range AS n, '-' AS note FROM range(5000)")
        con.execute("INSERT INTO mart.t VALUES (1, ?)", [text])


def catalog(path: Path, text: str) -> None:
    with sqlite3.connect(path) as con:
        con.execute("CREATE TABLE t (n INTEGER, note TEXT, packed BLOB)")
        con.execute("INSERT INTO t VALUES (1, ?, ?)", [text, b"x"])


@pytest.mark.parametrize(
    "write", [plain, escaped, latin, compressed, archive, document, table, snapshot, catalog]
)
def test_a_word_is_found_whatever_holds_it(tmp_path: Path, write: object) -> None:
    assert callable(write)
    (tmp_path / "lake").mkdir()
    (tmp_path / "vault").mkdir()
    plain(tmp_path / "vault" / "sent.csv", WORD)
    write(tmp_path / "lake" / "file", "nothing of note")
    assert leaks(tmp_path, [WORD, "Pipsqueak"]) == []
    (tmp_path / "lake" / "file").unlink()
    write(tmp_path / "lake" / "file", f"said {WORD} yesterday")
    assert leaks(tmp_path, [WORD, "Pipsqueak"]) == [f"lake/file: {WORD}"]
