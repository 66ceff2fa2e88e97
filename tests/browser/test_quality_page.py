"""The Data quality page in a browser: sums as in the lake, and from a count to its rows, file and hash."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import opened
from tests.browser.test_batch_page import snapshot
from tests.browser.test_sensors_page import rows

pytestmark = pytest.mark.browser


def test_what_was_received_adds_up_on_the_page(
    strict_page: Page, dashboards: str, published_home: Path
) -> None:
    with snapshot(published_home) as con:
        [(received,)] = con.execute("SELECT sum(received) FROM quality.accounting").fetchall()
    opened(strict_page, f"{dashboards}/quality")
    expect(strict_page.locator(".cf-lede")).to_contain_text(
        f"Each of {received:,} records received is accounted for"
    )
    expect(strict_page.locator("#accounting tbody tr").last).to_contain_text(f"{received:,}")


def test_the_open_quarantine_is_what_the_accounting_says(dashboards: str, published_home: Path) -> None:
    with snapshot(published_home) as con:
        want = con.execute(
            "SELECT sum(quarantined), sum(fields_quarantined) FROM quality.accounting"
        ).fetchone()
    told = rows(f"{dashboards}/csv/quality/quarantine.csv")
    records = {
        (r["Site"], r["Feed"], r["SHA-256 of the file"], r["Row"]) for r in told if r["Set aside"] == "record"
    }
    fields = [r for r in told if r["Set aside"] == "field"]
    assert (len(records), len(fields)) == want


def test_a_count_leads_to_its_rows_with_file_and_hash(strict_page: Page, dashboards: str) -> None:
    opened(strict_page, f"{dashboards}/quality")
    strict_page.locator("#held").get_by_role("row", name="number_format").get_by_role("link").first.click()
    strict_page.wait_for_url("**rows=quarantine&reason=number_format#rows")
    row = strict_page.locator("#quality-rows .ag-center-cols-container .ag-row").first
    expect(row).to_contain_text("number format")


def test_findings_are_chosen_in_the_address_and_lead_to_their_source(
    strict_page: Page, dashboards: str
) -> None:
    opened(strict_page, f"{dashboards}/quality?rows=findings&reason=lot_unknown")
    link = strict_page.locator("#quality-rows .ag-center-cols-container a").first
    link.click()
    strict_page.wait_for_url("**/source/*")
    expect(strict_page.get_by_text("SHA-256 of the file")).to_be_visible()


def test_choosing_findings_changes_rows_and_address(strict_page: Page, dashboards: str) -> None:
    opened(strict_page, f"{dashboards}/quality")
    strict_page.locator("#rows").get_by_text("Findings", exact=True).click()
    strict_page.wait_for_url("**rows=findings")
    expect(strict_page.locator("#quality-rows")).to_contain_text("What was seen")
