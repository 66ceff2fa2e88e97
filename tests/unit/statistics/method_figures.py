"""Figures of every method on the same few lots: what a version stands for.

Belongs here: each method's numbers on fixed data. Does not belong here: whether they are right (reference cases and the
methods' own tests).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import get_args

import numpy as np

from warehouse.statistics import means, multiplicity, ranks, rates, sites, split_apheresis, tolerance, wellek
from warehouse.statistics.bayes import hierarchical, probability_of_equivalence
from warehouse.statistics.censored import kaplan_meier, lognormal_mle, regression_on_order_statistics
from warehouse.statistics.covariates import compare_routine
from warehouse.statistics.influence import leave_one_out
from warehouse.statistics.means import Estimate
from warehouse.statistics.proportions import (
    Count,
    Pairs,
    agresti_caffo,
    chan_zhang,
    mee,
    miettinen_nurminen,
    newcombe,
    tango,
    wald,
)
from warehouse.statistics.scales import Margin
from warehouse.statistics.sequential import SequentialPlan, watch
from warehouse.statistics.tobit import mixed_tobit
from warehouse.statistics.variability import sd_ratio

A = np.array([1.02, 0.87, 1.31, 1.14, 0.95, 1.22, 1.08, 0.99])
B = np.array([1.12, 0.91, 1.44, 1.10, 1.01, 1.37])
PAIRED = A + np.array([0.05, -0.02, 0.11, 0.04, 0.01, -0.06, 0.09, 0.03])
AGE = np.array([5.0, 3.0, 8.0, 6.0, 4.0, 7.0, 5.5, 4.5, 6.5, 3.5, 9.0, 6.2, 4.8, 7.5])
DONOR = ["1", "2", "3", "4", "1", "2", "3", "4", "5", "6"]
SITE = ["a"] * 4 + ["b"] * 4 + ["a"] * 2
SPLIT = np.concatenate([A[:4], PAIRED[:4], A[4:6]])
P_VALUES = [0.01, 0.04, 0.03, 0.2]
MARGIN = Margin(-0.3, 0.3)


def _ends(found: Estimate) -> list[float]:
    return [found.estimate, found.ci_low, found.ci_high]


def _routine(covariate: bool) -> list[float]:
    found = compare_routine(
        np.concatenate([A, B]), ["a"] * 8 + ["b"] * 6, reference="a", patient=[str(i) for i in range(14)],
        numeric={"age": AGE} if covariate else None,
    )  # fmt: skip
    return _ends(found.estimates["b"])


def _mixed(df_method: str) -> list[float]:
    method = "satterthwaite" if df_method == "satterthwaite" else "kenward-roger"
    return _ends(
        split_apheresis.mixed_comparison(SPLIT, DONOR, SITE, reference="a", df_method=method).estimates["b"]
    )


def _looks(spending: str) -> list[float]:
    kind = "pocock" if spending == "pocock" else "obrien-fleming"
    found = watch([means.welch(A, B[:k]) for k in (2, 4, 6)], SequentialPlan(8, 6, 0.05, kind), MARGIN)
    return [look.nominal or 0.0 for look in found]


def _groups() -> dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    return {"a": A, "b": B, "c": PAIRED[:5]}


def _dunnett() -> list[float]:
    found = sites.reference_vs_each(_groups(), "a").sites["b"]
    return [found.simultaneous_low, found.simultaneous_high, found.adjusted_p]


def _range(found: tolerance.Range) -> list[float]:
    return [v for v in (found.low, found.high) if v is not None]


def _pulled() -> list[float]:
    found = leave_one_out(
        ["0", "1"], lambda u: means.welch(A if u is None else np.delete(A, int(u)), B), margin=MARGIN
    )
    return [i.shift or 0.0 for i in found]


def _tobit() -> list[float]:
    y = np.log(np.concatenate([A, B]))
    x = np.column_stack([np.ones(14), np.repeat([0.0, 1.0], [8, 6])])
    return list(mixed_tobit(np.maximum(y, 0.0), y < 0.0, x, [str(i // 2) for i in range(14)]).interval(1))


def _pooling() -> list[float]:
    found = hierarchical([0.1, 0.2, -0.1, 0.4], [0.1, 0.1, 0.2, 0.3], tau_scale=0.3, tau_prior="half-normal")
    return [found.tau.q50, found.difference_inside(1, 0, -0.3, 0.3)]


SIDES = means.summarise(A), means.summarise(B)
BELOW = np.array([True, True, False, False, False, False, True, True])
FIGURES: dict[str, Callable[[], list[float]]] = {
    "welch-t": lambda: _ends(means.welch(A, B)),
    "pooled-t": lambda: _ends(means.pooled(A, B)),
    "paired-t": lambda: _ends(means.paired(A, PAIRED)),
    "one-sample-t": lambda: _ends(means.one_sample(B, 1.0)),
    "fieller": lambda: _ends(means.fieller(*SIDES)),
    "mann-whitney": lambda: _ends(ranks.mann_whitney(A, B)),
    "signed-rank": lambda: _ends(ranks.signed_rank(A, PAIRED)),
    "sd-ratio-f": lambda: _ends(sd_ratio(*SIDES)),
    "ancova-kr": lambda: _routine(covariate=True),
    "routine-kr": lambda: _routine(covariate=False),
    "mixed-kr": lambda: _mixed("kenward-roger"),
    "mixed-satterthwaite": lambda: _mixed("satterthwaite"),
    "split-known-rho": lambda: _ends(split_apheresis.known_rho_interval(A[:4], PAIRED[:4], A[4:], 0.5)),
    "split-unknown-rho": lambda: _ends(split_apheresis.unknown_rho_interval(A[:4], PAIRED[:4], A[4:])),
    "pooled-over-sites-t": lambda: _ends(sites.reference_vs_each(_groups(), "a").sites["b"].estimate),
    "dunnett": _dunnett,
    "all-pairs": lambda: _ends(sites.all_pairs(_groups()).bounded["a", "b"]),
    "wellek-f": lambda: [sites.wellek_f(_groups(), 1.0).p, sites.wellek_f(_groups(), 1.0).critical],
    "wald-site-share": lambda: [sites.random_sites(_groups()).upper],
    "wellek-t": lambda: [wellek.t_constants(8, 6, 1.0, 1.0).c1, wellek.t_constants(8, 6, 1.0, 1.0).c2],
    "wellek-paired-t": lambda: [wellek.paired_t_constants(8, -1.0, 0.8).c1],
    "wellek-dispersion": lambda: [wellek.dispersion_constants(7, 5, 0.4, 2.5).c1],
    "wellek-mann-whitney": lambda: [wellek.mann_whitney(A, B, 0.2, 0.2).statistic],
    "miettinen-nurminen": lambda: [miettinen_nurminen(Count(8, 9), Count(15, 20), level=0.9).ci_low],
    "newcombe": lambda: [newcombe(Count(8, 9), Count(15, 20), level=0.9).ci_low],
    "chan-zhang": lambda: [chan_zhang(Count(6, 7), Count(5, 8), level=0.9).ci_low],
    "mee": lambda: [mee(Count(8, 9), Count(15, 20), level=0.9).ci_low],
    "agresti-caffo": lambda: [agresti_caffo(Count(8, 9), Count(15, 20), level=0.9).ci_low],
    "wald": lambda: [wald(Count(8, 9), Count(15, 20), level=0.9).ci_low],
    "tango": lambda: [tango(Pairs(8, 2, 1, 1), level=0.9).ci_low],
    "rate-ratio-exact": lambda: [rates.rate_ratio(rates.Exposure(4, 9), rates.Exposure(15, 20)).ci_low],
    "lognormal-mle": lambda: [lognormal_mle(A, BELOW).meanlog, lognormal_mle(A, BELOW).se_meanlog],
    "regression-on-order-statistics": lambda: [regression_on_order_statistics(A, BELOW).mean],
    "kaplan-meier": lambda: [kaplan_meier(A, BELOW).mean, kaplan_meier(A, BELOW).sd],
    "mixed-tobit": _tobit,
    "quality range": lambda: _range(tolerance.quality_range(SIDES[0])),
    "normal tolerance, exact": lambda: _range(tolerance.normal_tolerance(SIDES[0], 0.95, 0.95)),
    "lognormal tolerance, exact": lambda: _range(tolerance.lognormal_tolerance(A, 0.95, 0.95)),
    "non-parametric tolerance": lambda: _range(tolerance.nonparametric_tolerance(A, 0.6, 0.8)),
    "prediction": lambda: _range(tolerance.prediction(SIDES[0], 0.95)),
    "prediction, exact": lambda: _range(tolerance.prediction(SIDES[0], 0.95, lots=4)),
    "prediction, Bonferroni": lambda: _range(tolerance.prediction(SIDES[0], 0.95, lots=4, exact=False)),
    "posterior-flat-prior": lambda: [probability_of_equivalence(means.welch(A, B), MARGIN)],
    "partial-pooling": _pooling,
    "group-sequential, obrien-fleming": lambda: _looks("obrien-fleming"),
    "group-sequential, pocock": lambda: _looks("pocock"),
    "intersection-union": lambda: [
        sites.reference_vs_each(_groups(), "a", margin=MARGIN).sites["b"].p or 0.0
    ],
    "leave-one-out": _pulled,
    **{
        name: partial(lambda n: multiplicity.adjust(P_VALUES, n).tolist(), name)
        for name in get_args(multiplicity.Adjustment)
    },
}
