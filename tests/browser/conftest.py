"""A real Chromium and the real server over a real snapshot; a page that complains fails its test."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

# A machine that runs other tests beside these takes its time.
expect.set_options(timeout=20_000)
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, object]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    return {"executable_path": CHROMIUM, "args": FLAGS.split()}


@contextmanager
def served(home: Path, **environment: str) -> Iterator[str]:
    """The dashboards over a home, as `cellfleet serve` runs them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # To compress the application's files well takes a core ten seconds: once a machine, not once a home.
    kept = Path(tempfile.gettempdir()) / f"cellfleet-tests-files-{os.getuid()}"
    kept.mkdir(mode=0o700, exist_ok=True)
    if not (files := home / "cache" / "files").exists():
        files.parent.mkdir(exist_ok=True)
        files.symlink_to(kept)
    gunicorn = str(Path(sys.executable).parent / "gunicorn")
    command = [
        gunicorn,
        "-k",
        "gthread",
        "--threads",
        "4",
        "-b",
        f"127.0.0.1:{port}",
        "dashboards.wsgi:server",
    ]
    with subprocess.Popen(
        command,
        env=os.environ | {"CELLFLEET_HOME": str(home)} | environment,
        cwd=home,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            url = f"http://127.0.0.1:{port}"
            for _ in range(150):
                try:
                    with urllib.request.urlopen(f"{url}/health", timeout=2):
                        break
                except OSError:
                    time.sleep(0.2)
            yield url
        finally:
            server.terminate()


@pytest.fixture(scope="session")
def dashboards(published_home: Path) -> Iterator[str]:
    with served(published_home) as url:
        yield url


@pytest.fixture
def strict_page(page: Page) -> Iterator[Page]:
    """A page whose console errors, exceptions and requests to other machines fail the test."""
    complaints: list[str] = []
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: complaints.append(str(e)))
    page.on(
        "request",
        lambda r: complaints.append(r.url) if "://127.0.0.1" not in r.url and "://" in r.url else None,
    )
    yield page
    assert complaints == []


def opened(page: Page, address: str) -> None:
    """Go to an address and wait until its page, and every figure on it, is drawn."""
    page.goto(address)
    page.locator("#page h1").wait_for()
    drawn(page)


def drawn(page: Page) -> None:
    """Wait until every figure of the page is drawn. The page's policy forbids a script of the test's own."""
    figures = page.locator("#page .cf-graph")
    for place in range(figures.count()):
        figures.nth(place).locator(".main-svg").first.wait_for(state="attached")
