"""The first page in a real browser: verdicts as in the mart, deep links, themes, phones, empty homes, new snapshots."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import served
from tests.conftest import cellfleet

pytestmark = pytest.mark.browser


def test_every_verdict_of_the_mart_is_on_the_page(
    strict_page: Page, dashboards: str, published_home: Path
) -> None:
    with duckdb.connect(
        str((published_home / "published" / "fleet.duckdb").resolve()), read_only=True
    ) as con:
        want = dict(
            con.execute("SELECT verdict, count(*) FROM mart.comparability GROUP BY verdict").fetchall()
        )
    strict_page.goto(dashboards)
    expect(strict_page.get_by_role("heading", level=1)).to_contain_text("same at every site")
    summary = strict_page.locator("h1 + *").first
    for verdict, n in want.items():
        expect(summary).to_contain_text(f"{n} {verdict}")
    expect(strict_page.get_by_text("Synthetic data")).to_be_visible()
    expect(strict_page.get_by_text("routine lots, unadjusted").first).to_be_visible()


def test_the_forest_is_drawn_and_has_its_table(strict_page: Page, dashboards: str) -> None:
    strict_page.goto(dashboards)
    strict_page.wait_for_selector(".js-plotly-plot .scatterlayer", state="attached")
    expect(strict_page.get_by_role("columnheader", name="90 % interval")).to_be_visible()
    assert strict_page.get_by_text("Share chart").count() == 0


def test_an_address_brings_the_same_view_back(strict_page: Page, dashboards: str) -> None:
    strict_page.goto(f"{dashboards}/?attr=vcn")
    expect(strict_page.get_by_text("Vector copy number").first).to_be_visible()
    expect(strict_page).to_have_url(f"{dashboards}/?attr=vcn")


def test_arrows_go_from_verdict_to_verdict(strict_page: Page, dashboards: str) -> None:
    strict_page.goto(f"{dashboards}/?attr=cd3_pct")
    cell = strict_page.locator("tr[data-attribute='cd3_pct'] button").first
    cell.focus()
    strict_page.keyboard.press("ArrowRight")
    strict_page.keyboard.press("ArrowDown")
    expect(strict_page.locator("tr[data-attribute='car_pct'] button").nth(1)).to_be_focused()
    strict_page.wait_for_url("**attr=car_pct")


def test_dark_follows_the_system(strict_page: Page, dashboards: str) -> None:
    strict_page.emulate_media(color_scheme="dark")
    strict_page.goto(dashboards)
    expect(strict_page.locator("html")).to_have_attribute("data-mantine-color-scheme", "dark")


def test_a_phone_needs_no_sideways_scroll(strict_page: Page, dashboards: str) -> None:
    strict_page.set_viewport_size({"width": 390, "height": 844})
    strict_page.goto(dashboards)
    expect(strict_page.get_by_role("heading", level=1)).to_be_visible()
    assert strict_page.evaluate("document.documentElement.scrollWidth") <= 390


def test_an_empty_home_says_what_to_do_and_then_shows_what_is_published(
    strict_page: Page, tmp_path: Path, published_home: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with served(home) as url:
        strict_page.goto(url)
        expect(strict_page.get_by_text("cellfleet run").first).to_be_visible()
        target = home / "published"
        target.mkdir()
        source = (published_home / "published" / "fleet.duckdb").resolve()
        (target / source.name).write_bytes(source.read_bytes())
        (target / "fleet.duckdb").symlink_to(source.name)
        expect(strict_page.get_by_text("inconclusive").first).to_be_visible(timeout=60_000)


def test_status_on_the_command_line_names_the_same_snapshot(dashboards: str, published_home: Path) -> None:
    del dashboards
    assert '"snapshot": 1' in cellfleet(published_home, "status", "--json").stdout
