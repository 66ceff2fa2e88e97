"""Pages rendered from the code do not drift, and links inside the documentation lead somewhere."""

from __future__ import annotations

import re

import pytest

from pipelines.cli import EXIT_CODES
from pipelines.printed import commands_page, pages
from tests.conftest import ROOT

# How the commands end: `raise fail(1, …)`, `raise typer.Exit(1)`.
EXITS = re.compile(r"(?:fail|typer\.Exit)\(\s*(\d)")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("path", sorted(pages()), ids=lambda p: p.name)
def test_a_rendered_page_is_what_the_code_says(path: object) -> None:
    assert path.read_text("utf-8") == pages()[path], "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_relative_link_leads_to_a_file(page: object) -> None:
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text("utf-8"))
    assert [t for t in targets if not (page.parent / t).exists()] == []


def test_every_argument_and_option_says_what_it_does() -> None:
    rows = [line.split(" | ") for line in commands_page().splitlines() if line.startswith("| `")]
    assert len(rows) > 20
    assert [row[0] for row in rows if row[-1].strip(" |") == ""] == []


def test_the_exit_codes_of_the_page_are_those_of_the_program() -> None:
    given = {int(n) for p in (ROOT / "pipelines").glob("*.py") for n in EXITS.findall(p.read_text("utf-8"))}
    assert given <= set(EXIT_CODES)
    assert {1, 2, 3} <= given
