"""Drift of a feed is named by its cause, with the contract line that accepts it, and waits until that is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from small_site import RESULTS, Site, attributes

from pipelines.harmonise.contract import TYPE, Contract
from pipelines.ingest.reprocess import reread
from pipelines.validation.drift import _alike, _other_unit
from warehouse.dictionary import dictionary

IFN = "ifn_gamma_pg_ml"
SEED = 20260309


def row(number: int, value: float) -> str:
    return f"R{number},S{number},ifn,{value:.4g},pg/mL,2026-02-01T09:00:00Z,2026-02-01T10:00:00Z\n"


def mend(site: Site, change: Any) -> None:
    content = yaml.safe_load(site.contract_file.read_text("utf-8"))["attributes"]
    change(content["feeds"]["assay"])
    site.contract_file.write_text(
        yaml.safe_dump({"type": TYPE, "attributes": content}, sort_keys=False), "utf-8"
    )


def test_another_unit_and_another_name_are_told_set_aside_and_accepted_by_the_proposed_line(
    tmp_path: Path,
) -> None:
    content = attributes(units={"pg/mL": "pg/mL"}, codes={"attribute": {"ifn": IFN}})
    site = Site(tmp_path, content)
    values = np.random.default_rng(SEED).lognormal(7.3, 0.3, 25)
    site.send("results_1.csv", RESULTS + "".join(row(n, v) for n, v in enumerate(values)))
    site.send(
        "results_2.csv", RESULTS + "".join(row(100 + n, v / 1000) for n, v in enumerate(values[:4])), 24
    )
    renamed = RESULTS.replace("result,unit", "reading,unit")
    site.send("results_3.csv", renamed + "".join(row(200 + n, v) for n, v in enumerate(values[:3])), 48)
    assert site.run().accounting["promoted"] == 25
    told = dict(site.rows("SELECT reason_code, detail FROM lake.quality.finding WHERE severity = 'error'"))
    assert set(told) == {"unit_drift", "column_renamed"}
    assert "looks like ng/mL instead of pg/mL" in told["unit_drift"]
    assert 'unit: "ng/mL"' in told["unit_drift"]
    assert "first: [result, reading]" in told["column_renamed"]
    waiting = "SELECT reason_code, count(*) FROM current.quarantine GROUP BY ALL ORDER BY ALL"
    assert site.rows(waiting) == [("column_missing", 3), ("unit_drift", 4)]

    def accept(feed: dict[str, Any]) -> None:
        feed["accepted"] = {IFN: "2026-03-02"}
        result = feed["tables"][0]["columns"]["result"]
        feed["tables"][0]["columns"]["result"] = {
            "first": ["result", "reading"],
            "unit_from": result["unit_from"],
        }

    mend(site, accept)
    done = reread(site.settings, site.contract, "assay", "replay", only_open=True, apply=True)
    assert done.accounting["promoted"] == 32
    assert site.rows(waiting) == []


@pytest.fixture(scope="module")
def contract() -> Contract:
    return Contract.model_validate(attributes())


@pytest.mark.parametrize(("unit", "factor"), [("ng/mL", 1e-3), ("ug/mL", 1e-6), ("ng/L", None)])
def test_each_other_unit_is_named_whatever_the_spread(
    contract: Contract, unit: str, factor: float | None
) -> None:
    field = dictionary().fields[IFN]
    rng = np.random.default_rng(SEED)
    for spread in (0.05, 0.2, 0.4):
        past = rng.lognormal(7.3, spread, 60)
        now = rng.lognormal(7.3, spread, 5)
        assert _other_unit(now, past, field, "pg/mL", contract) is None
        if factor is not None:
            assert _other_unit(now * factor, past, field, "pg/mL", contract) == unit


def test_a_process_that_moved_is_not_taken_for_another_unit(contract: Contract) -> None:
    """No alarm in 2,000 files of 3 to 20 values whose level moved by up to threefold, or not at all."""
    field = dictionary().fields[IFN]
    rng = np.random.default_rng(SEED)
    alarms = 0
    for _ in range(2000):
        past = rng.lognormal(7.3, 0.3, rng.integers(20, 200))
        now = rng.lognormal(7.3, 0.3, rng.integers(3, 20)) * np.exp(rng.uniform(-1, 1) * rng.integers(0, 2))
        alarms += _other_unit(now, past, field, "pg/mL", contract) is not None
    assert alarms == 0


def test_columns_are_alike_by_what_they_say(contract: Contract) -> None:
    del contract
    past = [f"{v:.1f}" for v in np.linspace(80, 99, 40)]
    assert _alike(past, ["91.0", "88.2", "95.5"], ".") == "median 91 against 89.5"
    assert _alike(past, ["0.91", "0.88", "0.95"], ".") is None
    assert _alike(["fresh", "frozen"], ["frozen", "frozen"], ".") == "the same words"
    assert _alike(["B-0012", "B-0913"], ["B-7001"], ".") == "texts of the same shape"
    assert _alike(past, ["B-7001"], ".") is None


def test_a_column_of_numbers_and_words_is_known_again(contract: Contract) -> None:
    """Results of several tests stand in one column: as many words as before, the same, and numbers where they lay."""
    del contract
    past = [f"{v:.1f}" for v in np.linspace(0.5, 99, 60)] + ["negative"] * 15 + ["positive"]
    now = [f"{v:.1f}" for v in np.linspace(3, 95, 16)] + ["negative"] * 4
    assert (_alike(past, now, ".") or "").startswith("median")
    assert _alike(past, [f"{v * 1000:.0f}" for v in range(1, 17)] + ["negative"] * 4, ".") is None
    assert _alike(past, now[:16] + ["failed"] * 4, ".") is None
    assert _alike(past, [f"{v:.1f}" for v in np.linspace(3, 95, 4)] + ["negative"] * 16, ".") is None
