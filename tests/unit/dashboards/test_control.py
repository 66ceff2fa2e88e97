"""Control charts as a pure function: scales there and back, zones and the specification where they belong; phases."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.facts.charts import ChartPoint
from dashboards.figures.control import Drawn, control, on_scale, read_as
from dashboards.pages.charts.view import phase_words

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("scale", "unit", "low", "high"),
    [
        ("identity", "h", -1e6, 1e6),
        ("log", "cells", 1e-6, 1e12),
        ("logit", "%", 0.01, 99.99),
        ("logit", "", 1e-4, 0.9999),
    ],
)
@given(share=st.floats(0, 1))
def test_a_value_on_the_scale_is_read_back(
    scale: str, unit: str, low: float, high: float, share: float
) -> None:
    value = low + share * (high - low)
    placed = on_scale(scale, unit)(value)
    assert placed is not None
    assert read_as(scale, unit)(placed) == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize(("scale", "value"), [("log", 0.0), ("log", -1.0), ("logit", 0.0), ("logit", 100.0)])
def test_a_limit_without_a_place_on_the_scale_is_not_drawn(scale: str, value: float) -> None:
    assert on_scale(scale, "%")(value) is None


def points(count: int) -> list[ChartPoint]:
    return [
        ChartPoint("I", f"B-{n}", 1 + n // 5, START + timedelta(days=n), 1, False, 2.0 + n / 10, 2.0, 1.0, 3.0, 0.0,
                   False, 0, None, None, None, None)
        for n in range(count)
    ]  # fmt: skip


def test_zones_lie_in_their_phase_and_the_specification_in_the_newest() -> None:
    drawn = Drawn("log", "cells", "south", {1: "a", 2: "b"}, {1: 0.5, 2: 0.25}, (10.0, None))
    made = control(("I",), points(10), {}, drawn)
    zones = [s for s in made["layout"]["shapes"] if s["type"] == "rect"]
    assert len(zones) == 6
    widths = sorted({round(z["y1"] - z["y0"], 6) for z in zones if z["x1"] <= 5.5})
    assert widths == [1.0, 2.0, 3.0]
    [line] = [t for t in made["data"] if t.get("line", {}).get("dash") == "longdash"]
    assert line["y"] == [pytest.approx(math.log(10.0))] * 2
    assert line["x"] == [5.5, 10.5]


def test_limits_of_a_phase_are_printed_as_numbers_elsewhere() -> None:
    assert (
        phase_words("P-3.1 · flow · limits release 60000000.0..")
        == "P-3.1, flow, release limit at least 6.00×10⁷"
    )
    assert (
        phase_words("P-3.2 · elisa · limits release 0.1..15.0") == "P-3.2, elisa, release limit 0.100 to 15.0"
    )
    assert (
        phase_words("P-3.2 · trypan_blue · limits release ..5.0")
        == "P-3.2, trypan blue, release limit at most 5.00"
    )
    assert phase_words("P-3.2 · automated_counter") == "P-3.2, automated counter"
