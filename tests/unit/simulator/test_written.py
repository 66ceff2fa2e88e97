"""What lies on disk, counted here with means of its own, against the truth file and the literature."""

from __future__ import annotations

import csv
import json
import math
import sqlite3
import statistics
from collections import Counter
from pathlib import Path
from typing import Any

import openpyxl
import polars as pl
import pytest
from lxml import etree

NS = {"b": "http://www.wbf.org/xml/B2MML-V0401"}
TABLES = {
    "TREATMENT_ORDER": "order", "COLLECTION": "collection", "BATCH": "batch",
    "UNIT_OPERATION": "unit_operation",
    "EQUIPMENT": "equipment", "REAGENT_LOT": "reagent_lot", "LOT_USE": "lot_use", "SAMPLE": "sample",
    "RESULT": "assay", "STUDY_RESULT": "study", "DEVIATION": "deviation",
    "SPECIFICATION": "specification", "SPEC_LIMIT": "spec_limit",
    "RELEASE_DECISION": "release", "CUSTODY_EVENT": "custody", "INFUSION": "infusion",
    "MATERIAL_MASTER": "material", "MATERIAL_GENEALOGY": "batch_genealogy", "ASSAY_METHOD": "assay_method",
}  # fmt: skip
GERMAN = {
    "auftrag": "order", "entnahme": "collection", "charge": "batch", "probe": "sample", "messwerte": "assay",
    "studie": "study",
    "reagenzlos": "reagent_lot", "geraet": "equipment", "abweichung": "deviation",
    "spezifikation": "specification",
    "grenzwert": "spec_limit", "freigabe": "release", "uebergabe": "custody", "infusion": "infusion",
    "verlauf": "outcome", "aenderung": "change_control", "screening": "screening",
}  # fmt: skip
ENGLISH = {
    "orders": "order", "collections": "collection", "batches": "batch", "unit_operations": "unit_operation",
    "equipment": "equipment", "reagent_lots": "reagent_lot", "lot_use": "lot_use", "samples": "sample",
    "results": "assay", "deviations": "deviation", "specifications": "specification",
    "spec_limits": "spec_limit",
    "releases": "release", "infusions": "infusion", "outcomes": "outcome", "adverse_events": "adverse_event",
    "activation": "activation_milestone", "catchment": "catchment", "payer_agreements": "agreement",
    "payments": "payment",
}  # fmt: skip
CAMEL = {**ENGLISH, "reagentLots": "reagent_lot", "specLimits": "spec_limit", "shipments": "shipment",
         "masterData": "master_data"}  # fmt: skip
FHIR = {"Patient": "patient", "Observation": "outcome", "Consent": "consent", "AdverseEvent": "adverse_event",
        "MedicationAdministration": "lymphodepletion"}  # fmt: skip


def rows(path: Path, sep: str = ",", encoding: str = "utf-8") -> list[dict[str, str]]:
    with path.open(encoding=encoding, newline="") as file:
        return list(csv.DictReader(file, delimiter=sep))


def stem(path: Path) -> str:
    """The feed in `spec_limits_20260313_r2.csv`: everything before the date."""
    return path.stem.removesuffix("_r2").rsplit("_", 1)[0]


def count_northgate(root: Path) -> Counter[str]:
    n: Counter[str] = Counter()
    with sqlite3.connect(root / "lims/lims.db") as con:
        for table, feed in TABLES.items():
            n[feed] = con.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    n["cell_count"] = sum(len(rows(p)) for p in root.glob("vicell/*.csv"))
    for path in root.glob("fhir/*.ndjson"):
        n[FHIR[path.name.split(".")[0]]] += path.read_bytes().count(b"\n")
    n["cost_item"] = sum(len(rows(p)) for p in root.glob("finance/*.csv"))
    n["sensor"] = sum(pl.read_parquet(p).height for p in root.glob("historian/*/*.parquet"))
    return n


def count_rhein(root: Path) -> Counter[str]:
    n: Counter[str] = Counter()
    for path in root.glob("export/*.csv"):
        n[GERMAN[stem(path)]] += len(rows(path, ";", "latin-1"))
    for path in root.glob("chargenprotokoll/*.xlsx"):
        book = openpyxl.load_workbook(path)
        n["unit_operation"] += book["Protokoll"].max_row - 5
        n["lot_use"] += book["Reagenzien"].max_row - 1
    n["cell_count"] = len(list(root.glob("nucleoview/*.csv")))
    n["sensor"] = sum(len(rows(p, ";", "latin-1")) for p in root.glob("sensorik/*.csv"))
    return n


def count_prairie(root: Path) -> Counter[str]:
    n: Counter[str] = Counter()
    for path in root.glob("outbound/*.csv"):
        n[ENGLISH[stem(path)]] += len(rows(path))
    n["custody"] = sum(len(p.read_text().splitlines()) for p in root.glob("custody/*.jsonl"))
    n["sensor"] = sum(len(rows(p)) for p in root.glob("telemetry/*.csv"))
    return n


def count_meridian(root: Path) -> Counter[str]:
    n: Counter[str] = Counter()
    for path in root.glob("lims/*.jsonl"):
        n[CAMEL[stem(path)]] += len(path.read_text().splitlines())
    for path in root.glob("batch_records/*.xml"):
        tree = etree.parse(path)
        n["batch"] += 1
        n["unit_operation"] += len(
            tree.xpath("//b:RuntimeRecipeElement[b:RecipeElementType='Phase']", namespaces=NS)
        )
        n["lot_use"] += len(tree.xpath("//b:MaterialActual", namespaces=NS))
    for path in root.glob("custody/*.json"):
        n["custody"] += len(json.loads(path.read_text())["epcisBody"]["eventList"])
    n["logger_reading"] = sum(len(rows(p, ";")) for p in root.glob("courier/*.csv"))
    n["sensor"] = sum(len(rows(p, "|")) for p in root.glob("historian/*.csv"))
    return n


COUNTS = {
    "northgate": count_northgate,
    "rhein": count_rhein,
    "prairie": count_prairie,
    "meridian": count_meridian,
}


@pytest.mark.parametrize("site", list(COUNTS))
def test_received_is_what_lies_on_disk(fleet: Path, truth: dict[str, Any], site: str) -> None:
    assert dict(COUNTS[site](fleet / site)) == truth["received"][site]


def values(fleet: Path, *codes: str) -> list[float]:
    """Plain numbers that the control site's laboratory printed for a test."""
    with sqlite3.connect(fleet / "northgate/lims/lims.db") as con:
        texts = con.execute(
            "SELECT RESULT_TEXT FROM RESULT JOIN SAMPLE USING (SAMPLE_NO) WHERE TEST_CODE = ? AND POINT = ?",
            codes,
        ).fetchall()
    return [float(t) for (t,) in texts if t.replace(".", "", 1).isdigit()]


def test_distributions_near_the_literature(fleet: Path) -> None:
    # Medians of a dozen lots: bounds are about three standard errors around domain values.
    assert 86 < statistics.median(values(fleet, "VIAB", "harvest")) < 97
    assert 22 < statistics.median(values(fleet, "CAR", "release")) < 50
    assert 1.3 < statistics.median(values(fleet, "VCN", "post_release")) < 2.8
    assert 18 < statistics.median(values(fleet, "FOLD", "harvest")) < 48
    spread = statistics.stdev(math.log(v) for v in values(fleet, "VCN", "post_release"))
    assert 0.15 < spread < 0.6
    with sqlite3.connect(fleet / "northgate/lims/lims.db") as con:
        cd3 = [v for (v,) in con.execute("SELECT CD3_E9 FROM COLLECTION")]
        below = con.execute(
            "SELECT avg(RESULT_TEXT LIKE '<%') FROM RESULT WHERE TEST_CODE = 'ENDO'"
        ).fetchone()[0]
    assert 1.0 < statistics.median(cd3) < 6.0
    assert below > 0.6  # endotoxin is mostly below detection


def test_every_patient_of_a_site_is_in_its_key_file(fleet: Path) -> None:
    keys = {r["record_number"]: r["patient_key"] for r in rows(fleet / "prairie/edge/patient_keys.csv")}
    seen = {r["mrn"] for p in fleet.glob("prairie/outbound/orders_*.csv") for r in rows(p)}
    assert seen == set(keys)
    assert len(set(keys.values())) == len(keys)
    assert all(len(k) == 13 and k[0] == "P" for k in keys.values())


def test_local_day_files_hold_their_local_day(fleet: Path) -> None:
    for path in fleet.glob("prairie/telemetry/*.csv"):
        day = path.stem.removeprefix("telemetry_")
        shown = {f"{r['local_time'][6:10]}-{r['local_time'][:2]}-{r['local_time'][3:5]}" for r in rows(path)}
        assert shown == {day}


def test_custody_chains_are_whole_but_for_planted_forks(fleet: Path, truth: dict[str, Any]) -> None:
    forks = {d["subject"] for d in truth["defects"] if d["class"] == "ledger_fork"}
    with sqlite3.connect(fleet / "northgate/lims/lims.db") as con:
        events = con.execute(
            "SELECT EVENT_NO, COI, SEQ, PREV_HASH, LEAF_HASH FROM CUSTODY_EVENT ORDER BY COI, SEQ"
        ).fetchall()
    head: dict[str, tuple[int, str]] = {}
    for event, coi, seq, previous, leaf in events:
        if event in forks:
            continue
        assert (seq, previous) == (head.get(coi, (0, ""))[0] + 1, head.get(coi, (0, "0" * 64))[1])
        head[coi] = (seq, leaf)


def test_hidden_rows_and_merged_cells(fleet: Path) -> None:
    hidden = 0
    for path in fleet.glob("rhein/chargenprotokoll/*.xlsx"):
        sheet = openpyxl.load_workbook(path)["Protokoll"]
        assert sheet["B2"].value == path.stem.removeprefix("CP_")
        assert len(sheet.merged_cells.ranges) == 3
        hidden += sum(1 for d in sheet.row_dimensions.values() if d.hidden)
    assert hidden


def test_who_was_screened_and_never_ordered_for_has_a_key_too(fleet: Path) -> None:
    keys = {r["record_number"] for r in rows(fleet / "rhein/edge/patient_keys.csv")}
    ordered = {
        r["Fallnummer"] for p in fleet.glob("rhein/export/auftrag_*.csv") for r in rows(p, ";", "latin-1")
    }
    log = [r for p in fleet.glob("rhein/export/screening_*.csv") for r in rows(p, ";", "latin-1")]
    failed = {r["Fallnummer"] for r in log if r["Stufe"] == "nicht eingeschlossen"}
    assert failed
    assert not failed & ordered
    assert {r["Fallnummer"] for r in log} <= keys


def test_a_logger_covers_its_shipment(fleet: Path) -> None:
    shipments: dict[str, dict[str, Any]] = {}
    for path in sorted(fleet.glob("meridian/lims/shipments_*.jsonl")):
        shipments |= {s["shipmentId"]: s for s in map(json.loads, path.read_text().splitlines())}
    logged = [r for p in fleet.glob("meridian/courier/*.csv") for r in rows(p, ";")]
    counted = Counter(r["shipment"] for r in logged)
    assert set(counted) <= set(shipments)
    for name, n in counted.items():
        hours = (shipments[name]["deliveredMs"] - shipments[name]["dispatchedMs"]) / 3_600_000
        assert abs(n - hours) <= 1.5
    assert sum(2 <= float(r["celsius"]) <= 8 for r in logged) > 0.95 * len(logged)


def test_payments_follow_the_agreement_s_schedule(fleet: Path) -> None:
    agreements = {r["agreement_id"]: r for p in fleet.glob("prairie/outbound/payer_*.csv") for r in rows(p)}
    paid = [r for p in fleet.glob("prairie/outbound/payments_*.csv") for r in rows(p)]
    assert paid
    for row in paid:
        terms = agreements[row["agreement_id"]]
        shares = {float(part.split(":")[1]) for part in terms["schedule"].split(";")}
        assert float(row["amount"]) / float(terms["list_price"]) in shares
