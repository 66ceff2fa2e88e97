"""What fault tests share: one small site's files, and what an undisturbed night makes of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import pytest

from tests.conftest import made_once
from tests.faults.night import Place, place, template


@dataclass(frozen=True)
class Undisturbed:
    """Files of a small site, the content a night makes of them, how many results it publishes and how long it takes."""

    template: Path
    content: dict[str, str]
    results: int
    seconds: float

    def place(self, folder: Path, environment: dict[str, str] | None = None, **changed: str) -> Place:
        """The same files in a folder of their own, before their first night."""
        return place(folder, self.template, environment, **changed)

    def is_made_by(self, made: Place) -> None:
        """A night on top of whatever happened before ends well and leaves what an undisturbed one leaves."""
        assert made.whole() == ""
        assert made.hashes() == self.content
        assert made.published() == self.results


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = made_once(tmp_path_factory.getbasetemp(), "undisturbed", _two_nights)
    return Undisturbed(folder / "template", **json.loads((folder / "told.json").read_text("utf-8")))


def _two_nights(folder: Path) -> None:
    """Two fleets of the same files, which must come to the same; the second is timed, the first runs once more."""
    files = template(folder / "template")
    made = place(folder / "first", files)
    assert made.whole() == ""  # the first also warms what the next ones are copied from
    again = place(folder / "timed", files)
    begun = monotonic()
    assert again.whole() == ""
    seconds = monotonic() - begun
    content, results = made.hashes(), made.published()
    assert again.hashes() == content
    assert results is not None
    assert results > 100
    assert made.whole() == ""
    assert made.hashes() == content, "a second night changed the content"
    told = {"content": content, "results": results, "seconds": seconds}
    (folder / "told.json").write_text(json.dumps(told), "utf-8")
