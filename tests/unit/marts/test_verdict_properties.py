"""What no verdict may depend on: units, order, names; margins and lots only help; degenerate lots give words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import exp, isfinite, log
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.marts.comparability import Lots, influence_of, judged, row_of
from warehouse.marts.designs import Lot, Side
from warehouse.marts.families import family_rows, network_rows
from warehouse.marts.ranges import ranges_of
from warehouse.plan import Family, Fleet
from warehouse.statistics.covariates import ancova_size, compare_routine
from warehouse.statistics.split_apheresis import mixed_comparison

SEEDS = st.integers(0, 10_000)
NUMBERS = ("estimate", "ci_low", "ci_high", "sd_ratio", "sd_ratio_high", "size", "chance_comparable")


def fleet(scale: str = "log", margin: float = 0.3, design: str = "routine", **more: Any) -> Fleet:
    attribute = {
        "title": "VCN", "measured_by": ["vcn_per_cell"], "sample_point": "release", "scale": scale,
        "margin_low": -margin, "margin_high": margin, "sd_ratio_max": 2.0, "criticality": "key", "rationale": "none",
        "design": design, "covariates": ["prior_lines"] if design == "adjusted" else [],
    }  # fmt: skip
    plan = {
        "id": "P", "version": "1", "dated": "2025-01-01", "approved_by_role": "quality", "basis": "none",
        "attributes": {"x": attribute, "y": attribute}, **more,
    }  # fmt: skip
    return Fleet.model_validate({"name": "Test", "reference_site": "ref", "plan": plan})


def side(values: Any, name: str, prior: Any = None, start: datetime | None = None) -> Side:
    first = start or datetime(2026, 1, 1, tzinfo=UTC)
    lots = [
        Lot(f"{name}{i}", float(v), f"{name}p{i}", False, {"prior_lines": None if prior is None else prior[i]},
            first + timedelta(days=i))
        for i, v in enumerate(values)
    ]  # fmt: skip
    return Side(tuple(lots))


def asked(told: Fleet, ref: Side, new: Side, site: str = "new") -> tuple[Lots, dict[str, Any]]:
    sides = {
        (a, "vcn_per_cell", s): lots for a in "xy" for s, lots in ((told.reference_site, ref), (site, new))
    }
    lots = Lots(told, sides, 0.05, 0.8)
    return lots, row_of(lots, judged(lots, "x", site))


def drawn(seed: int, n: int = 12, m: int = 9) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return (
        np.exp(rng.normal(1, 0.2, n)),
        np.exp(rng.normal(1, 0.2, m)),
        rng.integers(1, 6, n),
        rng.integers(1, 6, m),
    )


@pytest.mark.parametrize("design", ["routine", "adjusted"])
@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, unit=st.floats(1e-3, 1e6))
def test_units_order_and_names_change_nothing(design: str, seed: int, unit: float) -> None:
    a, b, pa, pb = drawn(seed)
    told = fleet(design=design)
    _, plain = asked(told, side(a, "r", pa), side(b, "n", pb))
    _, scaled = asked(told, side(a * unit, "r", pa), side(b * unit, "n", pb))
    i, j = (
        np.random.default_rng(seed).permutation(a.size),
        np.random.default_rng(seed + 1).permutation(b.size),
    )
    # Another order of rows; harvest dates stay with their lots only for the numbers that time does not enter.
    _, turned = asked(told, side(a[i], "r", pa[i]), side(b[j], "n", pb[j]))
    _, named = asked(told, side(a, "zz", pa), side(b, "aa", pb), site="aaa")
    for other in (scaled, turned, named):
        assert (other["verdict"], other["reason"]) == (plain["verdict"], plain["reason"])
        for number in NUMBERS:
            assert other[number] == pytest.approx(plain[number], rel=1e-6, abs=1e-8), number


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS, unit=st.floats(1e-3, 1e6))
def test_a_split_study_knows_no_units_order_or_names(seed: int, unit: float) -> None:
    rng = np.random.default_rng(seed)
    donor = np.repeat(np.arange(5), 2)
    y = np.exp(rng.normal(0, 0.3, 5)[donor] + rng.normal(0, 0.2, 10))
    site = ["a", "b"] * 5
    names = [f"D{d}" for d in donor]
    plain = mixed_comparison(y, names, site, reference="a", scale="log").estimates["b"]
    turn = rng.permutation(10)
    other = mixed_comparison(
        unit * y[turn], [f"Z{9 - donor[i]}" for i in turn], [{"a": "q", "b": "c"}[site[i]] for i in turn],
        reference="q", scale="log",
    ).estimates["c"]  # fmt: skip
    assert (other.ci_low, other.ci_high) == pytest.approx((plain.ci_low, plain.ci_high), rel=1e-5)


@pytest.mark.parametrize("design", ["routine", "adjusted"])
@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, margin=st.floats(0.05, 0.5), more=st.floats(0, 0.5))
def test_a_wider_margin_never_makes_it_worse(design: str, seed: int, margin: float, more: float) -> None:
    a, b, pa, pb = drawn(seed)
    rank = {"not comparable": 0, "inconclusive": 1, "comparable": 2}
    rows = [
        asked(fleet(margin=m, design=design), side(a, "r", pa), side(b, "n", pb))[1]
        for m in (margin, margin + more)
    ]
    assert rank[rows[1]["verdict"]] >= rank[rows[0]["verdict"]]


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, n=st.integers(2, 6), m=st.integers(2, 6), value=st.floats(0.5, 20))
def test_another_lot_never_takes_the_interval_away(seed: int, n: int, m: int, value: float) -> None:
    a, b, pa, pb = drawn(seed, n, m)
    for design in ("routine", "adjusted"):
        _, before = asked(fleet(design=design), side(a, "r", pa), side(b, "n", pb))
        if before["ci_low"] is None:
            continue
        _, after = asked(fleet(design=design), side(a, "r", pa), side([*b, value], "n", [*pb, 3]))
        assert after["ci_low"] is not None
        assert isfinite(after["ci_low"])


@pytest.mark.parametrize("design", ["routine", "adjusted"])
@pytest.mark.parametrize(
    ("ref", "new"),
    [
        ([], []),
        ([1.0], [1.0]),
        ([], [1.0, 2.0]),
        ([2.0] * 5, [2.0] * 4),
        ([1.0, 2.0], []),
        ([2.0] * 5, [1.0, 3.0]),
    ],
)
def test_degenerate_lots_are_words_and_never_nan(design: str, ref: list[float], new: list[float]) -> None:
    lots, row = asked(fleet(design=design), side(ref, "r", [1] * len(ref)), side(new, "n", [2] * len(new)))
    assert row["verdict"] == "inconclusive"
    assert row["reason"] in {"too_few_lots", "no_number_would_do"}
    assert "nan" not in row["sentence"].lower()
    assert row["lots_needed"] is None or row["lots_needed"] > 0
    assert all(v is None or not isinstance(v, float) or isfinite(v) for v in row.values())
    for told in [*ranges_of(lots, "x", "new"), *network_rows(lots, ["new"])]:
        assert all(not isinstance(v, float) or isfinite(v) for v in told.values())


def test_a_side_that_changed_has_no_common_mean() -> None:
    rng = np.random.default_rng(4)
    steady, stepped = rng.normal(1, 0.1, 40), rng.normal(1, 0.1, 30) + np.repeat([0.0, 0.5], 15)
    _, row = asked(fleet(), side(np.exp(steady), "r"), side(np.exp(stepped), "n"))
    assert (row["verdict"], row["reason"], row["lots_needed"]) == ("inconclusive", "unstable", None)
    assert "The site's lots changed after n14 of 2026-01-15" in row["sentence"]
    # A step within the margin leaves the lots alike for this purpose; chance alone raises nothing.
    _, row = asked(fleet(margin=0.7), side(np.exp(steady), "r"), side(np.exp(stepped), "n"))
    assert row["reason"] != "unstable"
    quiet = sum(
        asked(
            fleet(margin=0.05),
            side(np.exp(rng.normal(1, 0.1, 30)), "r"),
            side(np.exp(rng.normal(1, 0.1, 30)), "n"),
        )[1]["reason"]
        == "unstable"
        for _ in range(60)
    )
    assert quiet <= 1


def test_the_size_beside_an_adjusted_verdict_is_what_simulation_finds() -> None:
    rng = np.random.default_rng(5)
    n, m, sds = 30, 6, (1.0, 2.0)
    x = rng.normal(0, 1, n + m)
    site = np.repeat([0.0, 1.0], [n, m])
    spread = np.where(site > 0, sds[1], sds[0])
    design = np.column_stack([np.ones(n + m), site, x])
    reckoned = ancova_size(design, 1, spread**2)
    assert reckoned is not None
    names, patients = ["new" if s else "ref" for s in site], [str(i) for i in range(n + m)]
    hits, runs = 0, 600
    for _ in range(runs):
        y = x + rng.normal(0, 1, n + m) * spread
        found = compare_routine(y, names, reference="ref", patient=patients, numeric={"x": x}).estimates[
            "new"
        ]
        hits += found.ci_high < 0
    assert reckoned > 0.1  # unlike spreads make it liberal, and the verdict says so
    assert hits / runs == pytest.approx(reckoned, abs=4 * (reckoned / runs) ** 0.5)
    assert ancova_size(design, 1, np.ones(n + m)) == pytest.approx(0.05, abs=1e-9)


def test_a_size_above_the_level_is_told_in_the_sentence() -> None:
    rng = np.random.default_rng(11)
    lots, few = np.exp(rng.normal(1, 0.1, 40)), np.exp(rng.normal(1, 0.1, 3))
    _, row = asked(fleet(), side(lots, "r"), side(few, "n"))
    assert row["size"] > 0.0505
    assert f"comparable in {100 * row['size']:.1f} %, not 5 %." in row["sentence"]
    _, row = asked(fleet(), side(lots, "r"), side(np.exp(rng.normal(1, 0.1, 40)), "n"))
    assert "not 5 %" not in row["sentence"]


def test_families_add_up_and_influence_is_told() -> None:
    a, b, _, _ = drawn(1, 60, 60)
    families = [
        {"name": "all", "attributes": ["x", "y"]},
        {"name": "each", "attributes": ["x", "y"], "claim": "each", "adjustment": "holm"},
    ]
    told = fleet(families=families)
    lots, row = asked(told, side(a, "r"), side(b, "n"))
    made = [judged(lots, name, "new") for name in "xy"]
    rows = {(r["family"], r["attribute"]): r for r in family_rows(lots, made)}
    one = rows["all", "x"]
    assert (row["verdict"], one["family_verdict"], one["holds"]) == ("comparable", "comparable", True)
    assert one["p_comparable"] < 0.05
    assert one["p_adjusted"] == one["p_comparable"]
    assert rows["each", "x"]["p_adjusted"] == pytest.approx(2 * one["p_comparable"])
    away = replace(lots, sides={**lots.sides, ("y", "vcn_per_cell", "new"): side(b * 2, "n")})
    made = [judged(away, name, "new") for name in "xy"]
    rows = {(r["family"], r["attribute"]): r for r in family_rows(away, made)}
    assert rows["all", "x"]["family_verdict"] == "not comparable"
    assert (rows["all", "x"]["holds"], rows["each", "x"]["holds"], rows["each", "y"]["holds"]) == (
        False,
        True,
        False,
    )
    few, every = influence_of(away, made[0], most=3), influence_of(away, made[0])
    assert (len(few), len(every)) == (3, 120)
    assert few[0].unit == every[0].unit
    with pytest.raises(ValueError, match="no attribute of this plan"):
        fleet(families=[{"name": "f", "attributes": ["z"]}])
    assert Family(name="f", attributes=("x",)).claim == "all"


def test_four_sites_are_pooled_in_part_and_three_are_not() -> None:
    rng = np.random.default_rng(8)
    told = fleet()
    sides = {("x", "vcn_per_cell", s): side(np.exp(rng.normal(1, 0.2, n)), s) for s, n in
             (("ref", 40), ("a", 20), ("b", 20), ("new", 4))}  # fmt: skip
    lots = Lots(told, sides, 0.05, 0.8)
    rows = {r["site"]: r for r in network_rows(lots, ["a", "b", "new"], "x")}
    new = rows["new"]
    # A site of few lots is drawn towards the others, and its interval is narrower than one that stands alone.
    assert abs(new["pooled_estimate"]) < abs(new["estimate"])
    assert new["pooled_high"] - new["pooled_low"] < new["high"] - new["low"]
    assert new["probability_all_inside"] <= min(r["probability_inside"] for r in rows.values()) + 0.01
    assert 0.0 < new["sd_between"] < 0.2
    # What pooling would wrongly accept as a rule is told beside it, and more of it the fewer the lots.
    assert new["pooled_rule_size"] > rows["a"]["pooled_rule_size"] > 0.05 + 2 * new["pooled_rule_size_error"]
    assert "partial-pooling 1" in new["method_versions"]
    assert new["inputs_hash"] == rows["a"]["inputs_hash"]
    assert all("pooled_estimate" not in r for r in network_rows(lots, ["a", "new"], "x"))


def test_a_quality_range_tells_how_easily_it_is_passed() -> None:
    a, b, _, _ = drawn(2, 20, 10)
    lots, _ = asked(fleet(), side(a, "r"), side(b, "n"))
    rows = {r["range"]: r for r in ranges_of(lots, "x", "new")}
    quality, logs = rows["quality range"], np.log(a)
    assert quality["high"] == pytest.approx(exp(logs.mean() + 3 * logs.std(ddof=1)))
    assert quality["n_inside"] == sum(quality["low"] <= v <= quality["high"] for v in b)
    assert quality["chance_if_same"] > quality["chance_at_margin"] > 0
    assert log(rows["next 5 lots"]["high"]) > log(rows["next lot"]["high"])
    assert "93 can" in rows["tolerance, no distribution"]["note"]
