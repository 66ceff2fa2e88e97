"""Planning: published power tables, sample sizes that are smallest, split designs against simulation."""

from __future__ import annotations

from dataclasses import replace
from math import inf, log, sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.statistics.power import (
    SplitDesign,
    assurance,
    donors_or_replicates,
    further_pairs,
    observed_design,
    power_tost,
    sample_size,
    sd_from_cv,
    split_pairs,
    split_power,
)
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.statistics.scales import Margin
from warehouse.statistics.split_apheresis import mixed_comparison
from warehouse.statistics.split_simulation import simulate_split

# Exact paired TOST power at true difference 0, alpha 5 %; SD is a reference lot's total SD, rho the donors'
# share. Columns n = 3, 4, 5, 6, 8, 12, two decimals.
TABLE = {
    (1.0, 0.0): (0.05, 0.06, 0.09, 0.12, 0.22, 0.49),
    (1.0, 0.5): (0.13, 0.20, 0.29, 0.41, 0.64, 0.89),
    (1.0, 0.8): (0.37, 0.60, 0.79, 0.90, 0.98, 1.00),
    (1.5, 0.0): (0.15, 0.23, 0.35, 0.48, 0.71, 0.93),
    (1.5, 0.5): (0.33, 0.54, 0.74, 0.86, 0.97, 1.00),
    (1.5, 0.8): (0.71, 0.94, 0.99, 1.00, 1.00, 1.00),
    (2.0, 0.5): (0.56, 0.83, 0.95, 0.99, 1.00, 1.00),
}
BIOEQUIVALENCE = Margin(log(0.8), log(1.25))


@pytest.mark.parametrize(("margin", "rho"), TABLE)
def test_the_published_table_of_paired_power(margin: float, rho: float) -> None:
    for n, want in zip((3, 4, 5, 6, 8, 12), TABLE[margin, rho], strict=True):
        design = SplitDesign(n, sd_donor=sqrt(rho), sd_lot=sqrt(1.0 - rho))
        got = split_power(design, Margin(-margin, margin))
        assert got == pytest.approx(want, abs=0.006)
        assert got == pytest.approx(power_tost("paired", sqrt(1.0 - rho), n, Margin(-margin, margin)))


def test_published_sample_sizes() -> None:
    """PowerTOST's manual: 2 x 2 crossover, CV 30 %, true ratio 0.95: 40 subjects, power 0.815845."""
    found = sample_size("crossover", sd_from_cv(0.30), BIOEQUIVALENCE, true=log(0.95))
    assert found.n == 40
    assert found.power == pytest.approx(0.815845, abs=1e-6)
    assert sample_size("parallel", sd_from_cv(0.30), BIOEQUIVALENCE, true=log(0.95)).n == 76


@given(
    sd=st.floats(0.05, 1.0),
    margin=st.floats(0.2, 2.0),
    share=st.floats(0.0, 0.6),
    power=st.sampled_from([0.5, 0.8, 0.9]),
)
@settings(max_examples=30, deadline=None)
def test_a_sample_size_is_the_smallest_that_does(
    sd: float, margin: float, share: float, power: float
) -> None:
    limits, true = Margin(-margin, margin), share * margin
    for design, step in (("paired", 1), ("parallel", 2)):
        found = sample_size(design, sd, limits, true=true, power=power)
        assert found.power >= power
        if found.n > 2 * step:
            assert power_tost(design, sd, found.n - step, limits, true=true) < power


@given(n=st.integers(2, 20), sd=st.floats(0.1, 2.0))
@settings(max_examples=40, deadline=None)
def test_power_grows_with_margin_and_lots_and_never_exceeds_alpha_at_the_margin(n: int, sd: float) -> None:
    narrow, wide = Margin(-1.0, 1.0), Margin(-1.2, 1.2)
    here = power_tost("paired", sd, n, narrow)
    assert power_tost("paired", sd, n, wide) >= here - 1e-9
    # Below alpha the power is not monotone in n: the fewer the lots, the likelier a lucky small SD.
    if here > 0.05:
        assert power_tost("paired", sd, n + 1, narrow) >= here - 1e-9
    assert power_tost("paired", sd, n, narrow, true=1.0) <= 0.05 + 1e-9


def test_replicates_help_only_as_far_as_the_assay_is_noisy() -> None:
    rows = donors_or_replicates(
        SplitDesign(3, sd_donor=1.0, sd_lot=0.5, sd_assay=0.5),
        Margin(-1.0, 1.0),
        pairs=(3, 6),
        replicates=(1, 2, 50),
    )
    power = {(row.pairs, row.replicates): row.power for row in rows}
    assert power[3, 1] < power[3, 2] < power[3, 50] < power[6, 1]
    assert {row.assays for row in rows} == {6, 12, 300, 24, 600}
    quiet = donors_or_replicates(
        SplitDesign(3, sd_donor=1.0, sd_lot=0.5), Margin(-1.0, 1.0), pairs=(3,), replicates=(1, 9)
    )
    assert quiet[0].power == quiet[1].power


def test_history_helps_least_where_donors_share_most() -> None:
    limits = Margin(-1.5, 1.5)
    gain = []
    for rho in (0.1, 0.5, 0.9):
        alone = SplitDesign(4, sd_donor=sqrt(rho), sd_lot=sqrt(1 - rho))
        with_past = SplitDesign(4, sd_donor=sqrt(rho), sd_lot=sqrt(1 - rho), history=10)
        gain.append(split_power(with_past, limits) - split_power(alone, limits))
    assert gain[0] > gain[1] > gain[2] > -0.01


@pytest.mark.simulation
def test_power_with_history_is_near_what_simulation_finds() -> None:
    for n in (4, 6):
        found = simulate_split("unknown-rho", pairs=n, history=10, true=0.0, runs=1500, seed=9)
        planned = split_power(SplitDesign(n, sqrt(0.5), sqrt(0.5), history=10), Margin(-1.5, 1.5))
        assert planned == pytest.approx(found.share, abs=0.05 + 3 * found.mc_error)


def test_pairs_needed_and_when_none_would_do() -> None:
    design = SplitDesign(3, sd_donor=1.0, sd_lot=0.7)
    need = split_pairs(design, Margin(-1.5, 1.5), power=0.8)
    assert need is not None
    assert power_tost("paired", 0.7, need, Margin(-1.5, 1.5)) >= 0.8
    assert split_pairs(design, Margin(-1.5, 1.5), true=1.5) is None


def test_the_number_behind_an_inconclusive_split_verdict() -> None:
    y = [0.0, 0.1, 1.0, 1.2, 2.0, 1.8, 0.3, 0.2, 0.6, 0.7, 2.6, 2.5]
    donor, site = [d for d in "abc" for _ in "12"] * 2, ["A"] * 6 + ["B"] * 6
    found = mixed_comparison(y, donor, site, reference="A")
    design = observed_design(found.fit, pairs=3)
    assert design.replicates == 2
    assert design.sd_assay**2 == pytest.approx(found.fit.variances["residual"])
    more = further_pairs(design, Margin(-0.8, 0.8))
    assert more is not None
    assert split_power(replace(design, pairs=3 + more), Margin(-0.8, 0.8)) >= 0.8
    assert more == 0 or split_power(replace(design, pairs=2 + more), Margin(-0.8, 0.8)) < 0.8
    assert further_pairs(design, Margin(-90.0, 90.0)) == 0


def test_assurance_is_power_where_nothing_is_unknown_and_less_certain_otherwise() -> None:
    def power_of(sd: float, true: float) -> float:
        return power_tost("paired", sd, 8, Margin(-1.5, 1.5), true=true)

    known = assurance(power_of, sd=0.7, sd_df=inf)
    assert known == pytest.approx(power_of(0.7, 0.0))
    assert assurance(power_of, sd=0.7, sd_df=1e5) == pytest.approx(known, abs=1e-3)
    assert assurance(power_of, sd=0.7, sd_df=4, true_sd=0.3) < known


@pytest.mark.parametrize(("design", "n"), [("paired", 1), ("parallel", 2), ("crossover", 2)])
def test_too_few_lots_to_plan_are_refused(design: str, n: int) -> None:
    with pytest.raises(StatisticsRefusal):
        power_tost(design, 0.5, n, Margin(-1.0, 1.0))  # type: ignore[arg-type]  # a literal, by parameter
    with pytest.raises(StatisticsRefusal):
        sample_size("paired", 0.5, Margin(-1.0, 1.0), true=1.0)
    with pytest.raises(StatisticsRefusal):
        power_tost("paired", 0.0, 5, Margin(-1.0, 1.0))
