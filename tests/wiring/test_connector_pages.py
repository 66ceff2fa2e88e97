"""Each kind of system has its page in `docs/connectors/`, whose example is a contract that `site check` calls sound."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from pipelines.harmonise.contract import TYPE
from pipelines.harmonise.systems import KINDS
from tests.conftest import ROOT, cellfleet

PAGES = sorted((ROOT / "docs" / "connectors").glob("*.md"))
BLOCK = re.compile(r"^```yaml\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
SITE = {
    "name": "A site", "country": "ES", "role": "spoke", "time_zone": "Europe/Madrid", "owner": "team:test",
    "starts_on": "2026-01-01", "decimal": ",", "time": {"format": "iso", "zone": "Europe/Madrid"},
}  # fmt: skip


def example(page: Path) -> dict[str, object]:
    """The contract that a page shows, with what every site says beside it."""
    (block,) = BLOCK.findall(page.read_text("utf-8"))
    return SITE | {"site_id": page.stem} | yaml.safe_load(block)


def test_each_kind_of_system_has_a_page_with_an_example() -> None:
    shown = {s["kind"] for p in PAGES for s in example(p)["systems"].values()}  # type: ignore[attr-defined]
    assert shown >= set(KINDS)


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What `cellfleet site check` says of every page's example."""
    sites = tmp_path_factory.mktemp("pages") / "sites"
    for page in PAGES:
        (sites / page.stem).mkdir(parents=True)
        content = {"type": TYPE, "attributes": example(page)}
        (sites / page.stem / "defs.yaml").write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")
    done = cellfleet(sites.parent / "home", "site", "check", check=False, CELLFLEET_SITES=str(sites))
    return done.stdout + done.stderr


@pytest.mark.parametrize("document", PAGES, ids=lambda p: p.stem)
def test_the_example_is_sound(document: Path, checked: str) -> None:
    assert f"{document.stem} is sound" in " ".join(checked.split()), checked


@pytest.mark.parametrize("document", PAGES, ids=lambda p: p.stem)
def test_the_page_is_linked(document: Path) -> None:
    assert f"connectors/{document.name}" in (ROOT / "docs" / "architecture.md").read_text("utf-8")
