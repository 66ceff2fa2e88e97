"""Which lines of the error-rates page are a method's.

Belongs here: for each method of `warehouse.statistics.versions` the title of its lines, or why it has none. Does not
belong here: drawing them (`characteristics` and its parts). A test holds that every method, and everything that a plan
can declare, has lines at every number of lots.
"""

from __future__ import annotations

from typing import get_args

from warehouse.statistics.multiplicity import Adjustment
from warehouse.verification.characteristics_families import ALL, method_of

_ADJUSTMENTS: tuple[Adjustment, ...] = get_args(Adjustment)

#: Method → title of its lines.
LINES_OF: dict[str, str] = {
    "welch-t": "Welch",
    "pooled-t": "pooled variance",
    "paired-t": "paired",
    "one-sample-t": "one group against a target",
    "fieller": "ratio of arithmetic means, Fieller",
    "mann-whitney": "ranks, Mann-Whitney",
    "signed-rank": "ranks, signed rank",
    "sd-ratio-f": "ratio of SDs",
    "ancova-kr": "adjusted",
    "routine-kr": "pooled variance",
    "mixed-kr": "mixed, Kenward-Roger",
    "mixed-satterthwaite": "mixed, Satterthwaite",
    "split-known-rho": "split study, share of donors known",
    "split-unknown-rho": "split study, share of donors unknown",
    "pooled-over-sites-t": "each of three sites, Dunnett",
    "dunnett": "each of three sites, Dunnett",
    "all-pairs": "all pairs of four sites",
    "wellek-f": "Wellek, F of four sites",
    "wald-site-share": "share of variance between sites",
    "wellek-t": "Wellek, t of two groups",
    "wellek-paired-t": "Wellek, t of pairs",
    "wellek-dispersion": "Wellek, dispersion",
    "wellek-mann-whitney": "Wellek, Mann-Whitney",
    "miettinen-nurminen": "proportions, Miettinen-Nurminen",
    "newcombe": "proportions, Newcombe",
    "chan-zhang": "proportions, exact (Chan-Zhang)",
    "tango": "proportions of pairs, Tango",
    "rate-ratio-exact": "ratio of rates, exact",
    "lognormal-mle": "median below detection, likelihood",
    "mixed-tobit": "below detection, mixed Tobit, two assays a lot",
    "quality range": "quality range",
    "normal tolerance, exact": "tolerance range, normal",
    "lognormal tolerance, exact": "tolerance range, normal",
    "non-parametric tolerance": "tolerance range, no distribution",
    "prediction": "prediction range",
    "prediction, exact": "prediction range",
    "posterior-flat-prior": "posterior probability, flat prior",
    "partial-pooling": "partial pooling of five sites",
    "group-sequential, obrien-fleming": "watched at every new lot",
    "group-sequential, pocock": "watched at every new lot",
    "intersection-union": ALL,
    **{name: method_of(name) for name in _ADJUSTMENTS},
}

#: Methods without an error rate, and why.
WITHOUT: dict[str, str] = {
    "mee": "shown by nothing here; it inverts Farrington and Manning's test, for published values",
    "agresti-caffo": "shown by nothing here, for published values",
    "wald": "shown by nothing here: too short near 0 and 1",
    "regression-on-order-statistics": "a mean alone, without an interval",
    "kaplan-meier": "a mean alone, without an interval",
    "prediction, Bonferroni": "wider than the exact range that is used",
    "leave-one-out": "says how far one lot pulls, of the deciding method",
}

#: Titles of what may decide a verdict; all else is shown beside.
DECIDING = frozenset(
    LINES_OF[method]
    for method in ("welch-t", "sd-ratio-f", "ancova-kr", "mixed-kr", "group-sequential, pocock")
) | {"ratio, log scale", "odds ratio, logit scale", "paired"}
