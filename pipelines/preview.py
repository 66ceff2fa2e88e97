"""What would become of a feed's sample, field by field, changing nothing: neither lake nor vault nor key file."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from pipelines.connectors.protocol import Offer, Seen
from pipelines.harmonise.contract import Column, Contract, Feed, Mapping, load_contract
from pipelines.harmonise.mapping import Compiler
from pipelines.harmonise.units import InconvertibleError, conversion
from pipelines.ingest.stage import FileRead, stage
from pipelines.ingest.take import CONNECTORS, keep
from pipelines.real_files import contract_path
from warehouse.dictionary import dictionary
from warehouse.settings import Settings
from warehouse.vault import Vault


def preview(chosen: Settings, site: str, feed_name: str, limit: int) -> dict[str, Any]:
    """Read the newest file of a feed and map up to `limit` of its records.

    Returns records, would_promote, fields (what each field's source, unit and factor are, with an example) and
    quarantined (reason, field, count, example). Raises ContractError, KeyError, PermanentFailure.
    """
    contract = load_contract(contract_path(chosen, site))
    if feed_name not in contract.feeds:
        raise KeyError(f"{site} has no feed {feed_name!r}; feeds: {', '.join(contract.feeds)}")
    feed = contract.feeds[feed_name]
    system = contract.systems[feed.system]
    with TemporaryDirectory() as folder, duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        scratch = Path(folder)
        aside = _aside(chosen, contract, scratch)
        offers = CONNECTORS[system.kind].offers(system, feed, chosen.sources_path, Seen(), scratch)
        sample = _newest(offers)
        taking = keep(Vault(scratch / "vault"), sample, feed, scratch) if sample else None
        arrivals = taking.arrivals if taking else []
        staged = stage(con, contract, feed, arrivals, aside)
        con.execute(
            "CREATE TABLE sample AS SELECT * FROM staged "
            f"WHERE NOT column_missing AND NOT deleted_at_source LIMIT {int(limit)}"
        )
        told: dict[str, Any] = {
            "file": arrivals[0].name if arrivals else None,
            "records": staged.records + sum(r.field is None for f in staged.files for r in f.refused),
            "fields": [],
            "quarantined": [],
        }
        told["refused_files"] = [
            f.refusal or f"columns missing: {', '.join(f.missing)}"
            for f in staged.files
            if f.refusal or f.missing
        ]
        told["quarantined"] += _refused_by_reader(staged.files)
        promoted: set[tuple[str, int]] = set()
        for mapping in feed.maps:
            for select in Compiler(dictionary(), contract, feed, mapping).selects():
                con.execute(
                    f"CREATE OR REPLACE TABLE mapped AS {select.replace('FROM staged AS s', 'FROM sample AS s')}"
                )
                told["fields"] += _fields(con, contract, feed, mapping)
                told["quarantined"] += _refusals(con)
                good = con.execute(
                    "SELECT source_file, source_row FROM mapped "
                    "WHERE len(list_filter(problems, lambda p: p.whole_record)) = 0"
                )
                promoted |= {(str(f), int(r)) for f, r in good.fetchall()}
        told["would_promote"] = len(promoted)
        return told


def _newest(offers: Iterator[Offer]) -> Offer | None:
    """The newest file; of extracts, which are made one by one, the first."""
    newest = None
    for offer in offers:
        newest = offer
        if offer.extract:
            break
    return newest


def _aside(chosen: Settings, contract: Contract, scratch: Path) -> Settings:
    """Settings whose sources folder holds a copy of the key file only: keys drawn for a preview are forgotten."""
    if contract.patients is not None:
        copy = scratch / "sources" / contract.patients.key_file
        copy.parent.mkdir(parents=True)
        original = chosen.sources_path / contract.patients.key_file
        if original.exists():
            shutil.copyfile(original, copy)
    return replace(chosen, sources=str(scratch / "sources"))


def _fields(
    con: duckdb.DuckDBPyConnection, contract: Contract, feed: Feed, mapping: Mapping
) -> list[dict[str, Any]]:
    del feed
    d = dictionary()
    first = con.execute("SELECT * FROM mapped ORDER BY len(problems) LIMIT 1")
    names = [c[0] for c in first.description or []]
    row = first.fetchone()
    example = dict(zip(names, row, strict=True)) if row else {}
    told = []
    for name, column in mapping.columns.items():
        f = d.fields.get(name)
        shown = (
            example.get(f"{name}_1", example.get(name))
            if f is None or f.privacy in ("open", "operational")
            else "(not shown)"
        )
        told.append(
            {
                "table": mapping.table,
                "field": name,
                "from": _said(column),
                "converted": _conversion(contract, column, f.unit if f else None, f.molar_mass if f else None),
                "example": shown,
            }
        )  # fmt: skip
    return told


def _said(column: Column) -> str:
    """Where the field comes from, as the contract says it."""
    if isinstance(column.source, str):
        return column.source
    return "|".join(column.source or column.first or []) or column.template or str(column.value)


def _conversion(contract: Contract, column: Column, unit: str | None, molar_mass: float | None) -> str:
    if column.codes:
        return f"code map {column.codes}"
    if column.unit and unit:
        try:
            c = conversion(column.unit, unit, molar_mass)
        except InconvertibleError as error:
            return str(error)
        return (
            f"{column.unit} → {unit}"
            + (f", × {c.factor:g}" if c.factor != 1 else "")
            + (f" {c.offset:+g}" if c.offset else "")
        )
    if column.unit_from:
        return f"unit printed in {column.unit_from} ({', '.join(contract.units)})"
    if column.patient:
        return "random patient key"
    return ""


def _refused_by_reader(files: list[FileRead]) -> list[dict[str, Any]]:
    """What the reader could not make a record or a field of, counted by reason."""
    counted = Counter((r.reason, r.field, r.mend) for f in files for r in f.refused)
    return [
        {"reason": reason, "field": field, "wanted": mend, "records": n, "example": None}
        for (reason, field, mend), n in counted.most_common()
    ]


def _refusals(con: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    found = con.execute(
        "SELECT p.reason_code, p.field_name, p.value_wanted, count(*) AS records, any_value(p.value_seen) AS example "
        "FROM (SELECT unnest(problems) AS p FROM mapped) GROUP BY ALL ORDER BY records DESC"
    ).fetchall()
    return [dict(zip(("reason", "field", "wanted", "records", "example"), row, strict=True)) for row in found]
