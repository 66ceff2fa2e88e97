"""Equivalence of means: Welch, pooled, paired and one-sample t, from lots or summaries, and Fieller's ratio.

Belongs here: an estimate with its interval, and two one-sided tests (TOST) on it. Does not belong here:
ranks (ranks.py), mixed models, the verdict's words (verdict.py).

One direction everywhere: test minus reference (or test over reference). `estimate`, `ci_low`, `ci_high` and
margins are as read on the scale (a ratio on the log scale); `se`, `df` and the SDs are on the analysis scale.
The interval is the two-sided 1 - 2 alpha one (90 % at alpha 0.05) that TOST inverts, not the wider
[min(0, L), max(0, U)] that some programs print; degrees of freedom are never truncated to an integer.

Sources: Schuirmann (1987) J Pharmacokin Biopharm 15:657; Welch (1947) Biometrika 34:28; ASTM E2935;
Fieller (1954) JRSS B 16:175; Sasabuchi (1980) Biometrika 67:429; Hauschke et al. (1999).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, sqrt
from typing import TYPE_CHECKING, NamedTuple

from scipy.stats import t as student

from warehouse.statistics.refusal import StatisticsRefusal, differences, one_sided, spread, vector
from warehouse.statistics.scales import (
    READING,
    Margin,
    Reading,
    Scale,
    forward,
    margin_on_scale,
    read,
    unread,
)
from warehouse.statistics.versions import version_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class Summary(NamedTuple):
    """What is left of a group's lots when only summaries were sent, on the analysis scale."""

    mean: float
    sd: float
    n: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """Test against reference with its interval; what `tost` and the verdict stand on.

    method and df_method name how it was made; scale, reading how to read it. `estimate`, `ci_low`, `ci_high`
    are as read, the rest on the analysis scale. `sd_difference` is set for pairs, `sd_reference` and
    `sd_test` for unpaired groups; both None where the method plans its own lots (mixed models).
    """

    method: str
    scale: Scale
    reading: Reading
    estimate: float
    ci_low: float
    ci_high: float
    alpha: float
    interval: str
    n_reference: int
    n_test: int
    se: float | None = None
    df: float | None = None
    df_method: str | None = None
    sd_reference: float | None = None
    sd_test: float | None = None
    sd_difference: float | None = None

    @property
    def version(self) -> int:
        """Version of the method that made it."""
        return version_of(self.method)


@dataclass(frozen=True, slots=True)
class Tost:
    """Two one-sided tests of an estimate against a margin (as read). `p` is the larger of the two."""

    estimate: Estimate
    margin: Margin
    t_lower: float
    t_upper: float
    p_lower: float
    p_upper: float
    p: float
    equivalent: bool


def interval_name(alpha: float) -> str:
    """The name of the interval two one-sided tests at `alpha` invert: "two-sided 90 %" at 0.05."""
    return f"two-sided {100 * (1 - 2 * alpha):g} %"


def estimate_from_t(
    method: str,
    difference: float,
    se: float,
    df: float,
    *,
    scale: Scale,
    alpha: float,
    n_reference: int,
    n_test: int,
    df_method: str,
    sd_reference: float | None = None,
    sd_test: float | None = None,
    sd_difference: float | None = None,
) -> Estimate:
    """An `Estimate` from a difference, standard error and degrees of freedom on the analysis scale.

    Any method that ends in a t interval (a mixed model too) makes its result here. Raises StatisticsRefusal
    when the standard error is 0 or not a number: identical values have no spread to judge by.
    """
    level = one_sided(alpha)
    if not (isfinite(difference) and isfinite(se) and isfinite(df)) or df <= 0:
        raise StatisticsRefusal(f"{method}: no finite standard error can be given for these data.")
    if se <= 0:
        raise StatisticsRefusal(
            f"{method}: every value is the same, so there is no spread to judge a difference by; "
            "check for rounding, repeated or truncated results."
        )
    half = float(student.ppf(1.0 - level, df)) * se
    return Estimate(
        method=method,
        scale=scale,
        reading=READING[scale],
        estimate=read(difference, scale),
        ci_low=read(difference - half, scale),
        ci_high=read(difference + half, scale),
        alpha=level,
        interval=interval_name(level),
        n_reference=n_reference,
        n_test=n_test,
        se=se,
        df=df,
        df_method=df_method,
        sd_reference=sd_reference,
        sd_test=sd_test,
        sd_difference=sd_difference,
    )


def summarise(
    values: ArrayLike, scale: Scale = "identity", *, top: float = 1.0, what: str = "values"
) -> Summary:
    """Mean, SD and n of at least 2 lots on the analysis scale."""
    array = vector(forward(values, scale, top=top, what=what), what, at_least=2)
    return Summary(float(array.mean()), spread(array), int(array.size))


def _checked(group: Summary, what: str) -> Summary:
    if group.n < 2:
        raise StatisticsRefusal(f"{what}: {group.n} lot(s), at least 2 are needed for a spread.")
    if not (isfinite(group.mean) and isfinite(group.sd)) or group.sd < 0:
        raise StatisticsRefusal(f"{what}: mean and SD must be finite and the SD not negative.")
    return group


def welch_from_summaries(
    reference: Summary, test: Summary, *, scale: Scale = "identity", alpha: float = 0.05
) -> Estimate:
    """Difference of means without assuming equal variances, Welch-Satterthwaite df (not truncated)."""
    ref, new = _checked(reference, "reference"), _checked(test, "test")
    a, b = ref.sd**2 / ref.n, new.sd**2 / new.n
    total = a + b
    # Shares first: squares of very small variances would underflow and leave 0/0.
    df = 1.0 / ((a / total) ** 2 / (ref.n - 1) + (b / total) ** 2 / (new.n - 1)) if total > 0 else 1.0
    return estimate_from_t(
        "welch-t",
        new.mean - ref.mean,
        sqrt(total),
        df,
        scale=scale,
        alpha=alpha,
        n_reference=ref.n,
        n_test=new.n,
        df_method="Welch-Satterthwaite",
        sd_reference=ref.sd,
        sd_test=new.sd,
    )


def pooled_from_summaries(
    reference: Summary, test: Summary, *, scale: Scale = "identity", alpha: float = 0.05
) -> Estimate:
    """Difference of means assuming equal variances, n_reference + n_test - 2 df."""
    ref, new = _checked(reference, "reference"), _checked(test, "test")
    df = ref.n + new.n - 2
    variance = ((ref.n - 1) * ref.sd**2 + (new.n - 1) * new.sd**2) / df
    return estimate_from_t(
        "pooled-t",
        new.mean - ref.mean,
        sqrt(variance * (1 / ref.n + 1 / new.n)),
        float(df),
        scale=scale,
        alpha=alpha,
        n_reference=ref.n,
        n_test=new.n,
        df_method="n1 + n2 - 2",
        sd_reference=ref.sd,
        sd_test=new.sd,
    )


def welch(
    reference: ArrayLike, test: ArrayLike, *, scale: Scale = "identity", alpha: float = 0.05, top: float = 1.0
) -> Estimate:
    """Welch's comparison of two groups of lots; see `welch_from_summaries`."""
    return welch_from_summaries(
        summarise(reference, scale, top=top, what="reference"),
        summarise(test, scale, top=top, what="test"),
        scale=scale,
        alpha=alpha,
    )


def pooled(
    reference: ArrayLike, test: ArrayLike, *, scale: Scale = "identity", alpha: float = 0.05, top: float = 1.0
) -> Estimate:
    """Pooled-variance comparison of two groups of lots; see `pooled_from_summaries`."""
    return pooled_from_summaries(
        summarise(reference, scale, top=top, what="reference"),
        summarise(test, scale, top=top, what="test"),
        scale=scale,
        alpha=alpha,
    )


def paired_from_summary(difference: Summary, *, scale: Scale = "identity", alpha: float = 0.05) -> Estimate:
    """Mean of the within-pair differences (test minus reference, analysis scale), n - 1 df."""
    diff = _checked(difference, "pairs")
    return estimate_from_t(
        "paired-t",
        diff.mean,
        diff.sd / sqrt(diff.n),
        float(diff.n - 1),
        scale=scale,
        alpha=alpha,
        n_reference=diff.n,
        n_test=diff.n,
        df_method="pairs - 1",
        sd_difference=diff.sd,
    )


def paired(
    reference: ArrayLike, test: ArrayLike, *, scale: Scale = "identity", alpha: float = 0.05, top: float = 1.0
) -> Estimate:
    """Split runs: the i-th reference and the i-th test lot come from the same donor."""
    ref = forward(reference, scale, top=top, what="reference")
    new = forward(test, scale, top=top, what="test")
    if ref.size != new.size:
        raise StatisticsRefusal(f"Pairs need equal counts: {ref.size} reference and {new.size} test lots.")
    return paired_from_summary(summarise(differences(ref, new), what="pairs"), scale=scale, alpha=alpha)


def one_sample(
    values: ArrayLike, target: float, *, scale: Scale = "identity", alpha: float = 0.05, top: float = 1.0
) -> Estimate:
    """Lots against a fixed target in the attribute's unit; the target counts as known without error."""
    group = summarise(values, scale, top=top, what="values")
    aim = float(forward([target], scale, top=top, what="target")[0])
    return estimate_from_t(
        "one-sample-t",
        group.mean - aim,
        group.sd / sqrt(group.n),
        float(group.n - 1),
        scale=scale,
        alpha=alpha,
        n_reference=0,
        n_test=group.n,
        df_method="n - 1",
        sd_difference=group.sd,
    )


def difference_on_scale(estimate: Estimate) -> float:
    """The estimate on the analysis scale (a log ratio for a ratio)."""
    return unread(estimate.estimate, estimate.scale)


def tost(estimate: Estimate, margin: Margin) -> Tost:
    """Two one-sided t tests at `estimate.alpha`: equivalent when the whole interval lies inside the margin.

    `margin` is as read. Raises StatisticsRefusal for an estimate without a standard error (rank and Fieller
    intervals have tests of their own) and for a margin that cannot be read on the scale.
    """
    if estimate.se is None or estimate.df is None:
        raise StatisticsRefusal(f"{estimate.method} has no standard error; use the test that belongs to it.")
    low, high = margin_on_scale(margin, estimate.scale)
    difference = difference_on_scale(estimate)
    t_lower, t_upper = (difference - low) / estimate.se, (difference - high) / estimate.se
    p_lower = float(student.sf(t_lower, estimate.df))
    p_upper = float(student.cdf(t_upper, estimate.df))
    p = max(p_lower, p_upper)
    return Tost(estimate, margin, t_lower, t_upper, p_lower, p_upper, p, p < estimate.alpha)


def _ratio_t(ref: Summary, new: Summary, theta: float, *, equal_variances: bool) -> tuple[float, float]:
    """Sasabuchi's t of mean(test) - theta mean(reference) and its df."""
    a, b = theta**2 * ref.sd**2 / ref.n, new.sd**2 / new.n
    if equal_variances:
        df = float(ref.n + new.n - 2)
        variance = ((ref.n - 1) * ref.sd**2 + (new.n - 1) * new.sd**2) / df
        total = variance * (theta**2 / ref.n + 1 / new.n)
    else:
        total = a + b
        df = 1.0 / ((a / total) ** 2 / (ref.n - 1) + (b / total) ** 2 / (new.n - 1))
    return (new.mean - theta * ref.mean) / sqrt(total), df


def fieller(reference: Summary, test: Summary, *, alpha: float = 0.05) -> Estimate:
    """Ratio of arithmetic means, test over reference, with Fieller's interval (pooled variance).

    Raises StatisticsRefusal when the reference mean is not distinguishable from 0 at this level: the set of
    ratios the data allow is then unbounded, and a pair of numbers would be a wrong answer.
    """
    ref, new = _checked(reference, "reference"), _checked(test, "test")
    level = one_sided(alpha)
    df = ref.n + new.n - 2
    variance = ((ref.n - 1) * ref.sd**2 + (new.n - 1) * new.sd**2) / df
    if variance <= 0:
        raise StatisticsRefusal("fieller: every value is the same, so no spread to judge a ratio by.")
    quantile = float(student.ppf(1.0 - level, df))
    a = ref.mean**2 - quantile**2 * variance / ref.n
    if a <= 0:
        raise StatisticsRefusal(
            "fieller: the reference mean cannot be told from 0, so the ratio has no bounded interval; "
            "plan a difference or the log scale."
        )
    b, c = ref.mean * new.mean, new.mean**2 - quantile**2 * variance / new.n
    root = sqrt(max(b * b - a * c, 0.0))
    return Estimate(
        method="fieller",
        scale="identity",
        reading="ratio",
        estimate=new.mean / ref.mean,
        ci_low=(b - root) / a,
        ci_high=(b + root) / a,
        alpha=level,
        interval=interval_name(level),
        n_reference=ref.n,
        n_test=new.n,
        df=float(df),
        df_method="n1 + n2 - 2",
        sd_reference=ref.sd,
        sd_test=new.sd,
    )


def fieller_tost(
    reference: Summary, test: Summary, margin: Margin, *, alpha: float = 0.05, equal_variances: bool = True
) -> Tost:
    """Sasabuchi's two one-sided tests on the ratio of arithmetic means; needs a positive reference mean.

    Without equal variances the df are Welch-Satterthwaite at each limit of the margin (Hauschke 1999); the
    interval shown with it is Fieller's pooled one.
    """
    estimate = fieller(reference, test, alpha=alpha)
    if reference.mean <= 0 or margin.low <= 0 or not margin.low < margin.high:
        raise StatisticsRefusal("fieller: a ratio margin needs 0 < low < high and a positive reference mean.")
    t_lower, df_lower = _ratio_t(reference, test, margin.low, equal_variances=equal_variances)
    t_upper, df_upper = _ratio_t(reference, test, margin.high, equal_variances=equal_variances)
    p_lower, p_upper = float(student.sf(t_lower, df_lower)), float(student.cdf(t_upper, df_upper))
    p = max(p_lower, p_upper)
    return Tost(estimate, margin, t_lower, t_upper, p_lower, p_upper, p, p < estimate.alpha)
