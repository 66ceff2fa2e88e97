"""Files nobody here wrote, each read and compared with its whole entry of expected values.

The folder is found by CELLFLEET_REAL_FILES. For each file `observed` is put together from the reading
under the very keys of its entry, and the two must be equal: a key that nobody computes fails.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

from pipelines.formats.fcs import compensate
from pipelines.formats.gating_ml import gate_counts
from pipelines.formats.protocol import Options, Reading, UnreadableFile
from pipelines.formats.registry import format_named, read_file

FOLDER = os.environ.get("CELLFLEET_REAL_FILES")
ENTRIES: list[dict[str, Any]] = (
    json.loads((Path(FOLDER) / "expected.json").read_text(encoding="utf-8")) if FOLDER else []
)
# words for people that stand beside the values of an entry
REMARKS = {"check", "note", "trap", "method"}
pytestmark = [
    pytest.mark.real_files,
    pytest.mark.skipif(not FOLDER, reason="CELLFLEET_REAL_FILES names no folder of real files"),
]


def printed(reading: Reading, term: str, rows: pl.DataFrame | None = None) -> list[str]:
    """What the file prints for a term: the kept text where it was converted, else the value."""
    records = reading.records if rows is None else rows
    kept = f"{term}_as_printed"
    if kept not in records.columns:
        return [value or "" for value in records[term]]
    return [text or value or "" for text, value in zip(records[kept], records[term], strict=True)]


def numbers(values: pl.Series) -> list[float]:
    return [float(v) for v in values if v is not None]


def flags(reading: Reading, field: str) -> list[tuple[int, str]]:
    return [(flag.source_row, flag.text) for flag in reading.flags if flag.field == field]


def vicell_blu(r: Reading) -> dict[str, Any]:
    t = r.records
    errors = {row for field in ("total_cell_count", "viable_cell_count") for row, _ in flags(r, field)}
    assert {text for f in ("total_cell_count", "viable_cell_count") for _, text in flags(r, f)} == {"ERROR"}
    for row in t.iter_rows(named=True):
        if row["viable_cell_count"] is not None:
            share = 100 * float(row["viable_cell_count"]) / float(row["total_cell_count"])
            assert abs(share - float(row["viability_trypan_blue_pct"])) <= 0.06
    assert t["result_at"].null_count() == t.height
    assert len(flags(r, "result_at")) == t.height
    return {
        "samples": t.height,
        "sample_ids": t["sample_id"].to_list(),
        "viable_cells_sum": sum(numbers(t["viable_cell_count"])),
        "cell_count_sum": sum(numbers(t["total_cell_count"])),
        "rows_with_text_ERROR": [
            row["sample_id"] for row in t.iter_rows(named=True) if row["source_row"] in errors
        ],
        "viability_pct": numbers(t["viability_trypan_blue_pct"]),
        "viable_1e6_per_mL": [v / 1e6 for v in numbers(t["viable_cell_density_per_ml"])],
        "first_time_local_no_zone": t["result_at_local"][0],
    }


def vicell_xr(r: Reading) -> dict[str, Any]:
    return {
        "Sample ID": r.records["sample_id"][0],
        "RunDate": r.records["result_at_as_printed"][0],
        "Images": printed(r, "image_count")[0],
        "Total cells": printed(r, "total_cell_count")[0],
        "Viable cells": printed(r, "viable_cell_count")[0],
        "Viability (%)": printed(r, "viability_trypan_blue_pct")[0],
        "Total cells / ml (x 10^6)": printed(r, "total_cell_density_per_ml")[0],
        "Total viable cells / ml (x 10^6)": printed(r, "viable_cell_density_per_ml")[0],
        "Average diameter (microns)": printed(r, "mean_cell_diameter_um")[0],
        "Cell type": r.records["cell_type_setting"][0],
    }


def nucleoview(r: Reading) -> dict[str, Any]:
    t = r.records
    assert t["result_at"][0] == "2023-11-20T16:30:16+02:00"
    total = printed(r, "total_cell_density_per_ml")
    assert bool(flags(r, "total_cell_density_per_ml")) == ("optimal" in total[0])
    diameter = printed(r, "mean_cell_diameter_um")
    assert bool(flags(r, "mean_cell_diameter_um")) == (diameter == ["Not determined"])
    return {
        "sample": t["sample_id"][0],
        "viability": printed(r, "viability_ao_dapi_pct"),
        "live_per_mL": printed(r, "viable_cell_density_per_ml"),
        "dead_per_mL": printed(r, "dead_cell_density_per_ml"),
        "total_per_mL": total,
        "diameter_as_printed": diameter,
        "instrument": t["instrument_model"][0],
        "serial": t["instrument_serial_number"].to_list(),
        "time": [t["Event log format"][0], t["result_at_as_printed"][0]],
    }


def nc_view(r: Reading) -> dict[str, Any]:
    t = r.records
    warned = dict(flags(r, "instrument_status"))
    fine = t.filter(~pl.col("source_row").is_in(list(warned)))
    first = t.row(0, named=True)
    # the entry's sums leave out two rows printed as 1.02E+06; they are numbers, and read
    power = pl.col("viable_cell_density_per_ml_as_printed").str.contains("E")
    assert numbers(t.filter(power)["viable_cell_density_per_ml"]) == [1_020_000, 1_040_000]
    digits = t.filter(~power)
    return {
        "rows": t.height,
        "status": {"OK": fine.height, **Counter(warned.values())},
        "live_sum": sum(numbers(digits["viable_cell_density_per_ml"])),
        "total_sum": sum(numbers(digits["total_cell_density_per_ml"])),
        "rows_with_numeric_live": len(numbers(digits["viable_cell_density_per_ml"])),
        "first": {
            "total": float(first["total_cell_density_per_ml"]),
            "live": float(first["viable_cell_density_per_ml"]),
            "dead": float(first["dead_cell_density_per_ml"]),
            "viability": float(first["viability_ao_dapi_pct"]),
        },
    }


def cedex_hires(r: Reading) -> dict[str, Any]:
    assert "Sample identifer" in r.header["columns"]
    return {
        "rows": r.records.height,
        "samples": r.records["sample_id"].to_list(),
        "viability": [round(v, 4) for v in numbers(r.records["viability_trypan_blue_pct"])],
        "viable_per_mL": numbers(r.records["viable_cell_density_per_ml"]),
        "draw_time_first": r.records["taken_at_as_printed"][0],
    }


def nova_flex2(r: Reading) -> dict[str, Any]:
    assert [(x.source_row, x.field, x.value, x.reason) for x in r.refused] == [
        (2, "viable_cell_density_per_ml", "10.00%", "bad_number")
    ]
    return {
        "rows": r.records.height,
        "sample_ids": r.records["sample_id"].to_list(),
        **{name: printed(r, name) for name in ("Gluc", "Lac", "Gln", "NH4+")},
        "pH": printed(r, "ph"),
        "PO2": printed(r, "po2_mmhg"),
        "PCO2": printed(r, "pco2_mmhg"),
        "Osm": printed(r, "osmolality_mosm_kg"),
        "Viable Density": printed(r, "viable_cell_density_per_ml"),
        "Viability": printed(r, "viability_trypan_blue_pct"),
        "time_as_printed": r.records["result_at_as_printed"].to_list(),
        "batch": r.records["batch_id_printed"].to_list(),
    }


def cedex_bioht(r: Reading) -> dict[str, Any]:
    rows = list(r.records.iter_rows(named=True))
    value = printed(r, "result_value")
    flagged = [(row, text) for row, text in zip(rows, value, strict=True) if row["instrument_flag"]]
    said = {flag.source_row for flag in r.flags if flag.field == "result_value"}
    assert said >= {row["source_row"] for row, _ in flagged}
    censored = [(row, text) for row, text in zip(rows, value, strict=True) if row["result_value_operator"]]
    with_number = [
        [row["sample_id"], row["analyte_code"], row["instrument_flag"], text, row["result_unit"]]
        for row, text in flagged
        if row["result_value"] is not None
    ]
    first = rows[0]
    return {
        "result_rows": len(rows),
        "samples": list(dict.fromkeys(row["sample_id"] for row in rows)),
        "tests": dict(Counter(row["analyte_code"] for row in rows)),
        "flagged_rows": len(flagged),
        "censored_values": [
            [x["sample_id"], x["analyte_code"], text, x["result_unit"]] for x, text in censored[:8]
        ],
        "flagged_with_number": with_number[:8],  # the entry lists the first eight
        "diluted": [row["sample_id"] for row in rows if row.get("predilution")],
        "value_sum_uncensored": sum(
            float(row["result_value"]) for row in rows if row["result_value"] is not None
        ),
        "first": [
            first["result_at_as_printed"],
            *(first[k] for k in ("sample_id", "analyte_code", "result_value", "result_unit")),
        ],
        "serial": r.header["instrument_serial_number"],
    }


def absolute_q(r: Reading) -> dict[str, Any]:
    wells = r.records.filter(pl.col("is_aggregate") == "false")
    assert len(flags(r, "well")) == r.records.height - wells.height
    return {
        "rows": r.records.height,
        "well_rows": wells.height,
        "average_rows": r.records.height - wells.height,
        "targets": sorted(set(r.records["target"])),
        "dyes": sorted(set(r.records["dye"])),
        "conc_sum_wells": sum(numbers(wells["concentration_copies_per_ul"])),
        "positives_sum_wells": sum(numbers(wells["partitions_positive"])),
    }


def qiacuity(r: Reading) -> dict[str, Any]:
    return {
        "rows": r.records.height,
        "types": dict(Counter(r.records["sample_type"])),
        "conc": printed(r, "concentration_copies_per_ul"),
        "valid_partitions_sum": sum(numbers(r.records["partitions_valid"])),
        "positive_sum": sum(numbers(r.records["partitions_positive"])),
    }


def quantstudio(r: Reading) -> dict[str, Any]:
    results = r.records.filter(pl.col("section") == "Results")
    undetermined = [row for row, text in flags(r, "ct") if text == "Undetermined"]
    assert results["result_at"].unique().to_list() == ["2010-10-20T02:23:34-04:00"]
    wanted = ("Block Type", "Chemistry", "Experiment Run End Time", "Experiment Type", "Instrument Type")
    return {
        "sections": r.header["sections"],
        "header": [
            line for line in r.header["header"] if line.startswith(tuple(f"* {w} = " for w in wanted))
        ],
        "result_wells": results.height,
        "ct_numeric": len(numbers(results["ct"])),
        "ct_undetermined": len(undetermined),
        "ct_sum": sum(numbers(results["ct"])),
    }


def msd_workbench(r: Reading) -> dict[str, Any]:
    column = "detection_range"
    ranges = (
        r.records[column].to_list()
        if column in r.records.columns
        else ["(no such column)"] * r.records.height
    )
    return {
        "plate": r.header["plate"],
        "rows": r.records.height,
        "samples": sorted(set(r.records["sample_id"])),
        "assays": sorted(set(r.records["analyte"])),
        "signal_sum": sum(numbers(r.records["spot_signal"])),
        "nan_calc_conc": [text for _, text in flags(r, "calculated_concentration")].count("NaN"),
        "detection_flags": dict(Counter(ranges)),
    }


def methodical_mind(r: Reading) -> dict[str, Any]:
    assert r.records["result_at"].unique().to_list() == ["2023-08-15T17:23:13-04:00"]
    header = {
        name: value for name, value in r.header["plates"][0].items() if name not in ("Legend", "SpotID")
    }
    return {
        "plates": len(r.header["plates"]),
        "signal_values": r.records.height,
        "signal_sum": sum(numbers(r.records["spot_signal"])),
        "header": header,
    }


def intelliflex(r: Reading) -> dict[str, Any]:
    def total(ending: str) -> float:
        columns = [name for name in r.records.columns if name.endswith(ending)]
        return sum(sum(numbers(r.records[name])) for name in columns)

    return {
        "wells": r.records.height,
        "columns": len(r.header["columns"]),
        "plate": sorted(set(r.records["plate_id"])),
        "serial": sorted(set(r.records["instrument_serial_number"])),
        "regions": sorted(
            {name.split(":")[0] for name in r.records.columns if name[:1] == "R" and ":" in name}
        ),
        "rp1_median_sum": total(": RP1 MEDIAN"),
        "rp1_count_sum": total(": RP1 COUNT"),
        "wells_list": r.records["well"].to_list(),
    }


def softmax_pro(r: Reading) -> dict[str, Any]:
    return {
        "first_line": r.header["first_line"],
        "lines": r.header["lines"],
        "plate_lines": [line[:8] for line in r.header["plate_lines"]],
    }


def facsdiva(r: Reading) -> dict[str, Any]:
    kinds = Counter(r.records["record_kind"])
    tubes = r.records.filter(pl.col("record_kind") == "tube")
    return {
        "root": r.header["root"],
        "specimens": kinds["specimen"],
        "tubes": kinds["tube"],
        "gates": kinds["gate"],
        "tube_names": tubes["@name"].to_list(),
        "experiment": r.header["experiments"],
    }


def fcs(r: Reading) -> dict[str, Any]:
    channels = r.header["channels"]
    sums = {
        c["name"]: float(r.records.to_series(i + 1).cast(pl.Float64).sum()) for i, c in enumerate(channels)
    }
    return {
        "version": r.header["version"],
        "events": r.records.height,
        "channels": len(channels),
        "cytometer": r.header["cytometer"],
        "date": r.header["date"],
        "datatype": r.header["datatype"],
        "byteord": r.header["byteord"],
        "bits": sorted({channel["bits"] for channel in channels}),
        "names": [channel["name"] for channel in channels],
        "labels": [channel["label"] for channel in channels if channel["label"]],
        "raw_sums": {name: round(total, 1) for name, total in sums.items()},
        "first_event": [round(float(value), 4) for value in r.records.row(0)[1:]],
    }


def compensated_gates(r: Reading, thresholds: dict[str, float]) -> dict[str, Any]:
    """The fixed rectangles of the entry, by label, on compensated values."""
    column = {c["label"]: r.records.columns[i + 1] for i, c in enumerate(r.header["channels"])}
    events = compensate(r)

    def above(label: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
        return events[column[label]].to_numpy() > thresholds[label]

    live = ~above("VIVID / CD14") & ~above("CD19")
    t_cells = live & above("CD3")
    cd4, cd8 = t_cells & above("CD4") & ~above("CD8"), t_cells & above("CD8") & ~above("CD4")
    return {
        "thresholds": thresholds,
        "live_dump_neg": int(live.sum()),
        "CD3pos": int(t_cells.sum()),
        "CD4pos_CD8neg": int(cd4.sum()),
        "CD8pos_CD4neg": int(cd8.sum()),
        "double_pos": int((t_cells & above("CD4") & above("CD8")).sum()),
        "CD4_CD8_ratio": round(int(cd4.sum()) / int(cd8.sum()), 4),
    }


def raw_gates(r: Reading, limit: float) -> dict[str, Any]:
    column = {c["label"]: r.records.columns[i + 1] for i, c in enumerate(r.header["channels"])}
    cd3, cd4, cd8 = (r.records[column[label]].to_numpy() > limit for label in ("CD3", "CD4", "CD8"))
    only4, only8 = int((cd3 & cd4 & ~cd8).sum()), int((cd3 & cd8 & ~cd4).sum())
    return {
        "threshold (all three)": limit,
        "CD3>t": int(cd3.sum()),
        "CD3>t & CD4>t & CD8<=t": only4,
        "CD3>t & CD8>t & CD4<=t": only8,
        "double positive": int((cd3 & cd4 & cd8).sum()),
        "CD4:CD8 ratio": round(only4 / only8, 4),
    }


def gating_ml(r: Reading) -> dict[str, Any]:
    kinds = Counter(r.records["record_kind"])
    return {
        "root": r.header["root"],
        "gates": {kind: n for kind, n in kinds.items() if kind.endswith("Gate")},
        "transformations": kinds["transformation"],
    }


def gate_membership(r: Reading) -> dict[str, Any]:
    return {"lines": r.received, "members": int((r.records["member"] == "1").sum())}


def leaves(value: Any, name: str) -> list[str]:
    """Texts of all elements of a name, in the JSON a record keeps of its element."""
    if isinstance(value, list):
        return [text for item in value for text in leaves(item, name)]
    if not isinstance(value, dict):
        return []
    found = []
    for key, item in value.items():
        if key == name:
            held = item if isinstance(item, list) else [item]
            found += [
                h["#text"] if isinstance(h, dict) else h
                for h in held
                if not isinstance(h, dict) or "#text" in h
            ]
        found += leaves(item, name)
    return found


def elements(r: Reading, name: str) -> list[str]:
    """Texts of all elements of a name in a B2MML file, in file order of their records."""
    found = []
    for row in r.records.iter_rows(named=True):
        own: dict[str, Any] = {}
        for key, value in row.items():
            if isinstance(value, str):
                own[key] = json.loads(value) if value[:1] in ("{", "[") else value
        found += leaves(own, name)
    return found


def b2mml_record(r: Reading) -> dict[str, Any]:
    steps = r.records.filter(pl.col("record_kind") == "RuntimeRecipeElement")
    phases = steps.filter(pl.col("RecipeElementType") == "Phase")
    people = [text for name in ("Performer", "PersonID", "PersonName") for text in elements(r, name)]
    assert people
    assert set(people) <= {"masked 1", "masked 2"}
    assert phases["procedure"].unique().to_list() == ["Procedure-01"]
    assert phases["unit_procedure"].unique().to_list() == ["Parallel Phases"]
    assert phases["operation"].unique().to_list() == ["Operation-01"]
    header = json.loads(r.records["Header"][0])
    recipe = json.loads(r.records.filter(pl.col("record_kind") == "ExecutedControlRecipe")["Header"][0])
    return {
        "record_id": r.records["ID"][0],
        "batch_id": elements(r, "BatchID"),
        "product": [recipe["ProductID"], recipe["ProductName"]],
        "recipe_elements": dict(Counter(steps["RecipeElementType"])),
        "phases": [json.loads(text)["#text"] if text.startswith("{") else text for text in phases["ID"]],
        "other_information": sum(len(json.loads(text)) for text in phases["OtherInformation"]),
        "completion_times": elements(r, "CompletionTime"),
        "signatures_performers": len(elements(r, "Performer")),
        "tags": {
            "Performer": len(elements(r, "Performer")),
            "PersonID": len(elements(r, "PersonID")),
            "Comment": r.records.filter(pl.col("record_kind") == "Comment").height,
        },
        "creation": [header["CreationDate"]],
    }


def b2mml_message(r: Reading) -> dict[str, Any]:
    envelope = r.header["envelope"]
    properties = elements(r, "MaterialActualProperty")
    return {
        "root": r.header["root"],
        "ids": elements(r, "ID")[:3],  # the entry lists the first three
        "material": elements(r, "MaterialDefinitionID"),
        "lot": elements(r, "MaterialLotID"),
        "sublot": elements(r, "MaterialSubLotID"),
        "qty": elements(r, "QuantityString"),
        "unit": sorted(set(elements(r, "UnitOfMeasure")) - {""}),
        "use": elements(r, "MaterialUse"),
        "status": elements(r, "Status"),
        "created": [envelope["ApplicationArea"]["CreationDateTime"]],
        "properties": properties,
    }


def fhir_lines(r: Reading) -> dict[str, Any]:
    rows = list(r.records.iter_rows(named=True))
    found: dict[str, Any] = {
        "lines": r.received,
        "by_type": dict(Counter(row["resourceType"] for row in rows)),
        "distinct_ids": len({row["id"] for row in rows}),
    }
    if rows[0]["resourceType"] == "Patient":
        births = sorted(row["birthDate"] for row in rows)
        found |= {
            "deceased": sum(row["deceasedDateTime"] is not None for row in rows),
            "gender": dict(Counter(row["gender"] for row in rows)),
            "birthDate_min": births[0],
            "birthDate_max": births[-1],
        }
        return found
    references = {
        json.loads(row.get("subject") or row.get("patient") or "{}").get("reference") for row in rows
    }
    found["distinct_patient_refs"] = len(references)
    coded = [row.get("code") or row.get("vaccineCode") for row in rows]
    if any(coded):
        codings = [json.loads(text)["coding"][0] for text in coded if text]
        named = Counter(f"{coding['code']} {coding['display']}" for coding in codings)
        found["distinct_codes"] = len(named)
        found["top_codes"] = [f"{name} x{count}" for name, count in named.most_common(3)]
    return found


def fhir_resource(r: Reading, wanted: dict[str, Any]) -> dict[str, Any]:
    row = r.records.row(0, named=True)
    found: dict[str, Any] = {}
    for key in wanted:
        if key == "profile":
            found[key] = json.loads(row["meta"])["profile"]
            continue
        value = row.get(key)
        found[key] = json.loads(value) if value and value[:1] in ("{", "[") else value
    return found


def epcis(r: Reading) -> dict[str, Any]:
    rows = list(r.records.iter_rows(named=True))
    times = sorted(row["eventTime"] for row in rows)
    lists = ("epcList", "childEPCs", "inputEPCList", "outputEPCList")
    epcs: set[str] = set()
    quantities = sensors = 0
    for row in rows:
        epcs |= {epc for name in lists for epc in json.loads(row.get(name) or "[]")}
        epcs |= {row["parentID"]} if row.get("parentID") else set()
        names = ("quantityList", "childQuantityList", "inputQuantityList", "outputQuantityList")
        quantities += sum(len(json.loads(row.get(name) or "[]")) for name in names)
        sensors += sum(len(s["sensorReport"]) for s in json.loads(row.get("sensorElementList") or "[]"))
    return {
        "type": r.header["type"],
        "schemaVersion": r.header["schemaVersion"],
        "events": len(rows),
        "by_type": dict(Counter(row["type"] for row in rows)),
        "actions": dict(Counter(row["action"] for row in rows if row.get("action"))),
        "eventTimes": {"n": len(times), "min": times[:1], "max": times[-1:]},
        "epcs": {"n": len(epcs), "first": sorted(epcs)[:3]},
        "quantity_elements": quantities,
        "sensor_reports": sensors,
    }


def indpensim(r: Reading) -> dict[str, Any]:
    names = r.records.columns
    table = r.records.with_columns(pl.col(names[1:]).cast(pl.Float64))
    batch, during, at_end, total, fault = (names[i] for i in range(1, 6))
    away = ((table[during] + table[at_end]) / table[total] - 1).abs()
    return {
        "batches": table.height,
        "fault_batches": int((table[fault] == 1).sum()),
        "yield_sum": table[total].sum(),
        "yield_max_batch": int(table[batch][int(table[total].arg_max() or 0)]),
        "yield_min_batch": int(table[batch][int(table[total].arg_min() or 0)]),
        "rows_where_during_plus_end_differs_from_total_by_more_than_0_1pct": int((away > 0.001).sum()),
    }


OBSERVED: dict[str, Callable[[Reading], dict[str, Any]]] = {
    "vicell_blu": vicell_blu,
    "vicell_xr": vicell_xr,
    "nucleoview": nucleoview,
    "nc_view": nc_view,
    "cedex_hires": cedex_hires,
    "nova_flex2": nova_flex2,
    "cedex_bioht": cedex_bioht,
    "absolute_q": absolute_q,
    "qiacuity": qiacuity,
    "quantstudio": quantstudio,
    "msd_workbench": msd_workbench,
    "methodical_mind": methodical_mind,
    "luminex_intelliflex": intelliflex,
    "softmax_pro": softmax_pro,
    "facsdiva": facsdiva,
    "fcs": fcs,
    "gating_ml": gating_ml,
    "gate_membership": gate_membership,
    "fhir_export_log": lambda r: {"lines": r.received},
    "epcis": epcis,
    "delimited": indpensim,
}


def observe(reading: Reading, wanted: dict[str, Any]) -> dict[str, Any]:
    if reading.format == "b2mml":
        return (
            b2mml_record(reading)
            if reading.header["root"] == "BatchProductionRecord"
            else b2mml_message(reading)
        )
    if reading.format == "fhir":
        return fhir_lines(reading) if reading.header["kind"] == "ndjson" else fhir_resource(reading, wanted)
    return OBSERVED[reading.format](reading)


def equal(found: Any, wanted: Any) -> bool:
    """Equality with numbers compared as numbers, to the digits the entry has."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return found.keys() == wanted.keys() and all(equal(found[key], wanted[key]) for key in wanted)
    if isinstance(wanted, list) and isinstance(found, list):
        return len(found) == len(wanted) and all(equal(f, w) for f, w in zip(found, wanted, strict=True))
    if isinstance(wanted, float) and isinstance(found, int | float):
        return math.isclose(found, wanted, rel_tol=1e-9, abs_tol=1e-4)
    return bool(found == wanted)


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry["file"] for entry in ENTRIES])
def test_a_file_yields_its_whole_entry(entry: dict[str, Any]) -> None:
    reading = read_file(Path(str(FOLDER)) / entry["file"])
    wanted = {key: value for key, value in entry["expected"].items() if key not in REMARKS}
    if wanted == {"expected": "rejected with reason"}:
        assert reading.records.height == 0
        assert [(refused.source_row, refused.field) for refused in reading.refused] == [(1, None)]
        for missing in ("eventTime", "action"):
            assert missing in reading.refused[0].mend
        return
    for gates in ("compensated_rect_gates", "rect_gate_on_raw_uncompensated_values"):
        if gates in wanted:
            wanted[gates] = {key: value for key, value in wanted[gates].items() if key not in REMARKS}
    reference = wanted.pop("isac_reference_gate_counts", None)
    found = observe(reading, wanted)
    if "compensated_rect_gates" in wanted:
        found["compensated_rect_gates"] = compensated_gates(
            reading, wanted["compensated_rect_gates"]["thresholds"]
        )
        raw = wanted["rect_gate_on_raw_uncompensated_values"]
        found["rect_gate_on_raw_uncompensated_values"] = raw_gates(reading, raw["threshold (all three)"])
    if entry["file"] == "G11.fcs":
        # the entry keeps the bytes of its UTF-8 labels one to one as Latin-1 characters
        found["labels"] = [label.encode("utf-8").decode("latin-1") for label in found["labels"]]
    if entry["file"] == "methodical_test_2.txt":
        assert found["header"]["User"] == "masked 1"
        found["header"]["User"] = wanted["header"]["User"]
    for key, value in wanted.items():
        assert equal(found.get(key), value), (key, found.get(key), value)
    assert found.keys() == wanted.keys()
    if reference is not None:
        check_gates(Path(str(FOLDER)), reference)


def check_gates(folder: Path, reference: dict[str, int]) -> None:
    """Every gate of the reference that the document defines holds as many events as the reference says."""
    counts = gate_counts(folder / "data1.fcs", folder / "gml_all_gates.xml")
    events = dict(zip(counts["gate"], counts["events"], strict=True))
    document = (folder / "gml_all_gates.xml").read_text(encoding="utf-8")
    absent = {gate for gate in reference if f'"{gate}"' not in document}
    assert absent == {"Ellipsoid3D", "ParQuadRect"}  # in the compliance set, but not in this document of it
    assert {gate: events[gate] for gate in reference.keys() - absent} == {
        gate: reference[gate] for gate in reference.keys() - absent
    }


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry["file"] for entry in ENTRIES])
def test_half_a_file_is_never_read_as_a_whole_one(entry: dict[str, Any], tmp_path: Path) -> None:
    """Cut in the middle: refused as a whole, or fewer records, never as many and never another failure."""

    source = Path(str(FOLDER)) / entry["file"]
    whole = read_file(source)
    data = source.read_bytes()
    half = tmp_path / source.name
    half.write_bytes(data[: len(data) // 2])
    try:
        reading = format_named(whole.format).read(half, Options())
    except UnreadableFile:
        return
    assert reading.received < whole.received


def test_every_real_file_has_an_entry() -> None:
    folder = Path(str(FOLDER))
    files = {path.name for path in folder.iterdir() if path.is_file()} - {"MANIFEST.md", "expected.json"}
    assert files == {entry["file"] for entry in ENTRIES}


# Files whose cell counts allotropy maps too: the two readers know nothing of each other.
VIABILITY = {
    "Beckman_Vi-Cell-BLU_example01.csv": ("BECKMAN_VI_CELL_BLU", "viability_trypan_blue_pct"),
    "Beckman_Vi-Cell-XR_example07_instrumentOutput.txt": ("BECKMAN_VI_CELL_XR", "viability_trypan_blue_pct"),
    "chemometec_nucleoview_example01.csv": ("CHEMOMETEC_NUCLEOVIEW", "viability_ao_dapi_pct"),
    "roche_cedex_hires_example_1.csv": ("ROCHE_CEDEX_HIRES", "viability_trypan_blue_pct"),
}


@pytest.mark.parametrize("name", VIABILITY)
def test_allotropy_reads_the_same_samples_times_and_viabilities(name: str) -> None:
    from allotropy.parser_factory import Vendor  # costly
    from allotropy.to_allotrope import allotrope_from_file

    vendor, term = VIABILITY[name]
    path = Path(str(FOLDER)) / name
    zone = "Europe/Berlin"
    mapped = allotrope_from_file(str(path), Vendor[vendor], default_timezone=ZoneInfo(zone))
    theirs = [
        (datetime.fromisoformat(m["measurement time"]), m["processed data aggregate document"])
        for group in mapped["cell counting aggregate document"]["cell counting document"]
        for m in group["measurement aggregate document"]["measurement document"]
    ]
    records = read_file(path, options=Options(zone=zone)).records
    found = [
        (datetime.fromisoformat(when), float(value))
        for when, value in records.select("result_at", term).iter_rows()
    ]
    wanted = [
        (when, document["processed data document"][0]["viability (cell counter)"]["value"])
        for when, document in theirs
    ]
    assert found == wanted
