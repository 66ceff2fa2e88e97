"""Verdicts from lots, and the plan they are made under."""

from __future__ import annotations

from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy import stats

from warehouse.marts import comparability
from warehouse.marts.build import build
from warehouse.plan import Fleet, PlanError, load_plan

PLAN: dict[str, Any] = {
    "name": "Test",
    "reference_site": "a",
    "plan": {
        "id": "P", "version": "2", "dated": "2025-01-01", "approved_by_role": "quality", "basis": "none",
        "attributes": {
            "vcn": {
                "title": "VCN", "measured_by": ["vcn_per_cell", "vcn_per_transduced_cell"], "methods": ["ddpcr"],
                "sample_point": "release", "scale": "log", "margin_low": -log(1.25), "margin_high": log(1.25),
                "criticality": "critical", "rationale": "none", "sd_ratio_max": 4.0,
            },
            "cd3": {
                "title": "CD3", "measured_by": ["cd3_pct"], "sample_point": "release", "scale": "logit",
                "margin_low": None, "margin_high": None, "criticality": "key", "rationale": "none",
            },
        },
        "bridging": [{"study": "B1", "sites": ["a", "b", "c"], "attributes": ["vcn", "cd3"], "found": "They agreed."}],
    },
}  # fmt: skip
FLEET = Fleet.model_validate(PLAN)


def lots(
    lake: Any,
    site: str,
    values: list[list[float]],
    attribute: str = "vcn_per_cell",
    method: str = "ddpcr",
    operator: str = "=",
) -> None:
    batches, samples, results = [], [], []
    for i, replicates in enumerate(values):
        batch = {"site_id": site, "batch_id": f"{site}{i}"}
        batches.append(
            batch | {"order_id": f"{site}O{i}", "harvested_at": f"2026-02-{i % 27 + 1:02d}T00:00:00+00:00"}
        )
        samples.append(
            batch
            | {"sample_id": f"{site}S{i}", "sample_point": "release", "taken_at": "2026-03-01T00:00:00+00:00"}
        )
        results += [
            batch | {"sample_id": f"{site}S{i}", "result_id": f"{site}R{i}{attribute}{operator}{k}",
                     "attribute": attribute,
                     "method_id": method, "value": v, "operator": operator, "replicate": k + 1, "lab_site": site}
            for k, v in enumerate(replicates)
        ]  # fmt: skip
    lake.add("batch", *batches)
    lake.add("sample", *samples)
    lake.add("assay_result", *results)


def drawn(seed: int, n: int, shift: float = 0.0, sd: float = 0.1) -> list[list[float]]:
    return [[float(v)] for v in np.exp(np.random.default_rng(seed).normal(0.6 + shift, sd, n))]


def verdict(lake: Any, fleet: Fleet = FLEET, attribute: str = "vcn") -> dict[str, Any]:
    build(lake.con, "snap", fleet, 7)
    row: dict[str, Any] = lake.one(f"SELECT * FROM snap.mart.comparability WHERE attribute = '{attribute}'")
    return row


def test_the_interval_is_welchs_on_the_scale(small_lake: Any) -> None:
    ref, new = drawn(1, 20), drawn(2, 12, sd=0.1)
    lots(small_lake, "a", ref)
    lots(small_lake, "b", new)
    row = verdict(small_lake)
    x, y = np.log(np.ravel(ref)), np.log(np.ravel(new))
    interval = stats.ttest_ind(y, x, equal_var=False).confidence_interval(0.90)
    assert row["estimate"] == pytest.approx(y.mean() - x.mean())
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((interval.low, interval.high))
    assert (row["margin_low"], row["margin_high"]) == pytest.approx((-log(1.25), log(1.25)))
    assert (row["verdict"], row["reason"]) == ("comparable", None)
    assert (row["n_reference"], row["n_site"], row["snapshot"]) == (20, 12, 7)
    assert (row["design"], row["decided_by"]) == ("routine lots, unadjusted", "mean")
    ratio = y.std(ddof=1) / x.std(ddof=1)
    assert row["sd_ratio"] == pytest.approx(ratio)
    assert row["sd_ratio_low"] == pytest.approx(ratio / np.sqrt(stats.f.ppf(0.95, 11, 19)))
    assert "joined by study B1: They agreed." in row["sentence"]


def test_replicates_make_one_lot_and_other_methods_do_not_count(small_lake: Any) -> None:
    lots(small_lake, "a", drawn(1, 9))
    lots(small_lake, "b", [[1.0, 4.0], [2.0, 2.2], [1.9]])
    lots(small_lake, "c", drawn(2, 9), method="qpcr")
    build(small_lake.con, "snap", FLEET, 1)
    rows = {
        r["site"]: r for r in small_lake.all("SELECT * FROM snap.mart.comparability WHERE attribute = 'vcn'")
    }
    assert (rows["b"]["n_site"], rows["c"]["n_site"]) == (3, 0)
    assert (rows["c"]["verdict"], rows["c"]["reason"]) == ("inconclusive", "too_few_lots")
    lot = small_lake.one("SELECT * FROM snap.mart.comparability_lots WHERE batch_id = 'b0'")
    assert (lot["value"], lot["value_on_scale"], lot["replicates"]) == (
        pytest.approx(2.0),
        pytest.approx(log(2)),
        2,
    )
    assert lot["record_id"] in lot["record_ids"].split(",")


def test_unlike_methods_are_never_pooled(small_lake: Any) -> None:
    lots(small_lake, "a", drawn(1, 15))
    lots(small_lake, "b", drawn(2, 15), attribute="vcn_per_transduced_cell")
    row = verdict(small_lake)
    assert (row["verdict"], row["reason"], row["estimate"]) == ("inconclusive", "unlike_methods", None)
    assert row["measured_as"] == "vcn_per_cell / vcn_per_transduced_cell"
    assert (row["n_reference"], row["n_site"]) == (15, 15)


def test_a_shift_beyond_the_margin_is_not_comparable(small_lake: Any) -> None:
    lots(small_lake, "a", drawn(1, 25))
    lots(small_lake, "b", drawn(2, 25, shift=0.5))
    row = verdict(small_lake)
    assert (row["verdict"], row["reason"], row["lots_needed"]) == ("not comparable", None, None)


def test_equal_on_average_but_noisier_does_not_pass(small_lake: Any) -> None:
    lots(small_lake, "a", drawn(1, 60, sd=0.05))
    lots(small_lake, "b", drawn(2, 60, sd=0.3))
    row = verdict(small_lake)
    assert row["margin_low"] < row["ci_low"] < row["ci_high"] < row["margin_high"]
    assert row["sd_ratio_low"] > row["sd_ratio_max"]
    assert (row["verdict"], row["decided_by"]) == ("not comparable", "variability")
    assert "in spread" in row["sentence"]


def test_without_a_limit_on_spread_the_verdict_is_on_means_only(small_lake: Any) -> None:
    lots(small_lake, "a", drawn(1, 25))
    lots(small_lake, "b", drawn(2, 25))
    told = yaml.safe_load(yaml.safe_dump(PLAN))
    del told["plan"]["attributes"]["vcn"]["sd_ratio_max"]
    row = verdict(small_lake, Fleet.model_validate(told))
    assert (row["verdict"], row["reason"]) == ("inconclusive", "means_only")
    assert row["design"] == "routine lots, unadjusted, means only"


def test_lots_of_each_sites_own_laboratory_are_held_back_without_a_bridging_study(small_lake: Any) -> None:
    lots(small_lake, "a", drawn(1, 25))
    lots(small_lake, "b", drawn(2, 25))
    told = yaml.safe_load(yaml.safe_dump(PLAN))
    del told["plan"]["bridging"]
    row = verdict(small_lake, Fleet.model_validate(told))
    assert (row["verdict"], row["reason"], row["lots_needed"]) == ("inconclusive", "lab_confounded", None)
    # The interval stays visible; only the word is held back.
    assert row["ci_low"] is not None
    beside = small_lake.all(
        "SELECT * FROM snap.mart.comparability_analysis WHERE attribute = 'vcn' AND decides"
    )
    assert [(b["analysis"], b["place"]) for b in beside] == [("the plan's", "inside")]
    read = comparability.read_lots(small_lake.con, "snap", FLEET, alpha=0.05, power=0.8)
    assert comparability.verdict(read, "vcn", "b")["verdict"] == "comparable"
    # One name at both sites is two places, unless the plan says that it is one.
    told["plan"]["shared_laboratories"] = ["a", "b"]
    shared = Fleet.model_validate(told)
    read = comparability.read_lots(small_lake.con, "snap", shared, alpha=0.05, power=0.8)
    assert read.of("vcn", "vcn_per_cell", "b").labs == {"b"}


def test_few_noisy_lots_are_inconclusive_and_say_how_many_more(small_lake: Any) -> None:
    lots(small_lake, "a", drawn(1, 40, sd=0.3))
    lots(small_lake, "b", drawn(3, 5, sd=0.3))
    row = verdict(small_lake)
    assert (row["verdict"], row["reason"]) == ("inconclusive", "too_few_lots")
    assert row["lots_needed"] > 0


def test_a_site_that_changed_on_the_way_is_unstable(small_lake: Any) -> None:
    """Twelve lots, then twelve half as high again: harvested in this order, so there is no mean to compare."""
    lots(small_lake, "a", drawn(1, 25))
    lots(small_lake, "b", drawn(2, 12) + drawn(3, 12, shift=0.5))
    row = verdict(small_lake)
    assert (row["verdict"], row["reason"], row["lots_needed"]) == ("inconclusive", "unstable", None)
    assert "The site's lots changed after b11 of 2026-02-12" in row["sentence"]


def test_no_margin_gives_no_verdict(small_lake: Any) -> None:
    lots(small_lake, "a", [[90.0], [91.0], [92.0]], attribute="cd3_pct")
    lots(small_lake, "b", [[90.0], [91.0], [92.5]], attribute="cd3_pct")
    assert verdict(small_lake, attribute="cd3")["reason"] == "no_margin"


def test_censored_lots_stay_out_of_the_means_and_are_told(small_lake: Any) -> None:
    lots(small_lake, "a", drawn(1, 10))
    lots(small_lake, "b", drawn(2, 10))
    before = verdict(small_lake)
    lots(small_lake, "b", [[0.1], [0.1]], operator="<")
    row = verdict(small_lake)
    # Lots b0 and b1 now have a censored replicate each.
    assert (before["n_site"], row["n_site"]) == (10, 8)
    assert "0 reference and 2 site lots with a result below or above a limit of detection" in row["sentence"]
    assert row["inputs_hash"] != before["inputs_hash"]


def test_the_change_since_the_previous_snapshot_says_why(small_lake: Any, tmp_path: Path) -> None:
    lots(small_lake, "a", drawn(1, 20))
    lots(small_lake, "b", drawn(2, 4, sd=0.2))
    build(small_lake.con, "snap", FLEET, 1)
    small_lake.con.execute("DETACH snap")
    past = tmp_path / "past.duckdb"
    (tmp_path / "snap.duckdb").rename(past)
    small_lake.con.execute(f"ATTACH '{tmp_path / 'snap.duckdb'}' AS snap")
    lots(small_lake, "b", drawn(3, 20))
    build(small_lake.con, "snap", FLEET, 2, past)
    row = small_lake.one("SELECT * FROM snap.mart.change WHERE attribute = 'vcn'")
    assert (row["verdict_before"], row["verdict_after"], row["moved"]) == ("inconclusive", "comparable", True)
    assert row["why"] == "+16 lots of the site"


def test_the_plan_is_in_the_snapshot_with_its_hash(small_lake: Any) -> None:
    build(small_lake.con, "snap", FLEET, 1)
    rows = small_lake.all("SELECT * FROM snap.mart.plan")
    assert [r["attribute"] for r in rows] == ["vcn", "cd3"]
    assert {r["plan_hash"] for r in rows} == {FLEET.plan_hash}


def written(tmp_path: Path, change: Any) -> Path:
    document = yaml.safe_load(yaml.safe_dump(PLAN))
    change(document)
    path = tmp_path / "fleet.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def test_a_written_plan_is_read_with_the_same_hash(tmp_path: Path) -> None:
    path = written(tmp_path, lambda d: d)
    assert load_plan(path) == FLEET
    path.write_text("# told otherwise\n" + path.read_text().replace("version: '2'", "version: 2"))
    assert load_plan(path).plan_hash == FLEET.plan_hash
    changed = written(tmp_path, lambda d: d["plan"]["attributes"]["vcn"].update(margin_high=0.3))
    assert load_plan(changed).plan_hash != FLEET.plan_hash


@pytest.mark.parametrize(
    ("change", "key", "words"),
    [
        (lambda d: d["plan"]["attributes"]["vcn"].update(margin_low=0.8), "vcn:", "natural logarithm"),
        (lambda d: d["plan"]["attributes"]["vcn"].update(scale="cubic"), "scale: cubic", "identity"),
        (lambda d: d["plan"]["attributes"]["vcn"].update(scale="logit"), "vcn:", "percentages"),
        (lambda d: d["plan"]["attributes"]["vcn"].update(measured_by=["vnc"]), "measured_by:", "no attribute"),
        (lambda d: d["plan"]["attributes"]["vcn"].update(sample_point="lunch"), "sample_point: lunch", "harvest"),
        (lambda d: d["plan"].update(colour="red"), "colour: red", "unknown key"),
        (lambda d: d["plan"].pop("dated"), "plan:", "missing"),
        (lambda d: d.update(deadlines={"x": {"from": "birth", "to": "signed_at", "hours": 1, "severity": "error",
                                             "why": "w"}}), "from: birth", "ordered_at"),
    ],
)  # fmt: skip
def test_a_wrong_plan_is_refused_with_file_and_line(
    tmp_path: Path, change: Any, key: str, words: str
) -> None:
    path = written(tmp_path, change)
    with pytest.raises(PlanError) as refused:
        load_plan(path)
    problem = refused.value.problems[0]
    where, line = problem.split(":")[0], int(problem.split(":")[1])
    assert where == str(path)
    assert key in path.read_text().splitlines()[line - 1]
    assert words in problem
