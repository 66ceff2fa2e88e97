"""What a check shows in Dagster: expectations with their queries, and what waits, by reason, with samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from small_site import ORDERS, RESULTS, Site, result

from pipelines.ingest.asset import feed_asset


def checks_of(site: Site, feed: str) -> dict[str, tuple[bool, dict[str, Any]]]:
    """Checks of a real run of one feed: whether each passed, and its metadata."""
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize([feed_asset(site.contract, feed)], instance=instance)
    return {e.check_name: (e.passed, dict(e.metadata)) for e in done.get_asset_check_evaluations()}


def test_checks_show_queries_and_samples_and_no_identifier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(tmp_path)
    for name, value in {**site.environment, "CELLFLEET_HOME": site.settings.home}.items():
        monkeypatch.setenv(name, value)
    site.send("results_1.csv", RESULTS + result(1) + result(2, "many"))
    told = checks_of(site, "assay")
    passed, evidence = told["nothing_waits"]
    assert not passed
    (row,) = evidence["samples"].records
    assert (row.data["reason_code"], row.data["entries"]) == ("number_format", 1)
    assert row.data["samples"] in ("results_1.csv:2 many", "results_1.csv:3 many")
    assert "FROM mart.quarantine_open WHERE site_id = 'kleinort'" in evidence["query"].value
    audited, expectations = told["audit_assay_result"]
    assert audited
    rows = expectations["expectations"].records
    assert {r.data["severity"] for r in rows} == {"critical"}
    assert {"missing_value", "out_of_range", "code_unknown"} <= {r.data["reason"] for r in rows}
    queries = {r.data["query"] for r in expectations["expectations"].records}
    assert "SELECT * FROM core.assay_result WHERE sample_id IS NULL" in queries
    assert all(q.startswith("SELECT ") and "{" not in q for q in queries)
    site.send("orders_1.csv", ORDERS + "O1,4711,Meier Anna,born badly,P,,2026-02-01T10:00:00Z\n")
    waiting = str(checks_of(site, "order")["nothing_waits"][1])
    assert "orders_1.csv:1" in waiting
    assert all(secret not in waiting for secret in ("4711", "Meier", "badly"))
