"""Defects of single records: results, samples, custody events, orders, releases, lot uses.

Belongs here: how each class spoils a record. Each function tries to plant one instance at the chooser's
site and tells whether it did. Does not belong here: sensors and files (spoil_files.py).
"""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

from .disposal import KIND as DISPOSED
from .plan import Chooser, Planted
from .quality import LOD_ENDOTOXIN
from .supply import spec_versions
from .world import Row, hours, key_of
from .writers import meridian_tables, northgate_tables, prairie_tables, rhein_tables

_PRINT = {
    "northgate": northgate_tables,
    "rhein": rhein_tables,
    "prairie": prairie_tables,
    "meridian": meridian_tables,
}
_PERCENT = ("VIAB", "CD3", "CAR", "KILL")
_BAG_ML, _WEIGHT_KG = 60.0, 75.0


def _numeric(c: Chooser, tests: tuple[str, ...]) -> list[Row]:
    return [r for r in c.rows("assay") if r["test"] in tests and r["value"] is not None and r["op"] == "="]


def percent_swap(c: Chooser) -> bool:
    """A percentage printed as a fraction (or the reverse at a site of fractions), the unit unchanged."""
    row = c.one(_numeric(c, _PERCENT))
    if row is None:
        return False
    c.take("assay", row)
    fractions = c.name == "rhein"
    row["raw_value"] = f"{row['value']:.1f}".replace(".", ",") if fractions else f"{row['value'] / 100:.3f}"
    note = "percent where the unit says fraction" if fractions else "fraction where the unit says percent"
    c.plan.add(Planted("unit_swap", c.name, "assay", row["result_id"], 100.0, note))
    return True


def per_kilogram(c: Chooser) -> bool:
    """An endotoxin result per kilogram of body weight instead of per millilitre."""
    row = c.one([r for r in c.rows("assay") if r["test"] == "ENDO"])
    if row is None:
        return False
    c.take("assay", row)
    factor = _BAG_ML / _WEIGHT_KG
    shown = f"{row['value'] * factor:.3f}"
    if c.name == "rhein":
        shown = shown.replace(".", ",")
    row["raw_value"] = f"<{shown}" if row["op"] == "<" and c.name != "meridian" else shown
    row["raw_unit"] = "IE/kg" if c.name == "rhein" else "EU/kg"
    c.plan.add(Planted("unit_swap", c.name, "assay", row["result_id"], round(factor, 3), "endotoxin per kg"))
    return True


def decimal_comma(c: Chooser) -> bool:
    """A comma where the site writes points."""
    printer = _PRINT[c.name].shown_result
    row = c.one(
        [r for r in _numeric(c, ("VIAB", "CD3", "CAR", "VCN", "CD4CD8", "KILL", "FOLD")) if "." in printer(r)]
    )
    if row is None:
        return False
    c.take("assay", row)
    row["raw_value"] = printer(row).replace(".", ",")
    c.plan.add(Planted("decimal_comma", c.name, "assay", row["result_id"], None, str(row["raw_value"])))
    return True


def lod_as_zero(c: Chooser) -> bool:
    """An endotoxin below the limit of detection reported as 0."""
    row = c.one([r for r in c.rows("assay") if r["test"] == "ENDO" and r["op"] == "<"])
    if row is None:
        return False
    c.take("assay", row)
    row["raw_value"] = "0"
    c.plan.add(Planted("lod_as_zero", c.name, "assay", row["result_id"], LOD_ENDOTOXIN, "printed 0"))
    return True


def retired_code(c: Chooser) -> bool:
    """A test code that the site no longer uses."""
    row = c.one(_numeric(c, ("VIAB",)))
    if row is None:
        return False
    c.take("assay", row)
    row["raw_test"] = _PRINT[c.name].RETIRED
    c.plan.add(Planted("retired_code", c.name, "assay", row["result_id"], None, str(row["raw_test"])))
    return True


def swapped_sample(c: Chooser) -> bool:
    """Results of two patients with their samples exchanged; each keeps its batch."""
    by_batch: dict[str, list[Row]] = {}
    for row in _numeric(c, ("CD3", "CAR", "CD4CD8", "IFNG", "KILL", "TVCAR")):
        if row["point"] == "release" and row["replicate"] == 1:
            by_batch.setdefault(row["batch_id"], []).append(row)
    neighbours = [
        (a, b)
        for x, y in pairwise(by_batch)
        for a in by_batch[x]
        for b in by_batch[y]
        if a["test"] == b["test"]
    ]
    if not neighbours:
        return False
    first, second = neighbours[int(c.rng.integers(0, len(neighbours)))]
    for row in (first, second):
        c.take("assay", row)
    first["sample_id"], second["sample_id"] = second["sample_id"], first["sample_id"]
    for row, other in ((first, second), (second, first)):
        c.plan.add(
            Planted("swapped_sample", c.name, "assay", row["result_id"], None, f"with {other['result_id']}")
        )
    # A result may now lie before its sample was taken, or days after it.
    c.plan.follows(
        "clock_skew",
        c.name,
        "assay",
        (first["result_id"], second["result_id"], first["sample_id"], second["sample_id"]),
    )
    return True


def edited_after_release(c: Chooser) -> bool:
    """A result changed after its batch was released, without a reason."""
    signed = {r["batch_id"]: r["signed_at"] for r in c.site.tables["release"]}
    choices = []
    for row in c.site.tables["assay"]:
        at = signed.get(row["batch_id"])
        known = (
            row["_seen"] <= c.until
            and c.free("assay", row)
            and row["test"] in ("CAR", "IFNG", "CD4CD8", "FOLD")
        )
        if known and at is not None and row["result_at"] < at and c.after - timedelta(days=15) < at < c.until:
            choices.append(row)
    counts: dict[str, int] = {}
    for row in c.site.tables["assay"]:
        counts[row["result_id"]] = counts.get(row["result_id"], 0) + 1
    row_ = c.one([r for r in choices if counts[r["result_id"]] == 1])
    if row_ is None:
        return False
    at = signed[row_["batch_id"]]
    earliest = max(at + timedelta(hours=2), c.after + timedelta(minutes=5))
    latest = min(at + timedelta(days=20), c.until - timedelta(minutes=5))
    if earliest >= latest:
        return False
    c.take("assay", row_)
    when = earliest + hours((latest - earliest).total_seconds() / 3600 * float(c.rng.random()))
    change = c.log_uniform(1.5, 20.0)
    seen = when.replace(second=0, microsecond=0)
    c.site.tables["assay"].append(
        {**row_, "value": row_["value"] * (1 + change / 100), "modified": seen, "_seen": seen}
    )
    c.plan.add(
        Planted(
            "result_edited_after_release",
            c.name,
            "assay",
            row_["result_id"],
            round(change, 2),
            "relative change in %",
        )
    )
    return True


def missing_lot(c: Chooser) -> bool:
    """A lot used that the site never lists."""
    row = c.one(c.rows("lot_use"))
    if row is None:
        return False
    c.reserve("lot_use", [row])
    row["lot_id"] = f"{c.site.site.prefix}-L-{int(c.rng.integers(8000, 9000)):04d}"
    c.take("lot_use", row)
    also = (row["lot_id"], f"{row['batch_id']}|{row['lot_id']}|{row['phase']}")
    c.plan.add(Planted("missing_lot", c.name, "lot_use", key_of("lot_use", row), None, "", also))
    return True


def spec_not_effective(c: Chooser) -> bool:
    """A release judged by a version of the specification that takes effect later."""
    _, (version, effective) = spec_versions(c.world.base_days)
    row = c.one([r for r in c.rows("release") if r["signed_at"] < effective])
    if row is None:
        return False
    c.take("release", row)
    row["spec_version"] = version
    early = (effective - row["signed_at"]).total_seconds() / 86400
    c.plan.add(
        Planted(
            "spec_not_effective",
            c.name,
            "release",
            row["release_id"],
            round(early, 1),
            "days too early",
            (row["batch_id"],),
        )
    )
    return True


def skewed_sample(c: Chooser) -> bool:
    """A sample whose time runs ahead, so that it is taken after its own result."""
    first: dict[str, Row] = {}
    results: dict[str, list[Row]] = {}
    for row in c.site.tables["assay"]:
        results.setdefault(row["sample_id"], []).append(row)
        if row["sample_id"] not in first or row["result_at"] < first[row["sample_id"]]["result_at"]:
            first[row["sample_id"]] = row
    choices = [
        r
        for r in c.rows("sample")
        if r["sample_id"] in first
        and (first[r["sample_id"]]["result_at"] - r["taken_at"]) < timedelta(hours=20)
        and all(c.free("assay", x) for x in results[r["sample_id"]])
    ]
    row_ = c.one(choices)
    if row_ is None:
        return False
    gap = (first[row_["sample_id"]]["result_at"] - row_["taken_at"]).total_seconds() / 3600
    ahead = c.log_uniform(max(2.0, gap + 0.5), 30.0)
    c.take("sample", row_)
    c.reserve("assay", results[row_["sample_id"]])
    row_["counted_at"] = row_["taken_at"]  # the cell counter has a clock of its own
    row_["taken_at"] = row_["taken_at"] + hours(ahead)
    c.plan.add(Planted("clock_skew", c.name, "sample", row_["sample_id"], round(ahead, 1), "hours ahead"))
    c.plan.follows(
        "clock_skew", c.name, "assay", sorted({r["result_id"] for r in results[row_["sample_id"]]})
    )
    return True


def _with_next(c: Chooser) -> list[tuple[Row, Row]]:
    """Free custody events of the window, each with the one after it in its chain; disposals are left alone."""
    chains: dict[str, list[Row]] = {}
    for row in c.site.tables["custody"]:
        if row["kind"] != DISPOSED:
            chains.setdefault(row["coi"], []).append(row)
    free = {r["event_id"] for r in c.rows("custody")}
    return [
        (a, b)
        for chain in chains.values()
        for a, b in pairwise(chain)
        if a["event_id"] in free and b["_seen"] <= c.until and c.free("custody", b) and not b.get("_fork")
    ]


def skewed_event(c: Chooser) -> bool:
    """A hand-over whose time runs ahead of the next one in its chain."""
    pairs = [(a, b) for a, b in _with_next(c) if b["happened_at"] - a["happened_at"] < timedelta(hours=22)]
    if not pairs:
        return False
    row, after = pairs[int(c.rng.integers(0, len(pairs)))]
    gap = (after["happened_at"] - row["happened_at"]).total_seconds() / 3600
    ahead = c.log_uniform(max(2.0, gap + 0.5), 30.0)
    c.take("custody", row)
    chain = [r for r in c.site.tables["custody"] if r["coi"] == row["coi"]]
    c.reserve("custody", chain)
    row["happened_at"] = row["happened_at"] + hours(ahead)
    c.plan.add(Planted("clock_skew", c.name, "custody", row["event_id"], round(ahead, 1), "hours ahead"))
    # The hour may also contradict what else is known of this patient's therapy.
    around = [r["event_id"] for r in chain if r is not row] + therapy(c, row["coi"])
    c.plan.follows("clock_skew", c.name, "custody", around)
    return True


def therapy(c: Chooser, coi: str) -> list[str]:
    """Identifiers of the order, collections, batches, releases and infusions under a chain of identity."""
    orders = {r["order_id"] for r in c.site.tables["order"] if r["coi"] == coi}
    batches = {r["batch_id"] for r in c.site.tables["batch"] if r["order_id"] in orders}
    found = orders | batches | {coi}
    found |= {r["collection_id"] for r in c.site.tables["collection"] if r["order_id"] in orders}
    found |= {r["infusion_id"] for r in c.site.tables["infusion"] if r["order_id"] in orders}
    found |= {r["release_id"] for r in c.site.tables["release"] if r["batch_id"] in batches}
    return sorted(found)


def injected_id(c: Chooser) -> str:
    """A fresh event number, far from the site's running ones so that the fleet can live on."""
    taken = sum(1 for d in c.plan.planted if d.site == c.name)
    return f"{c.site.site.prefix}-E-{700000 + taken * 13:06d}"


def duplicate_event(c: Chooser) -> bool:
    """The same hand-over recorded twice under two numbers; the chain goes on through both."""
    pairs = _with_next(c)
    if not pairs:
        return False
    row, _ = pairs[int(c.rng.integers(0, len(pairs)))]
    c.reserve("custody", [row])
    copy = {**row, "event_id": injected_id(c), "_seen": row["_seen"] + timedelta(minutes=1)}
    copy["modified"] = copy["_seen"]
    c.take("custody", copy)
    c.site.tables["custody"].append(copy)
    c.site.sort()
    c.plan.add(
        Planted(
            "duplicate_custody_event",
            c.name,
            "custody",
            copy["event_id"],
            None,
            f"copy of {row['event_id']}",
            (row["event_id"],),
        )
    )
    return True


def ledger_fork(c: Chooser) -> bool:
    """Two events of one chain in the same place: same number, same previous hash."""
    pairs = [(a, b) for a, b in _with_next(c) if b["happened_at"] - a["happened_at"] > timedelta(hours=3)]
    if not pairs:
        return False
    row, _ = pairs[int(c.rng.integers(0, len(pairs)))]
    c.reserve("custody", [row])
    seen = row["_seen"] + timedelta(minutes=1)
    fork = {
        **row,
        "event_id": injected_id(c),
        "place": "corridor",
        "taker": "night_desk",
        "_fork": True,
        "happened_at": row["happened_at"] + timedelta(minutes=25),
        "modified": seen,
        "_seen": seen,
    }
    c.take("custody", fork)
    c.site.tables["custody"].append(fork)
    c.site.sort()
    c.plan.add(
        Planted(
            "ledger_fork",
            c.name,
            "custody",
            fork["event_id"],
            None,
            f"beside {row['event_id']}",
            (row["event_id"], row["coi"]),
        )
    )
    return True


def phi_in_free_text(c: Chooser) -> bool:
    """An order's free text that names the patient, or holds the record number."""
    fresh = {
        r["order_id"]
        for r in c.site.tables["order"]
        if c.after < r["_seen"] <= c.until and r["status"] == "open"
    }
    row = c.one([r for r in c.site.tables["order"] if r["order_id"] in fresh and c.free("order", r)])
    if row is None:
        return False
    family, given = row["name"].split(", ")
    by_name = bool(c.rng.random() < 0.5)
    leak = f"{given} {family} prefers mornings" if by_name else f"see chart {row['mrn']}"
    for version in c.site.tables["order"]:
        if version["order_id"] == row["order_id"]:
            version["comment"] = leak
            c.take("order", version)
    c.plan.add(
        Planted(
            "phi_in_free_text", c.name, "order", row["order_id"], None, "name" if by_name else "record number"
        )
    )
    return True
