"""How an identifier shows in free text: also a name whose parts are all too short to be looked for alone."""

from __future__ import annotations

import pytest

from pipelines.ingest.stage import _traces


@pytest.mark.parametrize("text", ["jun jie chua prefers mornings", "chua jun jie", "seen: chua, jun jie."])
def test_a_short_name_is_found_whole_in_either_order(text: str) -> None:
    assert any(trace in text for trace in _traces("Chua, Jun Jie"))


def test_its_short_parts_alone_are_not() -> None:
    assert not any(trace in "junction box checked" for trace in _traces("Chua, Jun Jie"))
