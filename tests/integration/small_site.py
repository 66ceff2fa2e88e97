"""A small site of the tests' own: one contract, files written by hand, brought in by the real steps."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from pipelines.harmonise.contract import TYPE, Contract, load_contract
from pipelines.ingest.asset import ingest
from pipelines.ingest.outcome import Outcome
from warehouse import lake
from warehouse.dictionary import dictionary
from warehouse.settings import ROOT, Settings

START = datetime(2026, 3, 1, 6, tzinfo=UTC)
RESULTS = "id,sample,test,result,unit,at,changed\n"
ORDERS = "id,mrn,name,born,product,note,changed\n"
STATES = ("promoted", "superseded", "duplicate", "quarantined")


def result(
    number: int, value: str = "91.5", *, changed: str = "2026-02-01T10:00:00Z", unit: str = "%"
) -> str:
    """One row of a file of results."""
    return f"R{number},S{number},viab,{value},{unit},2026-02-01T09:00:00Z,{changed}\n"


def attributes(site: str = "kleinort", **changed: Any) -> dict[str, Any]:
    """A contract's attributes: results and orders from a folder; `changed` replaces whole keys."""
    columns = {
        "result_id": "id",
        "sample_id": "sample",
        "attribute": {"from": "test", "codes": "attribute"},
        "result": {"from": "result", "unit_from": "unit"},
        "result_at": "at",
    }
    orders = {
        "order_id": "id",
        "patient_key": {"from": "mrn", "patient": True},
        "product_id": "product",
    }
    patient = {
        "patient_key": {"from": "mrn", "patient": True},
        "birth_decade": {"from": "born", "decade": True},
    }
    layout = {"name": "delimited", "encoding": "utf-8"}
    return {
        "site_id": site,
        "name": "A small site",
        "country": "DE",
        "role": "spoke",
        "time_zone": "Europe/Berlin",
        "owner": "team:test",
        "starts_on": "2026-01-01",
        "time": {"format": "iso", "zone": "Europe/Berlin"},
        "patients": {"key_file": f"{site}/edge/patient_keys.csv"},
        "systems": {"export": {"kind": "folder", "path": f"{site}/export"}},
        "units": {"%": "%", "1": "1"},
        "codes": {"attribute": {"viab": "viability_trypan_blue_pct"}},
        "feeds": {
            "assay": {
                "system": "export",
                "files": "results_*.csv",
                "format": layout,
                "record": "id",
                "version": "changed",
                "tables": [{"table": "assay_result", "columns": columns}],
            },
            "order": {
                "system": "export",
                "files": "orders_*.csv",
                "format": layout,
                "record": "id",
                "version": "changed",
                "identifying": ["mrn", "name", "born"],
                "free_text": ["note"],
                "tables": [
                    {"table": "therapy_order", "columns": orders},
                    {"table": "patient", "columns": patient},
                ],
            },
        },
        **changed,
    }


@dataclass
class Site:
    """A home with one small site, whose files the test writes."""

    folder: Path
    content: dict[str, Any] = field(default_factory=attributes)
    runs: int = 0

    def __post_init__(self) -> None:
        self.name = str(self.content["site_id"])
        sites = self.folder / "sites"
        (sites / self.name).mkdir(parents=True)
        self.export.mkdir(parents=True)
        self.contract_file.write_text(
            yaml.safe_dump({"type": TYPE, "attributes": self.content}, allow_unicode=True, sort_keys=False),
            "utf-8",
        )
        demo = (ROOT / "pipelines" / "defs" / "sites" / "fleet.yaml").read_text("utf-8")
        (sites / "fleet.yaml").write_text(
            demo.replace("reference_site: northgate", f"reference_site: {self.name}"), "utf-8"
        )

    @property
    def export(self) -> Path:
        return self.folder / "sources" / self.name / "export"

    @property
    def contract_file(self) -> Path:
        return self.folder / "sites" / self.name / "defs.yaml"

    @property
    def contract(self) -> Contract:
        return load_contract(self.contract_file)

    @property
    def settings(self) -> Settings:
        return Settings(
            home=str(self.folder / "home"),
            sites=str(self.folder / "sites"),
            sources=str(self.folder / "sources"),
        )

    @property
    def environment(self) -> dict[str, str]:
        """What the command line needs to see this site."""
        return {"CELLFLEET_SITES": self.settings.sites, "CELLFLEET_SOURCES": self.settings.sources}

    def send(self, name: str, content: str | bytes, hours: float = 0) -> Path:
        """Write a file of the export, as if so many hours after the start."""
        path = self.export / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        stamp = (START + timedelta(hours=hours)).timestamp()
        os.utime(path, (stamp, stamp))
        return path

    def run(self, feed: str = "assay") -> Outcome:
        """Bring in what is new of a feed, and require that it adds up."""
        self.runs += 1
        outcome = ingest(self.contract, feed, self.settings, f"run-{self.runs}", progress=lambda _: None)
        counts = outcome.accounting
        assert counts["received"] == sum(counts[s] for s in STATES)
        return outcome

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of a query of the lake."""
        with lake.opened(self.settings) as con:
            return con.execute(sql).fetchall()

    def hashes(self) -> dict[str, str]:
        """Content of every table of the lake."""
        with lake.opened(self.settings) as con:
            d = dictionary()
            return {t.qualified: lake.content_hash(con, d, t) for t in d.tables.values()}
