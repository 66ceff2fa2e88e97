"""A small contract and a way to map a few rows of text with it, for the tests beside this module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import yaml

from pipelines.harmonise.contract import TYPE, Contract
from pipelines.harmonise.mapping import Compiler, columns_used
from warehouse.dictionary import dictionary
from warehouse.dictionary.render import quoted


def attributes(**changed: Any) -> dict[str, Any]:
    """A contract's attributes: one folder, one feed of results; `changed` replaces whole keys."""
    return {
        "site_id": "testsite",
        "name": "Test site",
        "country": "DE",
        "role": "spoke",
        "time_zone": "Europe/Berlin",
        "owner": "team:test",
        "starts_on": "2026-01-01",
        "time": {"format": "%d.%m.%Y %H:%M", "zone": "Europe/Berlin"},
        "dates": "%d.%m.%Y",
        "patients": {"key_file": "testsite/edge/patient_keys.csv"},
        "systems": {"export": {"kind": "folder", "path": "testsite/export"}},
        "units": {"%": "%", "1": "1", "EU/mL": "[EU]/mL", "EU/kg": "[EU]/kg"},
        "codes": {
            "attribute": {
                "VIAB|TB": "viability_trypan_blue_pct",
                "VIAB|FC": "viability_flow_pct",
                "ENDO|LAL": "endotoxin_eu_ml",
                "STER|CULT": "sterility",
            },
            "words": {"neg": "negative", "pos": "positive"},
            "yes_no": {"ja": True, "nein": False},
        },
        "retired": {"attribute": ["VIAB_OLD|TB"]},
        "feeds": {"assay": assay_feed()},
        **changed,
    }


def assay_feed(**changed: Any) -> dict[str, Any]:
    """A feed of results."""
    return {
        "system": "export",
        "files": "results_*.csv",
        "format": {"name": "delimited"},
        "record": "id",
        "tables": [
            {
                "table": "assay_result",
                "columns": {
                    "result_id": "id",
                    "sample_id": "sample",
                    "attribute": {"from": ["test", "method"], "codes": "attribute"},
                    "result": {"from": "result", "unit_from": "unit", "words": "words"},
                    "result_at": "at",
                },
            }
        ],
        **changed,
    }


def feed_of(table: str, columns: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """A feed that fills one table from the column `id` and others."""
    return assay_feed(tables=[{"table": table, "columns": columns}], **changed)


def written(folder: Path, content: dict[str, Any]) -> Path:
    """The contract as a file in `folder`."""
    path = folder / "defs.yaml"
    path.write_text(yaml.safe_dump({"type": TYPE, "attributes": content}, allow_unicode=True), "utf-8")
    return path


def mapped(rows: list[dict[str, str | None]], **changed: Any) -> list[dict[str, Any]]:
    """The rows as the first feed of the contract maps them: typed fields and `problems`, in order."""
    contract = Contract.model_validate(attributes(**changed))
    feed = next(iter(contract.feeds.values()))
    columns = sorted(columns_used(feed))
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    con.execute(
        f"CREATE TABLE staged (source_row BIGINT, {', '.join(f'{_name(c)} VARCHAR' for c in columns)})"
    )
    for n, row in enumerate(rows, 1):
        con.execute(
            f"INSERT INTO staged VALUES ({', '.join('?' * (len(columns) + 1))})",
            [n, *(row.get(c) for c in columns)],
        )
    found: list[dict[str, Any]] = []
    for mapping in feed.maps:
        for select in Compiler(dictionary(), contract, feed, mapping).selects():
            result = con.execute(f"SELECT * FROM ({select}) ORDER BY source_row")
            names = [d[0] for d in result.description]
            found += [dict(zip(names, values, strict=True)) for values in result.fetchall()]
    return found


def reasons(row: dict[str, Any]) -> list[str]:
    """Reason codes of a mapped row's problems."""
    return sorted(p["reason_code"] for p in row["problems"])


def _name(column: str) -> str:
    return quoted(column).replace("'", '"')
