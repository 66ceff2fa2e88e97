"""DuckDB's extensions: those that are installed and signed, no other."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from warehouse import extensions


def installed(folder: Path, name: str, version: str, content: bytes) -> None:
    """A wheel's package with one extension in it."""
    file = folder / f"duckdb_extension_{name}" / "extensions" / version / f"{name}.duckdb_extension"
    file.parent.mkdir(parents=True)
    (file.parents[2] / "__init__.py").touch()
    file.write_bytes(content)


def test_an_extension_that_is_not_as_its_makers_signed_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from duckdb_extension_sqlite_scanner import __file__ as package

    [signed] = Path(package).parent.glob("extensions/*/*.duckdb_extension")
    altered = bytearray(signed.read_bytes())
    altered[len(altered) // 2] ^= 1
    installed(tmp_path, "altered", signed.parent.name, bytes(altered))
    monkeypatch.syspath_prepend(tmp_path)
    for _ in range(2):
        with extensions.database() as con, pytest.raises(duckdb.Error, match="signature"):
            extensions.load(con, "altered")


def test_one_that_is_missing_or_of_another_duckdb_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, "older", "v0.1.0", b"")
    monkeypatch.syspath_prepend(tmp_path)
    with extensions.database() as con:
        with pytest.raises(extensions.MissingExtensionError, match="not installed; run `make install`"):
            extensions.load(con, "nowhere")
        with pytest.raises(
            extensions.MissingExtensionError, match=f"no build for DuckDB {duckdb.__version__}"
        ):
            extensions.load(con, "older")
