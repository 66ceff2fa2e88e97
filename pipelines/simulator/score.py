"""Compares what the platform found with what was planted: counts, defects by class and magnitude, verdicts.

Belongs here: the table from a finding's reason to a planted class, the arithmetic of recall and precision.
Does not belong here: planting, or any knowledge of how something is detected; the platform is read only
through its published tables.
"""

from __future__ import annotations

import json
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb

_CLASS = {
    "unit_implausible": "unit_swap",
    "unit_not_declared": "unit_swap",
    "out_of_range": "unit_swap",
    "duplicate_event": "duplicate_custody_event",
    "time_order": "clock_skew",
    "nonexistent_local_time": "dst",
    "ambiguous_local_time": "dst",
    "number_format": "decimal_comma",
    "sensor_flat_line": "sensor_flat_line",
    "sensor_drift": "sensor_drift",
    "identity_conflict": "swapped_sample",
    "edited_after_release": "result_edited_after_release",
    "lot_unknown": "missing_lot",
    "spec_not_effective": "spec_not_effective",
    "zero_below_detection": "lod_as_zero",
    "late_file": "late_file",
    "changed_without_notice": "resent_changed_row",
    "code_retired": "retired_code",
    "column_missing": "renamed_column",
    "identifier_in_free_text": "phi_in_free_text",
    "chain_fork": "ledger_fork",
    "custody_break": "custody_break",
    "swap_suspicion": "custody_swap",
    "custody_overlap": "custody_overlap",
    "missing_hand_over": "missing_hand_over",
    "impossible_order": "impossible_order",
    "excursion": "temperature_excursion",
    "time_out_of_control": "time_out_of_control",
}
_BY_FILE = {
    "late_file",
    "renamed_column",
}  # these are about a file: whatever row is named, the file counts once
# The truth's attributes by words in the name that a fleet's plan gives them: one of these, none of those.
_ATTRIBUTE: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "viability": (("viability",), ()),
    "cd3_pct": (("cd3",), ("cells",)),
    "car_pct": (("car",), ("cells", "total")),
    "vcn": (("vcn", "vector_copy"), ()),
    "cd4_cd8_ratio": (("cd4",), ()),
    "ifn_gamma": (("ifn", "potency"), ()),
    "fold_expansion": (("fold", "expansion"), ()),
    "total_viable_car_cells": (("total", "cells"), ()),
}
# Quantities of the sensors, as the simulator and as the dictionary call them.
_QUANTITY = {"temp": "temperature_c", "ph": "ph"}
_BINS = 3

Found = tuple[str, str, str]  # class, site, subject


def score(sources: Path, con: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """Score a published snapshot (open connection) against the `truth.json` in `sources`.

    Returns {"received": {site: {feed: {"written", "received"}}}, "defects": {class: {"planted", "found",
    "false", "recall", "precision", "by_magnitude"}}, "other": {reason: times named}, "verdicts":
    {"confusion", "rows"}, "watch": {"excursions", "drifts"}}; a rate without a denominator is None. `other` are
    reasons that stand for no planted class: true of the drawn fleet, or false; they are counted, not judged.
    Where a fleet compares several methods of one attribute, the first verdict counts.
    What was found at sites that the simulator did not write is not judged.
    Raises FileNotFoundError without a truth file, duckdb.Error without the tables.
    """
    truth: dict[str, Any] = json.loads((sources / "truth.json").read_text(encoding="utf-8"))
    return {
        "received": _received(truth["received"], con),
        "defects": _defects(truth, {f for f in _found(con) if f[1] in truth["received"]}),
        "other": _other(set(truth["received"]), con),
        "verdicts": _verdicts(truth["verdicts"], con),
        "watch": _watch(truth, con),
    }


def _received(
    written: dict[str, dict[str, int]], con: duckdb.DuckDBPyConnection
) -> dict[str, dict[str, dict[str, int | None]]]:
    rows = con.execute(
        "SELECT site_id, feed, sum(received)::BIGINT FROM quality.accounting GROUP BY ALL"
    ).fetchall()
    got = {(site, feed): n for site, feed, n in rows}
    return {
        site: {
            feed: {"written": feeds.get(feed), "received": got.get((site, feed))}
            for feed in sorted({*feeds, *(f for s, f in got if s == site)})
        }
        for site, feeds in written.items()
    }


def _found(con: duckdb.DuckDBPyConnection) -> set[Found]:
    rows = con.execute(
        "SELECT site_id, reason_code, subject, source_file, source_row FROM quality.quarantine UNION "
        "SELECT site_id, reason_code, subject, source_file, source_row FROM quality.finding"
    ).fetchall()
    found: set[Found] = set()
    for site, reason, subject, file, line in rows:
        kind = _CLASS.get(reason)
        if kind is None:
            continue
        name = Path(file).name if file else ""
        found.add((kind, site, name if kind in _BY_FILE and name else subject or f"{name}:{line}"))
    return found


def _other(sites: set[str], con: duckdb.DuckDBPyConnection) -> dict[str, int]:
    rows = con.execute(
        "SELECT reason_code, count(*) FROM (SELECT site_id, reason_code, subject FROM quality.quarantine UNION "
        "SELECT site_id, reason_code, subject FROM quality.finding) WHERE list_contains(?, site_id) "
        "GROUP BY reason_code ORDER BY reason_code",
        [sorted(sites)],
    ).fetchall()
    return {reason: n for reason, n in rows if reason not in _CLASS}


def _defects(truth: dict[str, Any], found: set[Found]) -> dict[str, dict[str, Any]]:
    names: dict[Found, list[int]] = {}
    for n, defect in enumerate(truth["defects"]):
        for subject in (defect["subject"], *defect["also"]):
            names.setdefault((defect["class"], defect["site"], subject), []).append(n)
    natural = {(n["class"], n["site"], n["subject"]) for n in truth["natural"]}
    hit: set[int] = set()
    false: dict[str, int] = {}
    for item in found:
        if item in names:
            hit.update(names[item])
        elif item not in natural:
            false[item[0]] = false.get(item[0], 0) + 1
    made = {}
    for kind in sorted(set(_CLASS.values())):
        planted = [n for n, d in enumerate(truth["defects"]) if d["class"] == kind]
        good = sum(n in hit for n in planted)
        wrong = false.get(kind, 0)
        made[kind] = {
            "planted": len(planted),
            "found": good,
            "false": wrong,
            "recall": _rate(good, len(planted)),
            "precision": _rate(good, good + wrong),
            "by_magnitude": _by_magnitude([(truth["defects"][n]["magnitude"], n in hit) for n in planted]),
        }
    return made


def _rate(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _by_magnitude(defects: list[tuple[float | None, bool]]) -> list[dict[str, Any]] | None:
    """Recall in up to three bins of equal size, from small to large magnitudes; None where there are none."""
    sized = sorted((abs(m), hit) for m, hit in defects if m is not None)
    if not sized or sized[0][0] == sized[-1][0]:
        return None
    edges = [round(i * len(sized) / _BINS) for i in range(_BINS + 1)]
    bins = [sized[a:b] for a, b in pairwise(edges) if b > a]
    return [
        {
            "from": part[0][0],
            "to": part[-1][0],
            "planted": len(part),
            "found": sum(hit for _, hit in part),
            "recall": _rate(sum(hit for _, hit in part), len(part)),
        }
        for part in bins
    ]


def _is(attribute: str, name: str) -> bool:
    wanted, unwanted = _ATTRIBUTE[attribute]
    return any(w in name for w in wanted) and not any(u in name for u in unwanted)


def _verdicts(truth: list[dict[str, Any]], con: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    told = con.execute(
        "SELECT attribute, site, verdict, reason, estimate, ci_low, ci_high FROM mart.comparability"
    ).fetchall()
    confusion: dict[str, dict[str, int]] = {}
    rows = []
    for true in truth:
        match = [t for t in told if t[1] == true["site"] and _is(true["attribute"], t[0])]
        verdict, reason, estimate, low, high = match[0][2:] if match else (None, None, None, None, None)
        by_word = confusion.setdefault(true["label"], {})
        word = verdict or "no verdict"
        by_word[word] = by_word.get(word, 0) + 1
        rows.append(
            {
                "attribute": true["attribute"],
                "site": true["site"],
                "label": true["label"],
                "true_difference": true["true_difference"],
                "raw_difference": true["raw_difference"],
                "verdict": verdict,
                "reason": reason,
                "estimate": estimate,
                "ci_low": low,
                "ci_high": high,
            }
        )
    return {"confusion": confusion, "rows": rows}


def _watch(truth: dict[str, Any], con: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """Planted excursions and drifts against the marts; excursions of cultures, never of transport."""
    return {
        "excursions": _excursions(truth["excursions"], set(truth["received"]), con),
        "drifts": [_drift(d, con) for d in truth["drifts"]],
    }


def _excursions(
    planted: list[dict[str, Any]], sites: set[str], con: duckdb.DuckDBPyConnection
) -> dict[str, Any]:
    found = [
        row
        for row in con.execute(
            "SELECT site_id, batch_id, quantity_name, side, started_at, ended_at FROM mart.excursion"
        ).fetchall()
        if row[0] in sites
    ]
    true = {
        (e["site"], e["batch"], _QUANTITY[e["quantity"]], e["side"], _time(e["from"]), _time(e["until"]))
        for e in planted
    }
    hit = {t for t in true if any(_meets(t, f) for f in found)}
    right = sum(any(_meets(t, f) for t in true) for f in found)
    return {
        "planted": len(true),
        "found": len(hit),
        "false": len(found) - right,
        "recall": _rate(len(hit), len(true)),
        "precision": _rate(right, len(found)),
    }


def _meets(true: tuple[Any, ...], found: tuple[Any, ...]) -> bool:
    return true[:4] == found[:4] and found[4] <= true[5] and found[5] >= true[4]


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _drift(drift: dict[str, Any], con: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """Batches and days from a planted drift to the first ring of a chart of that attribute on that side.

    `watched`: approved limits watch that stretch; a small fleet has none, and then nothing can be found.
    """
    # Frozen and approved limits ring, outside their own baseline; which charts do, the budget says.
    points = con.execute(
        """SELECT p.attribute, p.batch_id, p.batch_started_at, p.side, p.outside
           FROM mart.chart_point p
           JOIN mart.chart_limit l USING (site, attribute, measured_as, phase, version)
           WHERE p.site = ? AND l.in_force AND l.state = 'approved' AND NOT p.in_baseline
             AND p.chart IN (SELECT chart FROM mart.chart_budget WHERE rings)
             AND p.batch_started_at >= ?::TIMESTAMPTZ AND p.batch_started_at < ?::TIMESTAMPTZ
           ORDER BY p.batch_started_at""",
        [drift["site"], drift["from"], drift["until"]],
    ).fetchall()
    mine = [p for p in points if _is(drift["attribute"], p[0])]
    side = 1 if drift["side"] == "above" else -1
    rung = [p for p in mine if p[4] and p[3] == side]
    told = {k: drift[k] for k in ("site", "attribute", "sds", "ramp_days")}
    if not rung:
        return told | {"watched": bool(mine), "found": False, "batches": None, "days": None}
    first = rung[0]
    return told | {
        "watched": True,
        "found": True,
        "batches": len({p[1] for p in mine if p[2] <= first[2]}),
        "days": (first[2] - _time(drift["from"])).total_seconds() / 86400,
    }
