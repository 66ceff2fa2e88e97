"""Data Docs: each audit leaves a page that stands alone, linked from the run, served to who may see the site."""

from __future__ import annotations

import re
from pathlib import Path

import dagster as dg
import pytest
from small_site import RESULTS, Site, result

from dashboards.app import create_app
from pipelines.ingest.asset import feed_asset
from pipelines.validation import data_docs
from pipelines.validation.audit import AuditFailed, audit
from warehouse import lake
from warehouse.dictionary import dictionary
from warehouse.settings import Settings

GOOD = RESULTS + result(1) + result(2)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.send("results_1.csv", GOOD)
    return site


def test_an_audit_leaves_a_page_that_stands_alone_and_the_run_links_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**site.environment, "CELLFLEET_HOME": site.settings.home}.items():
        monkeypatch.setenv(name, value)
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize([feed_asset(site.contract, "assay")], instance=instance)
    told = {e.check_name: e.metadata for e in done.get_asset_check_evaluations()}
    address = str(told["audit_assay_result"]["data docs"].value)
    assert address == "http://127.0.0.1:8050/data-docs/kleinort/assay/assay_result"
    (page,) = (site.settings.data_docs_path / "kleinort" / "assay" / "assay_result").glob("*.html")
    assert page.stem == done.run_id
    html = page.read_text("utf-8")
    assert "values must never be null" in html
    assert "one row a key and record" in html or "Unexpected rows" in html
    assert re.findall(r"<script|<link|<img|https?://|\son\w+=", html) == []


def test_a_failed_audit_leaves_its_page_without_the_values(site: Site) -> None:
    site.run()
    with lake.opened(site.settings) as con:
        con.execute(
            "CREATE OR REPLACE TABLE insert_assay_result AS SELECT * REPLACE ('Quastenflosser' AS operator) "
            "FROM lake.core.assay_result"
        )
        seen = audit(con, dictionary().tables["assay_result"], "insert_assay_result")
    with pytest.raises(AuditFailed) as caught:
        seen.require()
    failed = caught.value.audit
    assert not failed.success
    data_docs.write(site.settings, [failed], "kleinort", "assay", "failed")
    page = data_docs.folder_of(site.settings, "kleinort", "assay", "assay_result") / "failed.html"
    html = page.read_text("utf-8")
    assert "fa-times" in html
    assert "Quastenflosser" not in html


def test_pages_are_served_and_nothing_beside_them(fleet_home: Path) -> None:
    folder = fleet_home / "data_docs" / "rhein" / "assay" / "assay_result"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "0-run.html").write_text("<p>what was seen</p>", "utf-8")
    client = create_app(Settings(home=str(fleet_home))).server.test_client()
    assert "/data-docs/rhein/assay/assay_result" in client.get("/data-docs").text
    assert "0-run.html" in client.get("/data-docs/rhein/assay/assay_result").text
    assert client.get("/data-docs/rhein/assay/assay_result/0-run.html").text == "<p>what was seen</p>"
    assert client.get("/data-docs/elsewhere/assay/assay_result/0-run.html").status_code == 404
    (fleet_home / "data_docs" / "beside.html").write_text("<p>not this</p>", "utf-8")
    below = "/data-docs/rhein/assay/assay_result"
    assert client.get(f"{below}/absent.html").status_code == 404
    for beyond in (
        f"{below}/../../../beside.html",
        f"{below}/..%2f..%2f..%2fbeside.html",
        "/data-docs/../beside.html",
    ):
        assert "not this" not in client.get(beyond).text
