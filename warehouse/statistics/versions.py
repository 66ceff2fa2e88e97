"""Which version of a method made a number.

Belongs here: one number a method, raised by hand in the commit that changes what the method answers to the same data.
Does not belong here: the release of the software, or parameters, which stand in the results themselves.

A method without a version makes no result: looking it up fails. A test keeps figures of every method beside its version
and fails where the figures move and the version does not.
"""

from __future__ import annotations

VERSIONS: dict[str, int] = {
    # Means
    "welch-t": 1,
    "pooled-t": 1,
    "paired-t": 1,
    "one-sample-t": 1,
    "fieller": 1,
    "mann-whitney": 1,
    "signed-rank": 1,
    # Spread
    "sd-ratio-f": 1,
    # Models
    "ancova-kr": 1,
    "routine-kr": 1,
    "mixed-kr": 1,
    "mixed-satterthwaite": 1,
    "split-known-rho": 1,
    "split-unknown-rho": 1,
    # Several sites
    "pooled-over-sites-t": 1,
    "dunnett": 1,
    "all-pairs": 1,
    "wellek-f": 1,
    "wald-site-share": 1,
    # Wellek's
    "wellek-t": 1,
    "wellek-paired-t": 1,
    "wellek-dispersion": 1,
    "wellek-mann-whitney": 1,
    # Proportions and rates
    "miettinen-nurminen": 1,
    "newcombe": 1,
    "chan-zhang": 1,
    "mee": 1,
    "agresti-caffo": 1,
    "wald": 1,
    "tango": 1,
    "rate-ratio-exact": 1,
    # Below detection
    "lognormal-mle": 1,
    "regression-on-order-statistics": 1,
    "kaplan-meier": 1,
    "mixed-tobit": 1,
    # Ranges
    "quality range": 1,
    "normal tolerance, exact": 1,
    "lognormal tolerance, exact": 1,
    "non-parametric tolerance": 1,
    "prediction": 1,
    "prediction, exact": 1,
    "prediction, Bonferroni": 1,
    # Bayesian companions
    "posterior-flat-prior": 1,
    "partial-pooling": 1,
    # Looks and families
    "group-sequential, obrien-fleming": 1,
    "group-sequential, pocock": 1,
    "intersection-union": 1,
    "bonferroni": 1,
    "holm": 1,
    "hochberg": 1,
    "hommel": 1,
    "bh": 1,
    "by": 1,
    "leave-one-out": 1,
}


def version_of(method: str) -> int:
    """The version of a method; KeyError for one that has none, which no result may be made by."""
    return VERSIONS[method]


def with_versions(*methods: str) -> str:
    """Methods with their versions, as a row of a mart tells them: "welch-t 1; sd-ratio-f 1"."""
    return "; ".join(f"{method} {version_of(method)}" for method in dict.fromkeys(methods))
