"""Writes docs/images: each page of the dashboards in both themes, as a browser shows them.

Run by hand after a page changed, while `cellfleet serve` serves the demo: `.venv/bin/python docs/pictures.py`
(`--url`, `--into`, names of pages to take only those). Needs Chromium, as the browser tests do.
Does not belong here: whether a page is right (`tests/browser`).
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, sync_playwright

IMAGES = Path(__file__).resolve().parent / "images"
WIDTH, HEIGHT = 1440, 1000
PHONE = {"width": 390, "height": 844}
# The demo's batch with the most to show, and two runs laid over each other.
PAGES = {
    "fleet": "/",
    "comparability": "/comparability?attr=vcn",
    "charts": "/charts?series=rhein|cd3_pct|cd3_pct&rules=nelson#chart",
    "batches": "/batch?state=outside",
    "batch": "/batch/northgate/NG-B-00004",
    "lot": "/lot/meridian/ME-L-0006",
    "source": "/source/1138c3b7049789966d26da9c2f21c267",
    "release": "/release",
    "sensors": "/sensors?batches=rhein/RH-B-00011,rhein/RH-B-00010&align=expansion",
    "vein-to-vein": "/vein-to-vein",
    "quality": "/quality",
    "report": "/report",
}
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


def main() -> None:
    """Take the pictures."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("pages", nargs="*", help=f"some of {', '.join(PAGES)}; all where none is named")
    asked.add_argument("--url", default="http://127.0.0.1:8050")
    asked.add_argument("--into", type=Path, default=IMAGES)
    asked.add_argument("--whole", action="store_true", help="whole pages, not only what one screen shows")
    given = asked.parse_args()
    given.into.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name in given.pages or PAGES:
            for theme in THEMES:
                shot(
                    chromium, given.url + PAGES[name], theme, given.into / f"{name}-{theme}.png", given.whole
                )
        if not given.pages:
            shot(chromium, given.url, "light", given.into / "fleet-phone.png", True, phone=True)
        chromium.close()


def shot(
    chromium: Browser,
    address: str,
    theme: Literal["light", "dark"],
    path: Path,
    whole: bool,
    *,
    phone: bool = False,
) -> None:
    """One page, drawn, as a file."""
    page = chromium.new_page(
        viewport={"width": PHONE["width"], "height": PHONE["height"]}
        if phone
        else {"width": WIDTH, "height": HEIGHT},
        color_scheme=theme,
        device_scale_factor=1,
    )
    page.goto(address)
    page.locator("#page h1").wait_for()
    figures = page.locator("#page .cf-graph")
    for place in range(figures.count()):
        figures.nth(place).locator(".main-svg").first.wait_for(state="attached")
    page.wait_for_timeout(700)
    page.screenshot(path=path, full_page=whole)
    page.close()
    print(path)


if __name__ == "__main__":
    main()
