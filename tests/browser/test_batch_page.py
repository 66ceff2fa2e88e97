"""The Batch page in a browser: states, limits, the way to the row and hash, and a list that leads to each batch."""

from __future__ import annotations

import csv
import io
import urllib.request
from pathlib import Path

import duckdb
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import opened

pytestmark = pytest.mark.browser

FAILED = "/batch/northgate/NG-B-00004"


def snapshot(home: Path) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(str((home / "published" / "fleet.duckdb").resolve()), read_only=True)


def test_a_result_outside_its_limit_leads_to_its_row_and_hash(
    strict_page: Page, dashboards: str, published_home: Path
) -> None:
    with snapshot(published_home) as con:
        record, sha = con.execute(
            "SELECT a.record_id, r.source_file_sha256 FROM mart.assay_long a "
            "JOIN core.assay_result r USING (record_id) WHERE a.batch_id = 'NG-B-00004' AND a.passes = false"
        ).fetchall()[0]
    opened(strict_page, dashboards + FAILED)
    expect(strict_page.locator(".cf-lede")).to_contain_text("outside")
    row = strict_page.locator("#results tr", has_text="outside").first
    row.get_by_role("link").first.click()
    strict_page.wait_for_url(f"**/source/{record}*")
    expect(strict_page.get_by_text(sha)).to_be_visible()


def test_every_result_of_the_mart_is_in_the_csv_as_told(dashboards: str, published_home: Path) -> None:
    with snapshot(published_home) as con:
        want = dict(
            con.execute(
                "SELECT record_id, value FROM mart.assay_long WHERE batch_id = 'NG-B-00004' AND value IS NOT NULL"
            ).fetchall()
        )
    address = f"{dashboards}/csv/batch/results.csv?site=northgate&batch_id=NG-B-00004"
    with urllib.request.urlopen(address) as answer:
        rows = list(csv.DictReader(io.StringIO(answer.read().decode("utf-8"))))
    told = {r["record"]: float(r["value"]) for r in rows if r["value"]}
    assert told == pytest.approx(want)


def test_the_list_leads_to_a_batch_and_keeps_the_sites(strict_page: Page, dashboards: str) -> None:
    opened(strict_page, f"{dashboards}/batch?sites=meridian")
    strict_page.get_by_role("link", name="ME-B-00013").click()
    strict_page.wait_for_url("**/batch/meridian/ME-B-00013?sites=meridian")
    expect(strict_page.get_by_role("heading", level=1)).to_contain_text("ME-B-00013")


def test_a_second_attempt_names_the_first_and_the_unknown_lot_is_marked(
    strict_page: Page, dashboards: str
) -> None:
    opened(strict_page, f"{dashboards}/batch/meridian/ME-B-00006-2")
    expect(strict_page.locator("#standing")).to_contain_text("2 of 2 for this order")
    strict_page.locator("#standing").get_by_role("link", name="ME-B-00006").first.click()
    expect(strict_page.get_by_role("heading", level=1)).to_have_text("What happened to batch ME-B-00006?")
    opened(strict_page, f"{dashboards}/batch/northgate/NG-B-00012")
    expect(strict_page.locator("#genealogy")).to_contain_text("unknown lot")


def test_times_are_told_with_their_zone(strict_page: Page, dashboards: str) -> None:
    opened(strict_page, f"{dashboards}/batch/prairie/PR-B-00009")
    expect(strict_page.locator("#standing")).to_contain_text("America/Chicago")
    expect(strict_page.locator("#custody")).to_contain_text("CST")


def test_g_and_b_go_to_the_batches(strict_page: Page, dashboards: str) -> None:
    opened(strict_page, dashboards)
    strict_page.keyboard.press("g")
    strict_page.keyboard.press("b")
    expect(strict_page.get_by_role("heading", level=1)).to_have_text("Where does each batch stand?")
