"""How many further lots would settle an inconclusive comparison of means.

Belongs here: exact power of the Welch, pooled and one-group TOST given true spreads, and the smallest number
of lots that reaches a power. Does not belong here: planning of a study before data (power.py), mixed models.

All by numerical integration, never by Monte-Carlo, so the same data always give the same number. Margins,
differences and SDs are on the analysis scale. Sources: Owen (1965) Biometrika 52:437 for one variance;
for two, the same integral over the two independent sample variances.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, inf, sqrt

import numpy as np
from scipy.special import betaincinv, betaln, chdtri, gammaln, ndtr, stdtrit

from warehouse.statistics.quadrature import unit_nodes
from warehouse.statistics.refusal import Floats, StatisticsRefusal, one_sided, probability
from warehouse.statistics.scales import Margin

_TAIL = 1e-13
_MOST_LOTS = 10_000_000


def _inside(margin: Margin, true: float, sd: float, per_root: Floats, df: float) -> Floats:
    """P(both one-sided tests reject) for each c, the half width being c * sqrt(G) with G ~ chi2(df).

    The integrand is smooth up to the root where the half width fills the margin, and 0 beyond it, so
    the integral stops there.
    """
    x, w = unit_nodes(64)
    lowest, highest = sqrt(chdtri(df, 1 - _TAIL)), sqrt(chdtri(df, _TAIL))
    end = np.clip((margin.high - margin.low) / (2 * per_root), lowest, highest)[:, None]
    root = lowest + x * (end - lowest)
    density = np.exp((df - 1) * np.log(root) - root**2 / 2 - (df / 2 - 1) * np.log(2) - gammaln(df / 2))
    half = per_root[:, None] * root
    accept = ndtr((margin.high - true - half) / sd) - ndtr((margin.low - true + half) / sd)
    return np.asarray(((end - lowest) * w * density * np.maximum(accept, 0.0)).sum(axis=1))


def t_tost_power(margin: Margin, se: float, df: float, *, true: float = 0.0, alpha: float = 0.05) -> float:
    """Power of TOST whose estimate has true standard error `se`, estimated with `df` degrees of freedom.

    Covers paired, one-sample, pooled and crossover designs (Owen's Q). `df` may be infinite.
    """
    level = one_sided(alpha)
    if se <= 0 or df <= 0:
        raise StatisticsRefusal("Power needs a spread above 0 and at least one degree of freedom.")
    if df > 1e6:
        half = -float(stdtrit(1e9, level)) * se
        accept = ndtr((margin.high - true - half) / se) - ndtr((margin.low - true + half) / se)
        return max(0.0, float(accept))
    per_root = np.array([-float(stdtrit(df, level)) * se / sqrt(df)])
    return float(_inside(margin, true, se, per_root, df)[0])


def welch_tost_power(
    margin: Margin,
    sd_reference: float,
    n_reference: int,
    sd_test: float,
    n_test: float,
    *,
    true: float = 0.0,
    alpha: float = 0.05,
) -> float:
    """Power of Welch's TOST with true SDs and sizes; `n_test` may be infinite (the reference alone is noise).

    Exact up to quadrature (1e-5 at worst, with very many lots): with X, Y the two chi-squares, X + Y and
    X / (X + Y) are independent, and the Welch df depend on the second alone.
    """
    level = one_sided(alpha)
    a, b = sd_reference**2 / n_reference, sd_test**2 / n_test
    if b == 0:
        return t_tost_power(margin, sqrt(a), n_reference - 1, true=true, alpha=level)
    if a == 0:
        return t_tost_power(margin, sqrt(b), n_test - 1, true=true, alpha=level)
    first, second = n_reference - 1, n_test - 1
    # Panels, because with many lots the integrand turns to 0 sharply at one share.
    x, w = unit_nodes(16, panels=12)
    p, q = first / 2, second / 2
    # share = sin(angle)^2 keeps the density bounded at one degree of freedom.
    low = np.arcsin(sqrt(betaincinv(p, q, _TAIL)))
    high = np.arccos(sqrt(betaincinv(q, p, _TAIL)))
    angle = low + x * (high - low)
    sine, cosine = np.sin(angle), np.cos(angle)
    density = 2 * np.exp((2 * p - 1) * np.log(sine) + (2 * q - 1) * np.log(cosine) - betaln(p, q))
    ref, new = a * sine**2 / first, b * cosine**2 / second
    df = (ref + new) ** 2 / (ref**2 / first + new**2 / second)
    per_root = -stdtrit(df, level) * np.sqrt(ref + new)
    inner = _inside(margin, true, sqrt(a + b), per_root, first + second)
    return float((high - low) * (w * density * inner).sum())


def welch_size(
    sd_reference: float, n_reference: int, sd_test: float, n_test: int, *, alpha: float = 0.05
) -> float:
    """Exact chance that Welch's TOST passes a true difference at the margin, the other limit far away.

    Welch's df are an approximation: 0.060 instead of 0.05 for 3 lots against 20 of the same spread.
    """
    far = 1e6 * sqrt(sd_reference**2 / n_reference + sd_test**2 / n_test)
    return welch_tost_power(Margin(-far, 0.0), sd_reference, n_reference, sd_test, n_test, alpha=alpha)


def first_enough(power_at: Callable[[int], float], *, start: int, limit: float, power: float) -> int | None:
    """The smallest n >= start with power_at(n) >= power, by doubling and bisection; None when there is none.

    `limit` is the power with infinitely many lots. Power grows with n but for a slight fall near the limit
    that Welch's df can cause, which is why a limit below `power` ends the search only after doubling past
    the sizes where that happens.
    """
    if power_at(start) >= power:
        return start
    below, above = start, 2 * start
    furthest = _MOST_LOTS if limit >= power else 4096
    while power_at(above) < power:
        below, above = above, 2 * above
        if above > furthest:
            return None
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (below, middle) if power_at(middle) >= power else (middle, above)
    return above


def welch_lots(
    margin: Margin,
    sd_reference: float,
    n_reference: int,
    sd_test: float,
    n_test: int,
    *,
    true: float = 0.0,
    alpha: float = 0.05,
    power: float = 0.8,
) -> int | None:
    """Further test lots, reference fixed, until Welch's TOST has `power` at a true difference of `true`.

    0 when the lots in hand have it already; None when even infinitely many would not, because the reference's
    own standard error is too wide for the margin. Fewer than 2 test lots count up from 2.
    """
    probability(power, "power")
    if n_reference < 2:
        return None
    if sd_reference <= 0 and sd_test <= 0:
        raise StatisticsRefusal(
            "The spread of the lots is 0 on both sides: no number of lots can be planned."
        )

    def power_at(n: int) -> float:
        return welch_tost_power(margin, sd_reference, n_reference, sd_test, n, true=true, alpha=alpha)

    se = sd_reference / sqrt(n_reference)
    limit = 1.0
    if se > 0:
        limit = welch_tost_power(margin, sd_reference, n_reference, sd_test, inf, true=true, alpha=alpha)
    # With the spread known, power is a bound on what any number of lots reaches.
    if se > 0 and t_tost_power(margin, se, inf, true=true, alpha=alpha) < power:
        return None
    found = first_enough(power_at, start=max(2, n_test), limit=limit, power=power)
    return None if found is None else found - n_test


def pooled_lots(
    margin: Margin,
    sd: float,
    n_reference: int,
    n_test: int,
    *,
    true: float = 0.0,
    alpha: float = 0.05,
    power: float = 0.8,
) -> int | None:
    """As `welch_lots` for the pooled test with common SD `sd`."""
    probability(power, "power")

    def power_at(n: int) -> float:
        se = sd * sqrt(1 / n_reference + 1 / n)
        return t_tost_power(margin, se, n_reference + n - 2, true=true, alpha=alpha)

    limit = t_tost_power(margin, sd / sqrt(n_reference), inf, true=true, alpha=alpha)
    if limit < power:
        return None
    found = first_enough(power_at, start=n_test, limit=limit, power=power)
    return None if found is None else found - n_test


def paired_lots(
    margin: Margin,
    sd_difference: float,
    pairs: int,
    *,
    true: float = 0.0,
    alpha: float = 0.05,
    power: float = 0.8,
) -> int | None:
    """Further pairs, or further lots against a fixed target, for `power` at a true difference of `true`."""
    probability(power, "power")
    if not margin.low < true < margin.high:
        return None

    def power_at(n: int) -> float:
        return t_tost_power(margin, sd_difference / sqrt(n), n - 1, true=true, alpha=alpha)

    found = first_enough(power_at, start=max(2, pairs), limit=1.0, power=power)
    return None if found is None else ceil(found - pairs)
