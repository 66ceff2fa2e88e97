"""Simulated operating characteristics of the split-apheresis analyses at the sizes studies really have.

Belongs here: how often each analysis says "comparable" at a given true difference, with Monte-Carlo error,
from a seed; at the margin that share is the size and should be at most alpha. Does not belong here: exact
power (`power`). Nothing runs when this module is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Literal

import numpy as np
from scipy import stats

from warehouse.statistics.means import Estimate, paired
from warehouse.statistics.mixed_core import Floats
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.statistics.split_apheresis import known_rho_interval, mixed_comparison, unknown_rho_interval

Analysis = Literal["paired", "mixed-kr", "mixed-satterthwaite", "known-rho", "unknown-rho", "mixed-normal"]


@dataclass(frozen=True, slots=True)
class Accepted:
    """Share of `runs` simulated studies called comparable, with the standard error of that share.

    `size` is True where the true difference lies at the margin, so that every acceptance is an error.
    """

    analysis: Analysis
    pairs: int
    history: int
    rho: float
    margin: float
    true: float
    runs: int
    refused: int
    share: float
    mc_error: float
    size: bool


def simulate_split(
    analysis: Analysis,
    *,
    pairs: int,
    history: int = 0,
    rho: float = 0.5,
    margin: float = 1.5,
    true: float | None = None,
    runs: int = 600,
    seed: int = 20240101,
    alpha: float = 0.05,
) -> Accepted:
    """Share called comparable; SDs in units of a reference lot's total SD, `true` defaults to the margin.

    "mixed-normal" judges the mixed model by normal quantiles, as z-based software does, to show what that
    costs. A study that an analysis refuses counts as not accepted and in `refused`.
    """
    if not 0.0 <= rho < 1.0 or pairs < 2 or runs < 1:
        raise StatisticsRefusal(
            "A simulation needs rho from 0 to below 1, 2 or more pairs and at least 1 run."
        )
    shift = margin if true is None else true
    rng = np.random.default_rng([seed, pairs, history, round(1000 * rho)])
    accepted = refused = 0
    for _ in range(runs):
        donor = rng.normal(0.0, sqrt(rho), pairs)
        pre = donor + rng.normal(0.0, sqrt(1.0 - rho), pairs)
        post = donor + shift + rng.normal(0.0, sqrt(1.0 - rho), pairs)
        past = rng.normal(0.0, 1.0, history)
        try:
            low, high = _interval(analysis, pre, post, past, rho=rho, alpha=alpha)
        except StatisticsRefusal:
            refused += 1
            continue
        accepted += -margin < low and high < margin
    share = accepted / runs
    return Accepted(
        analysis, pairs, history, rho, margin, shift, runs, refused, share,
        sqrt(max(share * (1.0 - share), 1.0 / runs) / runs), abs(shift) >= margin,
    )  # fmt: skip


def size_table(
    analyses: Sequence[Analysis],
    *,
    pairs: Sequence[int],
    histories: Sequence[int] = (0, 10),
    rhos: Sequence[float] = (0.5,),
    runs: int = 600,
    seed: int = 20240101,
) -> tuple[Accepted, ...]:
    """Size of each analysis at each design, the table printed beside small-n verdicts."""
    return tuple(
        simulate_split(analysis, pairs=n, history=h, rho=rho, runs=runs, seed=seed)
        for analysis in analyses
        for n in pairs
        for h in histories
        for rho in rhos
        if not (analysis == "paired" and h) and not (analysis == "unknown-rho" and h < 2)
    )


def _interval(
    analysis: Analysis, pre: Floats, post: Floats, past: Floats, *, rho: float, alpha: float
) -> tuple[float, float]:
    closed: dict[str, Callable[[], Estimate]] = {
        "paired": lambda: paired(pre, post, alpha=alpha),
        "known-rho": lambda: known_rho_interval(pre, post, past, rho, alpha=alpha),
        "unknown-rho": lambda: unknown_rho_interval(pre, post, past, alpha=alpha),
    }
    if analysis in closed:
        found = closed[analysis]()
        return found.ci_low, found.ci_high
    n, h = pre.size, past.size
    donor = [f"D{i}" for i in range(n)] * 2 + [f"H{i}" for i in range(h)]
    site = ["A"] * n + ["B"] * n + ["A"] * h
    result = mixed_comparison(
        np.concatenate([pre, post, past]), donor, site, reference="A", alpha=alpha,
        df_method="kenward-roger" if analysis == "mixed-kr" else "satterthwaite",
    ).estimates["B"]  # fmt: skip
    if analysis != "mixed-normal":
        return result.ci_low, result.ci_high
    assert result.se is not None
    half = float(stats.norm.isf(alpha)) * result.se
    return result.estimate - half, result.estimate + half
