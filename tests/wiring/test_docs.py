"""Pages rendered from the code do not drift, and links inside the documentation lead somewhere."""

from __future__ import annotations

import re

import pytest

from pipelines.printed import pages
from tests.conftest import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("path", sorted(pages()), ids=lambda p: p.name)
def test_a_rendered_page_is_what_the_code_says(path: object) -> None:
    assert path.read_text("utf-8") == pages()[path], "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_relative_link_leads_to_a_file(page: object) -> None:
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text("utf-8"))
    assert [t for t in targets if not (page.parent / t).exists()] == []
