"""Control charts and Vein to vein in a browser: figures as in the marts, drill-down, address."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import drawn, opened
from tests.browser.test_batch_page import snapshot
from tests.browser.test_sensors_page import rows

pytestmark = pytest.mark.browser


def test_every_series_of_the_mart_is_on_the_page(
    strict_page: Page, dashboards: str, published_home: Path
) -> None:
    with snapshot(published_home) as con:
        [(n,)] = con.execute(
            "SELECT count(*) FROM (SELECT DISTINCT site, attribute, measured_as FROM mart.chart_limit)"
        ).fetchall()
    opened(strict_page, f"{dashboards}/charts")
    expect(strict_page.locator(".cf-lede")).to_contain_text(f"{n} series")
    assert len(rows(f"{dashboards}/csv/charts/overview.csv")) == n


def test_a_series_is_in_the_address_and_says_who_declared_its_limits(
    strict_page: Page, dashboards: str
) -> None:
    opened(strict_page, f"{dashboards}/charts?series=northgate|cd3_pct|cd3_pct&charts=I&rules=nelson")
    expect(strict_page.locator("#chart-title")).to_contain_text("Northgate")
    expect(strict_page.locator("#limits")).to_contain_text("Phase 1")
    strict_page.locator("#overview").get_by_role("link").first.click()
    strict_page.wait_for_url("**/charts?series=*#chart")
    drawn(strict_page)


def test_points_of_a_chart_are_those_of_the_mart(dashboards: str, published_home: Path) -> None:
    with snapshot(published_home) as con:
        want = dict(
            con.execute(
                "SELECT chart || ' ' || batch_id, value FROM mart.chart_point WHERE site = 'northgate' "
                "AND attribute = 'cd3_pct' AND value IS NOT NULL"
            ).fetchall()
        )
    told = rows(f"{dashboards}/csv/charts/points.csv?series=northgate|cd3_pct|cd3_pct")
    assert {f"{r['chart']} {r['batch id']}": float(r["value"]) for r in told if r["value"]} == pytest.approx(
        want, rel=1e-3, abs=1e-4
    )


def test_days_choose_which_batches_are_charted(
    strict_page: Page, dashboards: str, published_home: Path
) -> None:
    with snapshot(published_home) as con:
        day, n = con.execute(
            "SELECT median(batch_started_at)::DATE AS day, (SELECT count(*) FROM mart.chart_point p WHERE "
            "p.site = 'northgate' AND p.attribute = 'cd3_pct' AND p.chart = 'I' AND p.batch_started_at::DATE >= "
            "median(q.batch_started_at)::DATE) FROM mart.chart_point q WHERE site = 'northgate' "
            "AND attribute = 'cd3_pct' AND chart = 'I'"
        ).fetchall()[0]
    series = "series=northgate|cd3_pct|cd3_pct&charts=I"
    told = rows(f"{dashboards}/csv/charts/points.csv?{series}&from={day}")
    assert sum(r["chart"] == "I" for r in told) == n > 0
    opened(strict_page, f"{dashboards}/charts?{series}&from=yesterday")
    expect(strict_page.locator("#charts-content")).to_contain_text("yesterday is no day")


def test_what_is_delivered_is_told_by_titles_with_the_limit_and_who_declares_it(
    strict_page: Page, dashboards: str, published_home: Path
) -> None:
    with snapshot(published_home) as con:
        want = con.execute("SELECT count(*), any_value(specification) FROM mart.capability").fetchall()[0]
    opened(strict_page, f"{dashboards}/charts")
    panel = strict_page.locator("#capability")
    expect(panel.locator("tbody tr")).to_have_count(want[0])
    expect(panel).to_contain_text("CD3+ share of viable cells")
    expect(panel).to_contain_text(want[1])
    expect(panel).not_to_contain_text("cd3_pct")
    assert strict_page.locator("#capability .cf-long").evaluate("e => e.clientHeight") <= 460


def test_open_orders_are_drawn_and_an_interval_of_the_medians_is_chosen_by_a_click(
    strict_page: Page, dashboards: str
) -> None:
    opened(strict_page, f"{dashboards}/vein-to-vein")
    expect(strict_page.locator("#risk .xtitle")).to_contain_text("Days since the order")
    bar = strict_page.locator("#medians .barlayer .trace").nth(3).locator(".point path").first
    bar.scroll_into_view_if_needed()
    place = bar.bounding_box()
    assert place is not None
    strict_page.mouse.move(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    expect(strict_page.locator("#medians .hoverlayer")).to_contain_text("its orders")
    strict_page.mouse.click(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    strict_page.wait_for_url("**step=start_to_harvest_h*")
    expect(strict_page.locator("#orders .xtitle")).to_contain_text("Start to harvest")


def test_the_median_from_vein_to_vein_is_that_of_the_mart(
    strict_page: Page, dashboards: str, published_home: Path
) -> None:
    with snapshot(published_home) as con:
        want = dict(
            con.execute(
                "SELECT site_id, median(vein_to_vein_h) / 24 FROM mart.vein_to_vein GROUP BY site_id"
            ).fetchall()
        )
    [told] = [r for r in rows(f"{dashboards}/csv/vein/medians.csv") if r["Interval, days"] == "vein to vein"]
    assert {s: float(told[f"{s}, median"]) for s in want} == pytest.approx(want, rel=5e-3)
    opened(strict_page, f"{dashboards}/vein-to-vein")
    expect(strict_page.locator(".cf-lede")).to_contain_text(f"{want['northgate']:.1f} d")


def test_the_interval_is_chosen_in_the_address(strict_page: Page, dashboards: str) -> None:
    opened(strict_page, f"{dashboards}/vein-to-vein?step=harvest_to_release_h")
    expect(strict_page.locator("#orders .xtitle")).to_contain_text("Harvest to release")


def test_open_orders_are_those_that_have_not_ended(dashboards: str, published_home: Path) -> None:
    with snapshot(published_home) as con:
        [(n,)] = con.execute(
            "SELECT count(*) FROM mart.vein_to_vein WHERE status IN ('awaiting_collection', 'awaiting_start', "
            "'in_process', 'awaiting_release', 'awaiting_infusion')"
        ).fetchall()
    assert len(rows(f"{dashboards}/csv/vein/open.csv")) == n
