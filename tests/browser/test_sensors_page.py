"""The Sensors page in a browser: traces, what stands out, overlay, zoom, the readings and files in the CSV."""

from __future__ import annotations

import csv
import io
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import drawn, opened
from tests.browser.test_batch_page import snapshot

pytestmark = pytest.mark.browser

FLAT = "/sensors?batches=meridian/ME-B-00006"


def rows(address: str) -> list[dict[str, str]]:
    with urllib.request.urlopen(address) as answer:
        return list(csv.DictReader(io.StringIO(answer.read().decode("utf-8"))))


def test_a_flat_line_stands_out_and_its_hours_zoom_there(strict_page: Page, dashboards: str) -> None:
    opened(strict_page, dashboards + FLAT)
    expect(strict_page.locator(".cf-lede")).to_contain_text("stood still")
    row = strict_page.locator("#events tr", has_text="stood still").first
    row.get_by_role("link").click()
    strict_page.wait_for_url("**from=*&to=*")
    drawn(strict_page)
    expect(strict_page.get_by_label("From hour")).not_to_have_value("")


def test_hours_written_in_are_kept_in_the_address(strict_page: Page, dashboards: str) -> None:
    opened(strict_page, dashboards + FLAT)
    strict_page.get_by_label("From hour").fill("20")
    strict_page.get_by_label("To hour").fill("60")
    strict_page.keyboard.press("Tab")
    strict_page.wait_for_url("**from=20&to=60")
    drawn(strict_page)


def test_several_batches_lie_over_each_other_from_the_same_step(strict_page: Page, dashboards: str) -> None:
    opened(strict_page, f"{dashboards}/sensors?batches=rhein/RH-B-00011,prairie/PR-B-00001&align=expansion")
    expect(strict_page.locator(".legendtext", has_text="PR-B-00001")).to_be_visible()
    expect(strict_page.locator(".xtitle")).to_contain_text("start of expansion")


def test_the_csv_holds_every_good_reading_of_a_zoom(dashboards: str, published_home: Path) -> None:
    with snapshot(published_home) as con:
        want = dict(
            con.execute(
                "SELECT channel, count(*) FROM core.reading WHERE batch_id = 'ME-B-00006' AND reading_status = 'good' "
                "AND read_at BETWEEN TIMESTAMPTZ '2026-01-08 19:13:00+00' "
                "AND TIMESTAMPTZ '2026-01-09 19:13:00+00' GROUP BY channel"
            ).fetchall()
        )
        started = con.execute(
            "SELECT batch_started_at = TIMESTAMPTZ '2026-01-07 19:13:00+00' FROM mart.batch_wide "
            "WHERE batch_id = 'ME-B-00006'"
        ).fetchone()
    assert started == (True,)
    told: dict[str, int] = {}
    for row in rows(f"{dashboards}/csv/sensors/traces.csv?batches=meridian/ME-B-00006&from=24&to=48"):
        told[row["channel"]] = told.get(row["channel"], 0) + 1
    assert told == want


def test_each_reading_is_traced_to_a_file_of_its_hash(dashboards: str, published_home: Path) -> None:
    with snapshot(published_home) as con:
        want = dict(
            con.execute(
                "SELECT source_file_sha256, count(*) FROM core.reading WHERE batch_id = 'ME-B-00006' GROUP BY 1"
            ).fetchall()
        )
    told = rows(f"{dashboards}/csv/sensors/files.csv?batches=meridian/ME-B-00006")
    assert {r["SHA-256"]: int(r["Readings"]) for r in told} == want
    assert all(r["File"] for r in told)


def test_a_batch_without_readings_says_so(strict_page: Page, dashboards: str) -> None:
    strict_page.goto(f"{dashboards}/sensors?batches=meridian/none")
    expect(strict_page.get_by_text("None of these batches has readings")).to_be_visible()
