"""Error rates of comparisons beside Welch, pairs and models: one group, Wellek's tests, several sites, posteriors.

Belongs here: their simulations. Does not belong here: what decides by default (`characteristics`), ranks, rates and
looks (`characteristics_beside`), ranges and results below detection (`characteristics_ranges`), methods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import sqrt

import numpy as np
from scipy import stats

from warehouse.statistics import means, sites, wellek
from warehouse.statistics.bayes import hierarchical, probability_of_equivalence
from warehouse.statistics.lots import t_tost_power
from warehouse.statistics.power_sites import all_pairs_power, each_power, site_share_power
from warehouse.statistics.power_wellek import dispersion_power, f_power, paired_t_power, t_power
from warehouse.statistics.refusal import Floats
from warehouse.statistics.scales import Margin
from warehouse.verification.characteristics_line import (
    ALPHA,
    MARGIN,
    SD_LIMIT,
    Draw,
    Known,
    Line,
    Passes,
    ends,
    generator,
    passing,
    rate,
)

REFERENCE = 40
LIMITS = Margin(-MARGIN, MARGIN)
# Variances may lie apart by the square of the limit of the SDs.
RHO = SD_LIMIT**2
# P(X > Y) where X lies a margin above Y.
ABOVE = float(stats.norm.cdf(MARGIN / sqrt(2))) - 0.5
# Largest share of the variance between sites that would not matter.
SHARE = 0.3
# All pairs take some milliseconds, so one in so many is drawn.
PAIRS_PART = 4


def _one_sample(m: int) -> Draw:
    return lambda rng: ends(means.one_sample(rng.normal(0, 1, m), 0.0, alpha=ALPHA))


def _pooled(n: int, m: int) -> Draw:
    return lambda rng: ends(means.pooled(rng.normal(0, 1, n), rng.normal(0, 1, m), alpha=ALPHA))


def _wellek_t(m: int) -> Passes:
    found = wellek.t_constants(m, REFERENCE, MARGIN, MARGIN, alpha=ALPHA)

    def passes(rng: np.random.Generator, true: float) -> bool:
        test, reference = rng.normal(true * MARGIN, 1, m), rng.normal(0, 1, REFERENCE)
        made = means.pooled(reference, test)
        assert made.se is not None
        return found.c1 < made.estimate / made.se < found.c2

    return passes


def _wellek_pairs(n: int) -> Passes:
    found = wellek.paired_t_constants(n, -MARGIN, MARGIN, alpha=ALPHA)

    def passes(rng: np.random.Generator, true: float) -> bool:
        d = rng.normal(true * MARGIN, 1, n)
        return bool(found.c1 < d.mean() * sqrt(n) / d.std(ddof=1) < found.c2)

    return passes


def _wellek_spread(m: int) -> Passes:
    found = wellek.dispersion_constants(m - 1, REFERENCE - 1, 1 / RHO, RHO, alpha=ALPHA)

    def passes(rng: np.random.Generator, true: float) -> bool:
        test, reference = rng.normal(0, SD_LIMIT**true, m), rng.normal(0, 1, REFERENCE)
        return bool(found.c1 < test.var(ddof=1) / reference.var(ddof=1) < found.c2)

    return passes


def _wellek_ranks(m: int) -> Passes:
    def passes(rng: np.random.Generator, true: float) -> bool:
        test, reference = rng.normal(true * MARGIN, 1, m), rng.normal(0, 1, REFERENCE)
        return wellek.mann_whitney(test, reference, ABOVE, ABOVE, alpha=ALPHA).equivalent

    return passes


def _four(rng: np.random.Generator, m: int, away: float) -> dict[str, Floats]:
    """Lots of four sites, the last of which lies `away` from the others."""
    return {str(i): rng.normal(away if i == 3 else 0.0, 1, m) for i in range(4)}


def _wellek_f(m: int) -> Passes:
    # One of four sites away by this much spreads the means by the margin.
    away = MARGIN / sqrt(3 / 4)
    return lambda rng, true: sites.wellek_f(_four(rng, m, true * away), MARGIN, alpha=ALPHA).equivalent


def _all_pairs(m: int) -> Passes:
    def passes(rng: np.random.Generator, true: float) -> bool:
        lots = _four(rng, m, true * MARGIN)
        return bool(sites.all_pairs(lots, margin=LIMITS, alpha=ALPHA).all_inside)

    return passes


def _share(m: int) -> Passes:
    ratio = sqrt(SHARE / (1 - SHARE))

    def passes(rng: np.random.Generator, true: float) -> bool:
        lots = {str(i): rng.normal(rng.normal(0, ratio) * true, 1, m) for i in range(6)}
        return sites.random_sites(lots, level=1 - ALPHA).upper < SHARE

    return passes


def _posterior(m: int) -> Passes:
    def passes(rng: np.random.Generator, true: float) -> bool:
        found = means.welch(rng.normal(0, 1, REFERENCE), rng.normal(true * MARGIN, 1, m), alpha=ALPHA)
        return probability_of_equivalence(found, LIMITS) >= 1 - ALPHA

    return passes


def _each(setting: tuple[str, str], m: int, *, runs: int, seed: int) -> Line:
    """Three sites against the reference; Dunnett's intervals hold all differences at once."""
    rng = generator(seed, *setting, REFERENCE, m)
    size = covered = power = 0
    for _ in range(runs):
        for true in (MARGIN, 0.0):
            lots = {"r": rng.normal(0, 1, REFERENCE)} | {
                k: rng.normal(true if k == "a" else 0.0, 1, m) for k in "abc"
            }
            found = sites.reference_vs_each(
                lots, "r", margin=LIMITS, alpha=ALPHA, simultaneous_level=1 - 2 * ALPHA
            )
            if true:
                size += bool(found.all_inside)
            else:
                power += bool(found.all_inside)
                covered += all(s.simultaneous_low <= 0 <= s.simultaneous_high for s in found.sites.values())
    return Line(
        *setting, REFERENCE, m, runs, 0, *rate(size, runs), ALPHA, *rate(covered, runs), *rate(power, runs),
        each_power(REFERENCE, [m] * 3, 1.0, LIMITS, alpha=ALPHA),
    )  # fmt: skip


def _pooling(setting: tuple[str, str], m: int, *, runs: int, seed: int) -> Line:
    """Four sites beside the reference, one of them away by the margin or all alike; as the mart pools them."""
    rng = generator(seed, *setting, REFERENCE, m)
    n = np.array([REFERENCE, m, m, m, m])
    df = int(n.sum()) - n.size
    size = covered = power = 0
    for _ in range(runs):
        told = sqrt(rng.chisquare(df) / df)
        for true in (MARGIN, 0.0):
            centres = rng.normal([0.0, true, 0.0, 0.0, 0.0], 1 / np.sqrt(n))
            found = hierarchical(centres, told / np.sqrt(n), tau_scale=told, tau_prior="half-normal")
            inside = found.difference_inside(1, 0, LIMITS.low, LIMITS.high) >= 1 - ALPHA
            if true:
                size += inside
                shrunk = found.difference(1, 0)
                covered += shrunk.q05 <= true <= shrunk.q95
            else:
                power += inside
    return Line(
        *setting, REFERENCE, m, runs, 0, *rate(size, runs), None, *rate(covered, runs), *rate(power, runs), None
    )  # fmt: skip


Made = tuple[str, str, Callable[[int], Passes], Callable[[int], "float | None"]]
BESIDE = f"{REFERENCE} reference lots"
TESTS: tuple[Made, ...] = (
    ("Wellek, t of two groups", f"{BESIDE}, 1 SD", _wellek_t, lambda m: t_power(m, REFERENCE, 1, 1)),
    ("Wellek, t of pairs", "1 SD of the differences", _wellek_pairs, lambda m: paired_t_power(m, -1, 1)),
    (
        "Wellek, dispersion", f"{BESIDE}, ratio of SDs {1 / SD_LIMIT:.3g} to {SD_LIMIT:g}", _wellek_spread,
        lambda m: dispersion_power(m - 1, REFERENCE - 1, 1 / RHO, RHO),
    ),
    (
        "Wellek, Mann-Whitney", f"{BESIDE}, P(X > Y) within {ABOVE:.2f} of a half", _wellek_ranks, lambda _: None
    ),
    ("Wellek, F of four sites", "as many lots at each, 1 SD", _wellek_f, lambda m: f_power(4, m, MARGIN)),
    ("all pairs of four sites", "as many lots at each", _all_pairs, lambda m: all_pairs_power(4, m, 1, MARGIN)),
    (
        "share of variance between sites", f"six sites, upper 95 % limit below {SHARE:g}", _share,
        lambda m: site_share_power(6, m, SHARE),
    ),
    ("posterior probability, flat prior", f"{BESIDE}, rule: 0.95 or more", _posterior, lambda _: None),
)  # fmt: skip
EACH = "each of three sites, Dunnett", BESIDE
POOLING = "partial pooling of five sites", f"{BESIDE}, rule: 0.95 or more, other sites like the reference"


def lines(
    line: Callable[..., Line], known: Known, runs: int, seed: int, sizes: tuple[int, ...]
) -> Iterator[Line]:
    """Their lines; `line` draws one by intervals, `known` has those that stand."""
    for m in sizes:
        yield line(
            "one group against a target", "target known", 0, m, _one_sample(m), computed_size=ALPHA,
            computed_power=t_tost_power(LIMITS, sqrt(1 / m), m - 1),
        )  # fmt: skip
    for m in sizes:
        yield line(
            "pooled variance", BESIDE, REFERENCE, m, _pooled(REFERENCE, m), computed_size=ALPHA,
            computed_power=t_tost_power(LIMITS, sqrt(1 / m + 1 / REFERENCE), m + REFERENCE - 2),
        )  # fmt: skip
    for method, setting, made, power in TESTS:
        n = REFERENCE if setting.startswith(BESIDE) else None
        drawn = max(runs // (PAIRS_PART if made is _all_pairs else 1), 1)
        exact = ALPHA if power(max(sizes)) is not None else None
        for m in sizes:
            yield known(method, setting, m) or passing(
                method, setting, n or m, m, made(m), runs=drawn, seed=seed, computed_size=exact, computed_power=power(m)
            )  # fmt: skip
    for told, draw, part in ((EACH, _each, 8), (POOLING, _pooling, 4)):
        for m in sizes:
            yield known(*told, m) or draw(told, m, runs=max(runs // part, 1), seed=seed)
