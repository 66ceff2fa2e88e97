"""The forest plot as a pure function: places in margin units, words, nothing invented where nothing is known."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.facts.comparison import Verdict
from dashboards.figures.forest import MOST, forest
from dashboards.theme.tokens import PALETTE, PREFIX, resolve, token

JUDGED = Verdict(
    attribute="vcn",
    reference="north",
    site="south",
    verdict="comparable",
    reason=None,
    design="routine lots, unadjusted, means only",
    scale="log",
    estimate=0.1,
    ci_low=-0.1,
    ci_high=0.2,
    margin_low=-0.4,
    margin_high=0.5,
    n_reference=12,
    n_site=9,
    lots_needed=None,
    method="welch-t",
    measured_as="vcn_per_cell",
    sentence="Comparable on means.",
)
UNJUDGED = replace(
    JUDGED, verdict="inconclusive", reason="too_few_lots", estimate=None, ci_low=None, ci_high=None, n_site=1
)


def lines(figure: dict[str, Any]) -> list[dict[str, Any]]:
    return [t for t in figure["data"] if t["mode"] == "lines"]


def words(figure: dict[str, Any]) -> str:
    return " | ".join(a["text"] for a in figure["layout"]["annotations"])


def test_each_side_is_in_units_of_its_own_margin() -> None:
    figure = forest([JUDGED], {"south": "South"})
    assert lines(figure)[0]["x"] == pytest.approx([-0.25, 0.4])
    assert "<b>South</b>  n 9 / 12" in words(figure)


def test_a_site_without_interval_keeps_its_row_and_says_why() -> None:
    figure = forest([UNJUDGED], {})
    assert lines(figure) == []
    assert "n 1 / 12" in words(figure)
    assert "no interval: too few lots" in words(figure)


def test_without_a_margin_none_is_drawn() -> None:
    bare = replace(JUDGED, margin_low=None, margin_high=None, verdict="inconclusive", reason="no_margin")
    figure = forest([bare], {})
    assert [s["x0"] for s in figure["layout"]["shapes"]] == [0]
    assert "the plan gives no margin" in words(figure)


def test_zero_and_both_margins_are_drawn_for_each_site() -> None:
    figure = forest([JUDGED, UNJUDGED], {})
    drawn = [(s["type"], s["x0"]) for s in figure["layout"]["shapes"]]
    assert sorted(drawn) == sorted([("rect", -1), ("line", -1), ("line", 0), ("line", 1)] * 2)


def test_the_verdict_is_a_symbol_as_well_as_a_colour() -> None:
    verdicts = ("comparable", "not comparable", "inconclusive")
    figure = forest([replace(JUDGED, verdict=v) for v in verdicts], {})
    marks = [t["marker"]["symbol"] for t in figure["data"] if "hovertemplate" in t]
    assert len(set(marks)) == 3


@given(
    low=st.floats(-50, 50),
    width=st.floats(0.001, 50),
)
def test_nothing_leaves_the_axis_and_what_is_cut_has_an_arrow(low: float, width: float) -> None:
    v = replace(JUDGED, ci_low=low, ci_high=low + width, estimate=low + width / 2)
    figure = forest([v], {})
    far = figure["layout"]["xaxis"]["range"][1]
    assert far <= MOST
    assert all(-far <= x <= far for t in figure["data"] for x in t["x"])
    ends = (v.in_margins(v.ci_low), v.in_margins(v.ci_high))
    cut = any(e is not None and abs(e) > far for e in ends)
    arrows = [t for t in figure["data"] if str(t.get("marker", {}).get("symbol")).startswith("triangle")]
    assert bool(arrows) == cut


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_colour_is_known_to_both_themes(scheme: Any) -> None:
    figure = resolve(forest([JUDGED, UNJUDGED], {}), scheme)
    assert PREFIX not in json.dumps(figure)
    assert PALETTE["light"].keys() == PALETTE["dark"].keys()


def test_an_unknown_colour_is_refused() -> None:
    with pytest.raises(KeyError):
        token("mauve")
