"""From a picture to what is behind it: lots and their uses, steps and their sensors, counts and their batches."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import drawn, opened
from tests.browser.test_batch_page import snapshot
from tests.browser.test_sensors_page import rows

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

BATCH = "/batch/northgate/NG-B-00004"


def test_a_lot_in_the_genealogy_leads_to_every_batch_made_of_it(
    strict_page: Page, dashboards: str, published_home: Path
) -> None:
    with snapshot(published_home) as con:
        lot, want = con.execute(
            "SELECT parent_id, list(DISTINCT o.child_id ORDER BY o.child_id) FROM mart.genealogy g "
            "JOIN mart.genealogy o USING (site_id, genealogy_kind, parent_id) WHERE g.site_id = 'northgate' "
            "AND g.child_id = 'NG-B-00004' AND g.genealogy_kind = 'lot_to_batch' GROUP BY parent_id "
            "ORDER BY count(DISTINCT o.child_id) DESC, parent_id LIMIT 1"
        ).fetchall()[0]
    opened(strict_page, dashboards + BATCH)
    box = strict_page.locator("#genealogy .annotation", has_text=lot).first
    box.scroll_into_view_if_needed()
    place = box.bounding_box()
    assert place is not None
    strict_page.mouse.move(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    expect(strict_page.locator("#genealogy .hoverlayer")).to_contain_text("where it was used")
    strict_page.mouse.click(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    strict_page.wait_for_url(f"**/lot/northgate/{lot}")
    expect(strict_page.get_by_role("heading", level=1)).to_contain_text(lot)
    told = rows(f"{dashboards}/csv/lot/uses.csv?site=northgate&lot_id={lot}")
    assert sorted({r["Batch"] for r in told}) == want
    strict_page.locator("#about").get_by_role("link").click()
    strict_page.wait_for_url("**/source/*")
    expect(strict_page.get_by_text("SHA-256 of the file")).to_be_visible()


def test_a_step_leads_to_the_sensors_over_it(strict_page: Page, dashboards: str) -> None:
    opened(strict_page, dashboards + BATCH)
    strict_page.locator("#timeline summary", has_text="in a table").click()
    row = strict_page.locator("#timeline tr", has_text="expansion").first
    row.get_by_role("link", name="see").click()
    strict_page.wait_for_url("**/sensors?batches=northgate*from=*to=*")
    drawn(strict_page)
    expect(strict_page.locator(".cf-lede")).to_contain_text("NG-B-00004")


@pytest.mark.parametrize("address", ["/lot/northgate/none", "/lot/nowhere/NG-L-0001"])
def test_a_lot_that_is_not_there_says_so(strict_page: Page, dashboards: str, address: str) -> None:
    strict_page.goto(dashboards + address)
    expect(strict_page.get_by_role("heading", level=1)).to_have_text("There is nothing here")


def test_a_count_of_the_fleet_leads_to_its_batches(
    strict_page: Page, dashboards: str, published_home: Path
) -> None:
    with snapshot(published_home) as con:
        [(site, n)] = con.execute(
            "SELECT site_id, count(*) FROM mart.batch_status WHERE state IN ('released', 'infused') GROUP BY 1 "
            "ORDER BY 1 LIMIT 1"
        ).fetchall()
        signals = dict(
            con.execute(
                "SELECT site_id, count(*) FROM mart.signal WHERE state = 'raised' GROUP BY 1"
            ).fetchall()
        )
    told = rows(f"{dashboards}/csv/fleet/sites.csv")
    assert {r["site"]: int(r["signals"]) for r in told} == {
        r["site"]: signals.get(r["site"], 0) for r in told
    }
    opened(strict_page, dashboards)
    strict_page.locator(f".cf-cards a[href*='sites={site}&state=released']").click()
    strict_page.wait_for_url(f"**/batch?sites={site}&state=released")
    expect(strict_page.locator("#batches-list")).to_contain_text(f"{n} batch")
    assert len(rows(f"{dashboards}/csv/batches/batches.csv?sites={site}&state=released")) == n


def test_the_weeks_of_the_fleet_are_those_of_the_batches(dashboards: str, published_home: Path) -> None:
    with snapshot(published_home) as con:
        want = dict(
            con.execute(
                "SELECT site_id, count(*) FROM mart.batch_wide WHERE batch_started_at > "
                "(SELECT max(batch_started_at) - INTERVAL 12 WEEK FROM mart.batch_wide) GROUP BY 1"
            ).fetchall()
        )
    for row in rows(f"{dashboards}/csv/fleet/sites.csv"):
        assert sum(int(v) for k, v in row.items() if k.startswith("started, ")) == want.get(row["site"], 0)


def test_which_lots_drive_a_difference_is_told_as_in_the_mart(
    strict_page: Page, dashboards: str, published_home: Path
) -> None:
    with snapshot(published_home) as con:
        [(attribute,)] = con.execute(
            "SELECT attribute FROM mart.comparability_influence GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1"
        ).fetchall()
        want = dict(
            con.execute(
                "SELECT site || unit_left_out, shift_in_se FROM mart.comparability_influence WHERE attribute = ?",
                [attribute],
            ).fetchall()
        )
    told = rows(f"{dashboards}/csv/comparability/influence.csv?attr={attribute}")
    assert {
        r["site"] + r["unit left out"]: float(r["Moves by, standard errors"]) for r in told
    } == pytest.approx(want, rel=1e-2, abs=1e-3)
    opened(strict_page, f"{dashboards}/comparability?attr={attribute}")
    expect(strict_page.locator("#influence")).to_contain_text("standard errors")
