"""Signing in and out in a real browser: what a manager of one site and a sponsor see, and how a session ends."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import served
from warehouse.access import Access

pytestmark = pytest.mark.browser
PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory, published_home: Path) -> Iterator[tuple[str, Access]]:
    """The dashboards with accounts: their address, and the accounts."""
    home = tmp_path_factory.mktemp("closed") / "home"
    (home / "published").mkdir(parents=True)
    real = (published_home / "published" / "fleet.duckdb").resolve()
    shutil.copyfile(real, home / "published" / real.name)
    (home / "published" / "fleet.duckdb").symlink_to(real.name)
    access = Access(home / "access")
    access.grant("maria", "site_manager", ["rhein"], PASSWORD, by="test")
    access.grant("sponsor", "sponsor", [], PASSWORD, by="test")
    with served(home, CELLFLEET_ACCESS="accounts") as url:
        yield url, access


def sign_in(page: Page, name: str) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def test_a_manager_comes_back_to_her_link_and_sees_her_site(
    strict_page: Page, closed: tuple[str, Access]
) -> None:
    url, access = closed
    strict_page.goto(f"{url}/comparability?attr=vcn")
    expect(strict_page).to_have_url(f"{url}/sign-in?next=/comparability%3Fattr%3Dvcn")
    found = [
        v for v in Axe().run(strict_page).response["violations"] if v["impact"] in ("serious", "critical")
    ]
    assert found == []
    sign_in(strict_page, "maria")
    expect(strict_page).to_have_url(f"{url}/comparability?attr=vcn")
    expect(strict_page.get_by_text("maria (site manager)")).to_be_visible()
    expect(strict_page.get_by_role("heading", level=1)).to_be_visible()
    strict_page.wait_for_selector(".js-plotly-plot .scatterlayer", state="attached")
    assert {v.sites for v in access.views("maria")} == {("rhein",)}


def test_a_sponsor_sees_verdicts_and_no_batch(strict_page: Page, closed: tuple[str, Access]) -> None:
    url, access = closed
    strict_page.goto(url)
    sign_in(strict_page, "sponsor")
    expect(strict_page.get_by_role("heading", level=1)).to_contain_text("same at every site")
    expect(strict_page.get_by_text("Nothing is open.")).to_be_visible()
    assert strict_page.locator("#page a[href^='/batch/']").count() == 0
    assert access.views("sponsor") == []


def test_signing_out_ends_it_and_an_ended_session_leaves_the_screen(
    page: Page, closed: tuple[str, Access]
) -> None:
    url, access = closed
    page.goto(f"{url}/?attr=vcn")
    sign_in(page, "maria")
    page.get_by_role("link", name="Sign out").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{url}/sign-in")
    sign_in(page, "maria")
    expect(page.get_by_role("heading", level=1)).to_contain_text("same at every site")
    access.grant("maria", "site_manager", ["rhein"], None, by="test")
    expect(page).to_have_url(f"{url}/sign-in?next=%2F", timeout=20_000)
