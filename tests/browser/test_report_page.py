"""The Report page in a browser: a dossier made in the background, fetched, checked against its manifest, made again."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import duckdb
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import opened

pytestmark = pytest.mark.browser
MAKING = 90_000


def fetched(address: str) -> bytes:
    with urllib.request.urlopen(address) as answer:
        found: bytes = answer.read()
        return found


def made(page: Page, dashboards: str, search: str) -> dict[str, bytes]:
    """Ask for a dossier as a reader does, and fetch its files."""
    opened(page, f"{dashboards}/report?{search}")
    title = page.locator("#report-said").inner_text().removeprefix("This makes: ").split(", from snapshot")[0]
    page.get_by_role("button", name="Make the dossier").click()
    job = page.locator("#report-jobs li", has_text=title).first
    expect(job).to_have_attribute("data-state", "done", timeout=MAKING)
    links = [str(link.get_attribute("href")) for link in job.get_by_role("link").all()]
    return {link.rsplit("/", 1)[1]: fetched(dashboards + link) for link in links}


def test_a_comparability_dossier_holds_verdicts_data_and_hashes(
    strict_page: Page, dashboards: str, published_home: Path, tmp_path: Path
) -> None:
    files = made(strict_page, dashboards, "attrs=vcn,cd3_pct&from=2026-01-01&to=2026-06-30")
    with zipfile.ZipFile(io.BytesIO(files["report.zip"])) as archive:
        inside = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(inside["manifest.json"])
    assert manifest["files"] == {
        name: hashlib.sha256(content).hexdigest()
        for name, content in inside.items()
        if name != "manifest.json"
    }
    assert inside["report.pdf"] == files["report.pdf"]
    snapshot = (published_home / "published" / "fleet.duckdb").resolve()
    assert manifest["snapshot"]["sha256"] == hashlib.sha256(snapshot.read_bytes()).hexdigest()
    # The rows are those of the snapshot: attributes and days as chosen, in both formats.
    (tmp_path / "lots.parquet").write_bytes(inside["data/mart.comparability_lots.parquet"])
    (tmp_path / "lots.csv").write_bytes(inside["data/mart.comparability_lots.csv"])
    with duckdb.connect(str(snapshot), read_only=True) as con:
        con.execute("SET TimeZone = 'UTC'")
        want = con.execute(
            "SELECT count(*), sum(value) FROM mart.comparability_lots WHERE attribute IN ('vcn', 'cd3_pct') "
            "AND lot_at >= '2026-01-01' AND lot_at < '2026-07-01'"
        ).fetchone()
        for name in ("lots.parquet", "lots.csv"):
            assert con.execute(f"SELECT count(*), sum(value) FROM '{tmp_path / name}'").fetchone() == want
    assert want is not None
    assert want[0] > 0
    if shutil.which("pdftotext"):
        (tmp_path / "report.pdf").write_bytes(files["report.pdf"])
        text = subprocess.run(
            ["pdftotext", str(tmp_path / "report.pdf"), "-"], capture_output=True, text=True, check=True
        ).stdout
        assert all(
            words in text for words in ("Vector copy number", "Signatures", "Page 1 of", "Head of Quality")
        )


def test_the_same_question_gives_the_same_bytes(
    strict_page: Page, dashboards: str, published_home: Path
) -> None:
    first = made(strict_page, dashboards, "of=batch&batch=northgate/NG-B-00004")
    shutil.rmtree(published_home / "reports")
    assert made(strict_page, dashboards, "of=batch&batch=northgate/NG-B-00004") == first


def test_what_cannot_be_made_is_said_before_it_is_asked_for(strict_page: Page, dashboards: str) -> None:
    for search, words in (
        ("from=2026-05-01&to=2026-01-01", "is after the last"),
        ("from=soon", "soon is no day"),
        ("of=batch", "Choose a batch first"),
        ("of=batch&batch=northgate/none", "There is no batch northgate/none"),
    ):
        opened(strict_page, f"{dashboards}/report?{search}")
        expect(strict_page.locator("#report-said")).to_contain_text(words)


def test_the_form_is_in_the_address(strict_page: Page, dashboards: str) -> None:
    opened(strict_page, f"{dashboards}/report")
    strict_page.locator("#page").get_by_text("One batch", exact=True).click()
    strict_page.wait_for_url("**of=batch**")
    expect(strict_page.get_by_text("Attributes; none chosen means all of the plan")).to_be_hidden()
    expect(strict_page.locator("#report-said")).to_contain_text("Choose a batch first")


@pytest.mark.parametrize("path", ["/reports/none/report.pdf", "/reports/none/job.json"])
def test_no_address_leads_to_another_file(dashboards: str, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        fetched(dashboards + path)
    assert refused.value.code == 404
