"""The shipped error rates are what the functions give: lines drawn again, and the page says what its figures say."""

from __future__ import annotations

import json
from math import sqrt
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest

from benchmarks import planted_truth as planted
from warehouse.plan import Bridging, Family, Plan, PlannedAttribute, Ranges, Study, Watch, load_plan
from warehouse.settings import ROOT
from warehouse.statistics.multiplicity import Adjustment
from warehouse.statistics.sequential import Spending
from warehouse.statistics.versions import VERSIONS
from warehouse.verification import characteristics as c
from warehouse.verification.error_lines import DECIDING, LINES_OF, WITHOUT

FIGURES = json.loads((c.FOLDER / "planted-truth.json").read_text("utf-8"))
GRID = [planted.Share(**s) for s in FIGURES["grid"]]
DEMO = [planted.Share(**s) for s in FIGURES["demo"]]


def test_the_pages_are_rendered_from_their_figures() -> None:
    lines, seed = c.stored()
    assert (c.FOLDER / "error-rates.md").read_text("utf-8") == c.page(lines, seed)
    assert (c.FOLDER / "planted-truth.md").read_text("utf-8") == planted.page(DEMO, GRID)


def test_lines_drawn_again_agree_within_their_error() -> None:
    shipped = {(x.method, x.setting, x.n_site): x for x in c.stored()[0]}
    drawn = list(c.lines(120, seed=7, sizes=(5,)))
    assert {(x.method, x.setting, x.n_site) for x in drawn} <= set(shipped)
    for line in drawn:
        other = shipped[line.method, line.setting, line.n_site]
        for name in ("size", "coverage", "power"):
            assert (getattr(line, name) is None) == (getattr(other, name) is None), (line, name)
            if getattr(line, name) is None:
                continue
            if line.runs == 0:  # every table was judged: no chance in it
                assert getattr(line, name) == pytest.approx(getattr(other, name), abs=1e-9), (line, name)
                continue
            # By the share of both together: a few studies alone misjudge their own error.
            a, b = getattr(line, name), getattr(other, name)
            n, m = (max(x.runs - (x.refused if name == "coverage" else 0), 1) for x in (line, other))
            share = (a * n + b * m) / (n + m)
            error = sqrt(max(share * (1 - share), 1 / n) * (1 / n + 1 / m))
            # Some 130 comparisons: 4.5 standard errors are passed by chance in 9 of 10,000 test runs.
            assert abs(a - b) < 4.5 * error, (line, name)


def test_sizes_and_powers_are_what_was_reckoned() -> None:
    lines, _ = c.stored()
    assert {line.n_site for line in lines} == set(c.SIZES)
    for line in lines:
        if line.runs and line.refused == line.runs:  # too few for the level, and said so
            continue
        if line.computed_power is not None and line.power is not None:
            # The planner of a split study with history takes Satterthwaite's degrees of freedom for exact.
            near = 0.05 if line.method.startswith("split study") else 0.0
            assert abs(line.power - line.computed_power) < 4 * line.power_error + near, line
        if line.computed_size is not None and line.size is not None:
            # What is reckoned leaves the other limit far away: an upper bound.
            assert line.size < line.computed_size + 4 * line.size_error, line
        # Shares of few lots move in steps, below and above what is nominal; models and agreement of a few lots rest
        # on large numbers, and companions on what others measured: their coverage is told, and marked.
        if line.coverage is not None and line.method in DECIDING:
            assert line.coverage > line.level - 0.03, line


def test_every_method_has_lines_at_every_number_of_lots() -> None:
    found: dict[str, set[int]] = {}
    for line in c.stored()[0]:
        found.setdefault(line.method, set()).add(line.n_site)
    assert set(LINES_OF) | set(WITHOUT) == set(VERSIONS)
    assert not set(LINES_OF) & set(WITHOUT)
    for method, title in LINES_OF.items():
        assert found.get(title) == set(c.SIZES), f"{method}: no lines {title!r} in error-rates.json"


def test_whatever_a_plan_declares_has_lines() -> None:
    """Fields of the plan whose words choose a method, each word to the method that it means."""
    declared = {
        (PlannedAttribute, "design"): {"routine": "welch-t", "adjusted": "ancova-kr"},
        (PlannedAttribute, "scale"): {"identity": "welch-t", "log": "welch-t", "logit": "welch-t"},
        (Watch, "spending"): {s: f"group-sequential, {s}" for s in get_args(Spending)},
        (Family, "adjustment"): {a: a for a in get_args(Adjustment)},
        (Family, "claim"): {"all": "intersection-union", "each": "holm"},
    }
    for (part, name), method_of in declared.items():
        words = get_args(part.model_fields[name].annotation)
        assert set(words) == set(method_of), f"{part.__name__}.{name}"
        assert set(method_of.values()) <= set(LINES_OF)
    # A new field of the plan that chooses among words must be judged here too.
    parts = (PlannedAttribute, Bridging, Watch, Study, Family, Ranges, Plan)
    chosen = {(p, n) for p in parts for n, f in p.model_fields.items() if get_origin(f.annotation) is Literal}
    assert chosen == set(declared)
    scales = {line.setting for line in c.stored()[0] if line.method.endswith(("log scale", "logit scale"))}
    assert len(scales) == 2


def test_what_may_decide_passes_hardly_more_than_its_level() -> None:
    """Beyond 2 standard errors the page marks it and the verdict says it; 2 points more would be another matter."""
    for line in c.stored()[0]:
        if line.method in DECIDING and line.size is not None:
            assert line.size < 0.07, line


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
