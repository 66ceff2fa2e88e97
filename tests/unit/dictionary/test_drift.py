"""One dictionary: what a real lake holds, and everything rendered from the dictionary, say the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import polars as pl
import pytest

from pipelines.harmonise.units import conversion
from pipelines.metadata import column_schema
from pipelines.validation.suites import suite_of
from warehouse import lake
from warehouse.dictionary import Dictionary, dictionary
from warehouse.dictionary.render import polars_schema
from warehouse.publish import publish
from warehouse.settings import Settings

# What DuckDB and Polars call each type of the dictionary; written down again, so that a change is seen.
STORED: dict[str, tuple[str, pl.DataType]] = {
    "string": ("VARCHAR", pl.String()),
    "integer": ("BIGINT", pl.Int64()),
    "float": ("DOUBLE", pl.Float64()),
    "boolean": ("BOOLEAN", pl.Boolean()),
    "timestamp": ("TIMESTAMP WITH TIME ZONE", pl.Datetime("us", "UTC")),
    "date": ("DATE", pl.Date()),
    "json": ("JSON", pl.String()),
}
TABLES = sorted(dictionary().tables)
CORE = sorted(name for name, t in dictionary().tables.items() if t.layer == "core")


@pytest.fixture(scope="module")
def con(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """A new lake."""
    attached = lake.attach(Settings(home=str(tmp_path_factory.mktemp("home"))))
    yield attached
    attached.close()


@pytest.fixture(scope="module")
def published(
    con: duckdb.DuckDBPyConnection, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[duckdb.DuckDBPyConnection]:
    """The snapshot published from that lake, opened as a reader opens it."""
    snapshot = publish(con, Settings(home=str(tmp_path_factory.mktemp("published"))), {}, lambda *_: {})
    with duckdb.connect(str(snapshot.path), read_only=True) as reader:
        yield reader


def columns(con: duckdb.DuckDBPyConnection, table: str) -> list[tuple[str, str, str]]:
    """(name, type, comment) of a table's columns, in order."""
    schema, name = table.split(".")
    told = con.execute(
        "SELECT column_name, data_type, comment FROM duckdb_columns() "
        "WHERE schema_name = ? AND table_name = ? ORDER BY column_index",
        [schema, name],
    )
    return [(str(n), str(t), str(c)) for n, t, c in told.fetchall()]


def expected(d: Dictionary, table: str) -> list[tuple[str, str, str]]:
    """The same, from the dictionary's declarations."""
    return [
        (f.name, STORED[f.type][0], f.description + (f" Unit: {f.unit}." if f.unit else ""))
        for f in d.columns(table)
    ]


def test_the_lake_has_the_dictionary_s_tables_and_no_other(con: duckdb.DuckDBPyConnection) -> None:
    found = con.execute(
        "SELECT schema_name || '.' || table_name FROM duckdb_tables() "
        "WHERE database_name = 'lake' AND schema_name <> 'ops'"
    )
    assert {t for (t,) in found.fetchall()} == {t.qualified for t in dictionary().tables.values()}


@pytest.mark.parametrize("name", TABLES)
def test_columns_types_and_comments_of_the_lake(con: duckdb.DuckDBPyConnection, name: str) -> None:
    d = dictionary()
    assert columns(con, d.tables[name].qualified) == expected(d, name)


@pytest.mark.parametrize("name", TABLES)
def test_polars_schema_is_what_the_lake_gives(con: duckdb.DuckDBPyConnection, name: str) -> None:
    d = dictionary()
    frame = con.execute(f"SELECT * FROM lake.{d.tables[name].qualified} LIMIT 0").pl()
    assert polars_schema(d, name) == frame.schema
    assert list(polars_schema(d, name).dtypes()) == [STORED[f.type][1] for f in d.columns(name)]


@pytest.mark.parametrize("name", CORE)
def test_the_snapshot_says_what_the_lake_says(published: duckdb.DuckDBPyConnection, name: str) -> None:
    d = dictionary()
    assert columns(published, f"core.{name}") == expected(d, name)


def test_the_snapshot_holds_the_dictionary_itself(published: duckdb.DuckDBPyConnection) -> None:
    d = dictionary()
    fields = published.execute("SELECT field, type, unit, privacy FROM meta.dictionary").fetchall()
    assert set(fields) == {(f.name, f.type, f.unit, f.privacy) for f in d.fields.values()}
    tables = published.execute("SELECT name, row_is, key FROM meta.tables").fetchall()
    assert set(tables) == {(t.qualified, t.row, ", ".join(t.key)) for t in d.tables.values()}


@pytest.mark.parametrize("name", TABLES)
def test_dagster_shows_the_same_columns(con: duckdb.DuckDBPyConnection, name: str) -> None:
    d = dictionary()
    table = d.tables[name]
    shown = column_schema(table).columns
    synonyms = {"TIMESTAMPTZ": "TIMESTAMP WITH TIME ZONE"}
    stored = columns(con, table.qualified)
    assert [(c.name, synonyms.get(c.type, c.type), c.description) for c in shown] == stored
    assert {c.name for c in shown if not c.constraints.nullable} == set(table.required)
    assert [c.tags for c in shown] == [{"privacy": f.privacy} for f in d.columns(name)]


def expectations(table: str) -> list[Any]:
    """What Great Expectations is asked about a table."""
    return list(suite_of(table).expectations)


@pytest.mark.parametrize("name", CORE)
def test_the_suite_asks_for_what_the_dictionary_declares(name: str) -> None:
    d = dictionary()
    table = d.tables[name]
    fields = [d.fields[f] for f in table.fields]
    by_type: dict[str, list[Any]] = {}
    for e in expectations(name):
        by_type.setdefault(e.expectation_type, []).append(e)
    not_null = {e.column for e in by_type["expect_column_values_to_not_be_null"]}
    assert not_null == set(table.required)
    ranges = {
        e.column: (e.min_value, e.max_value) for e in by_type.get("expect_column_values_to_be_between", [])
    }
    limited = [f for f in fields if f.minimum is not None or f.maximum is not None]
    assert ranges == {f.name: (f.minimum, f.maximum) for f in limited}
    words = {e.column: tuple(e.value_set) for e in by_type.get("expect_column_values_to_be_in_set", [])}
    assert words == {f.name: d.vocabularies[f.vocabulary] for f in fields if f.vocabulary}
    (count,) = by_type["expect_table_row_count_to_be_between"]
    assert count.min_value == 1, "an audit of no rows is no audit"


@pytest.mark.parametrize("name", CORE)
def test_the_suite_s_row_rules_run_on_the_lake_s_own_columns(
    con: duckdb.DuckDBPyConnection, name: str
) -> None:
    asked = [e for e in expectations(name) if e.expectation_type == "unexpected_rows_expectation"]
    patterns = [f for f in dictionary().tables[name].fields if dictionary().fields[f].pattern]
    assert len(asked) >= len(patterns)
    for e in asked:
        sql = e.unexpected_rows_query.format(batch=f"lake.core.{name}")
        assert con.execute(sql).fetchall() == [], e.description


def test_every_unit_is_ucum() -> None:
    for f in dictionary().fields.values():
        if f.unit:
            assert conversion(f.unit, f.unit).factor == pytest.approx(1.0), f.name


def test_amounts_of_substance_carry_their_molar_mass() -> None:
    molar = [
        f for f in dictionary().fields.values() if (f.channel or f.attribute) and "mol" in (f.unit or "")
    ]
    assert molar
    for f in molar:
        assert f.unit is not None
        per_litre = conversion("g/L", f.unit, f.molar_mass)
        assert per_litre(1.0) == pytest.approx(1000 / (f.molar_mass or 0)), f.name


def test_numbers_say_how_many_digits_to_show() -> None:
    counted = ("{partitions}",)  # means of counts, shown whole
    floats = [f for f in dictionary().fields.values() if f.type == "float" and f.unit not in counted]
    silent = [f.name for f in floats if f.digits is None]
    assert silent == []


def test_a_share_is_called_by_its_unit() -> None:
    """Same quantity and unit, same name: per cent is always `_pct` and `_pct` is always per cent."""
    fields = dictionary().fields.values()
    assert {f.name for f in fields if f.unit == "%"} == {f.name for f in fields if f.name.endswith("_pct")}


def test_no_direct_identifier_is_a_field_of_the_lake() -> None:
    d = dictionary()
    assert [f.name for t in d.tables for f in d.columns(t) if f.privacy == "identifying"] == []
