"""A site that stopped sending: every page says that its figures are partial, and the way leads to its feeds."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import opened, served

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


@pytest.fixture
def without_rhein(published_home: Path, tmp_path: Path) -> Iterator[str]:
    """The dashboards over a fleet of which one site sent its last file sixty days before the others."""
    folder = tmp_path / "published"
    folder.mkdir()
    source = (published_home / "published" / "fleet.duckdb").resolve()
    shutil.copyfile(source, folder / source.name)
    (folder / "fleet.duckdb").symlink_to(source.name)
    with duckdb.connect(str(folder / source.name)) as con:
        for table, column in (("raw.file", "sent_at"), ("mart.feed_status", "last_file_at")):
            con.execute(f"UPDATE {table} SET {column} = {column} - INTERVAL 60 DAY WHERE site_id = 'rhein'")
    with served(tmp_path) as url:
        yield url


def test_a_silent_site_is_named_on_every_page(strict_page: Page, without_rhein: str) -> None:
    for path in ("/", "/comparability", "/vein-to-vein", "/quality"):
        opened(strict_page, without_rhein + path)
        banner = strict_page.locator(".cf-banner", has_text="sites reported")
        expect(banner).to_contain_text("3 of 4 sites reported")
        expect(banner).to_contain_text("Klinikum am Rhein")
    banner.get_by_role("link", name="Which feeds?").click()
    expect(strict_page.locator("#freshness")).to_contain_text("overdue")
    opened(strict_page, f"{without_rhein}/?sites=northgate")
    expect(strict_page.locator("#notice")).not_to_contain_text("reported")


def test_a_whole_fleet_says_nothing_of_it(strict_page: Page, dashboards: str) -> None:
    opened(strict_page, dashboards)
    expect(strict_page.locator("#facts")).to_contain_text("fail")
    expect(strict_page.locator("#notice")).not_to_contain_text("reported")
