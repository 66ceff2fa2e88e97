"""The shipped error rates are what the functions give: lines drawn again, and the page says what its figures say."""

from __future__ import annotations

import json
from math import sqrt
from pathlib import Path

import pytest

from benchmarks import planted_truth as planted
from warehouse.plan import load_plan
from warehouse.settings import ROOT
from warehouse.verification import characteristics as c

FIGURES = json.loads((c.FOLDER / "planted-truth.json").read_text("utf-8"))
GRID = [planted.Share(**s) for s in FIGURES["grid"]]
DEMO = [planted.Share(**s) for s in FIGURES["demo"]]


def test_the_pages_are_rendered_from_their_figures() -> None:
    lines, seed = c.stored()
    assert (c.FOLDER / "error-rates.md").read_text("utf-8") == c.page(lines, seed)
    assert (c.FOLDER / "planted-truth.md").read_text("utf-8") == planted.page(DEMO, GRID)


def test_lines_drawn_again_agree_within_their_error() -> None:
    shipped = {(x.method, x.setting, x.n_site): x for x in c.stored()[0]}
    drawn = list(c.lines(200, seed=7, sizes=(3, 5)))
    assert {(x.method, x.setting, x.n_site) for x in drawn} <= set(shipped)
    for line in drawn:
        other = shipped[line.method, line.setting, line.n_site]
        for name in ("size", "coverage", "power"):
            if line.runs == 0:  # every table was judged: no chance in it
                assert getattr(line, name) == pytest.approx(getattr(other, name), abs=1e-9), (line, name)
                continue
            error = sqrt(getattr(line, f"{name}_error") ** 2 + getattr(other, f"{name}_error") ** 2)
            # Some 90 comparisons: 4.5 standard errors are passed by chance in 6 of 10,000 test runs.
            assert abs(getattr(line, name) - getattr(other, name)) < 4.5 * error, (line, name)


def test_sizes_and_powers_are_what_was_reckoned() -> None:
    lines, _ = c.stored()
    assert {line.n_site for line in lines} == set(c.SIZES)
    for line in lines:
        if line.runs and line.refused == line.runs:  # too few for the level, and said so
            continue
        if line.computed_power is not None:
            # The planner of a split study with history takes Satterthwaite's degrees of freedom for exact.
            near = 0.05 if line.method.startswith("split study") else 0.0
            assert abs(line.power - line.computed_power) < 4 * line.power_error + near, line
        if line.computed_size is not None:
            # What is reckoned leaves the other limit far away: an upper bound.
            assert line.size < line.computed_size + 4 * line.size_error, line
        # Shares of few lots move in steps, below and above what is nominal.
        assert line.coverage > (0.80 if line.runs == 0 else 0.90 - 0.03), line


def test_planted_differences_pass_in_no_more_than_five_per_cent() -> None:
    beyond = [s for s in DEMO if s.truth == "not comparable"]
    wrong, of = sum(s.comparable for s in beyond), sum(s.judged for s in beyond)
    assert of == 3 * planted.SEEDS
    assert planted.wilson(wrong, of)[0] <= 0.05
    at = [s for s in GRID if s.true_difference_in_margins >= 1]
    assert planted.wilson(sum(s.comparable for s in at), sum(s.judged for s in at))[0] <= 0.05
    for s in GRID:
        for hits, reckoned in (
            (s.comparable, s.computed_comparable),
            (s.not_comparable, s.computed_not_comparable),
        ):
            assert reckoned is not None
            error = sqrt(max(reckoned * (1 - reckoned), 1 / s.judged) / s.judged)
            assert abs(hits / s.judged - reckoned) < 4 * error + 0.01, s


def test_a_fleet_drawn_again_is_judged_the_same(tmp_path: Path) -> None:
    fleet = load_plan(ROOT / "pipelines" / "defs" / "sites" / "fleet.yaml")
    once, again = planted.demo_sites(fleet, 1), planted.demo_sites(fleet, 1)
    assert once == again
    assert {s.truth for s in once} == {"comparable", "not comparable", "unlike_methods"}
    assert all(s.inconclusive == 1 for s in once if s.truth == "unlike_methods")


@pytest.mark.parametrize(
    "share", [s for s in GRID if s.n_site == 12], ids=lambda s: str(s.true_difference_in_margins)
)
def test_the_grid_counts_every_fleet(share: planted.Share) -> None:
    assert share.comparable + share.not_comparable + share.inconclusive == share.judged == planted.RUNS
