"""Of every page: no complaint, no serious finding of axe, no sideways scroll, both themes, paper, its CSV."""

from __future__ import annotations

import urllib.request

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import drawn, opened

pytestmark = pytest.mark.browser

PAGES = {
    "fleet": "/",
    "comparability": "/comparability",
    "batches": "/batch",
    "batch": "/batch/northgate/NG-B-00004",
    "lot": "/lot/northgate/NG-L-0001",
    "release": "/release?of=all",
    "charts": "/charts",
    "vein to vein": "/vein-to-vein",
    "quality": "/quality?rows=findings",
    "report": "/report?attrs=vcn",
    "sensors": "/sensors?batches=meridian/ME-B-00006",
    "sensors of three": "/sensors?batches=rhein/RH-B-00011,rhein/RH-B-00010,prairie/PR-B-00001&align=expansion",
}


def grave(page: Page) -> list[tuple[str, str]]:
    """What axe calls serious or critical, with the first element that it names."""
    found = Axe().run(page).response["violations"]
    return [(v["id"], v["nodes"][0]["html"][:200]) for v in found if v["impact"] in ("serious", "critical")]


@pytest.mark.parametrize("path", PAGES.values(), ids=list(PAGES))
def test_themes_widths_and_paper(strict_page: Page, dashboards: str, path: str) -> None:
    opened(strict_page, dashboards + path)
    expect(strict_page.locator("html")).to_have_attribute("data-mantine-color-scheme", "light")
    assert grave(strict_page) == []
    for width in (2560, 768, 390):
        strict_page.set_viewport_size({"width": width, "height": 900})
        assert strict_page.evaluate("document.documentElement.scrollWidth") <= width
    strict_page.emulate_media(media="print")
    expect(strict_page.locator(".cf-nav")).to_be_hidden()
    assert strict_page.pdf(format="A4").startswith(b"%PDF")
    strict_page.emulate_media(media="screen", color_scheme="dark")
    strict_page.reload()
    drawn(strict_page)
    expect(strict_page.locator("html")).to_have_attribute("data-mantine-color-scheme", "dark")
    assert grave(strict_page) == []


@pytest.mark.parametrize("path", PAGES.values(), ids=list(PAGES))
def test_every_panel_says_how_it_was_computed_and_has_its_csv(
    strict_page: Page, dashboards: str, path: str
) -> None:
    opened(strict_page, dashboards + path)
    panels = strict_page.locator("section.cf-panel")
    assert panels.count() == panels.locator("details.cf-how").count() > 0
    for link in strict_page.locator("a.cf-csv").all():
        with urllib.request.urlopen(dashboards + str(link.get_attribute("href"))) as answer:
            assert answer.read().decode("utf-8").splitlines()


@pytest.mark.parametrize("path", ["/batch/northgate/none", "/batch/nowhere/NG-B-00004", "/nothing"])
def test_what_is_not_there_says_so(strict_page: Page, dashboards: str, path: str) -> None:
    strict_page.goto(dashboards + path)
    expect(strict_page.get_by_role("heading", level=1)).to_have_text("There is nothing here")
