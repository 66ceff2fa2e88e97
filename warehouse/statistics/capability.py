"""Capability and performance of a process against its specification, with intervals.

Belongs here: Cp, Cpk, Cpm (within-subgroup spread), Pp, Ppk (overall spread), and the refusal to state Cpk
of a process that is not stable or of too few values. Other distributions and the probability of a result
out of specification are in capability_tails.py.

Sources: Kane 1986; Chou, Owen & Borrego 1990 (chi-square and noncentral t); Bissell 1990; Boyles 1991 (Cpm);
ISO 22514-2; qcc's process.capability for the combination.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from numpy.typing import ArrayLike
from scipy import optimize, stats

from warehouse.statistics.charts import Baseline
from warehouse.statistics.checked import FloatArray, positive
from warehouse.statistics.refusal import StatisticsRefusal, probability, spread, vector

CpmDegrees = Literal["boyles", "qcc"]
MINIMUM_FOR_CAPABILITY = 25
MINIMUM_FOR_PERFORMANCE = 10


@dataclass(frozen=True)
class Specification:
    """Lower and upper limit (None when that side is open) and target, in the unit of the data."""

    lower: float | None = None
    upper: float | None = None
    target: float | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.lower, self.upper, self.target) if value is not None]
        if not all(math.isfinite(value) for value in given):
            raise StatisticsRefusal("Specification limits and target must be finite numbers.")
        if self.lower is None and self.upper is None:
            raise StatisticsRefusal("A specification needs a lower or an upper limit.")
        if self.lower is not None and self.upper is not None and self.lower >= self.upper:
            raise StatisticsRefusal(
                f"The lower limit {self.lower:g} is not below the upper limit {self.upper:g}."
            )

    @property
    def middle(self) -> float | None:
        """The target, else the middle of two limits, else None."""
        if self.target is not None:
            return self.target
        if self.lower is None or self.upper is None:
            return None
        return (self.lower + self.upper) / 2.0


@dataclass(frozen=True)
class Index:
    """An index with its two-sided interval at the result's confidence, and the method of the interval."""

    value: float
    lower: float
    upper: float
    interval: str


@dataclass(frozen=True)
class Indices:
    """Indices of one spread (within: Cp family; overall: Pp family). None where the specification has no
    such side.

    worst_lower_bound: one-sided lower bound of the worse side at the same confidence, exact by the
    noncentral t for that side alone. `degrees` is what the chi-square interval used.
    """

    spread: str
    n: int
    centre: float
    sigma: float
    degrees: float
    confidence: float
    ratio: Index | None
    lower_side: Index | None
    upper_side: Index | None
    worst: Index
    to_target: Index | None
    worst_lower_bound: float


def _chi_square(value: float, degrees: float, confidence: float) -> Index:
    tail = (1.0 - confidence) / 2.0
    low, high = stats.chi2.ppf([tail, 1.0 - tail], degrees)
    return Index(value, value * math.sqrt(low / degrees), value * math.sqrt(high / degrees), "chi-square")


def _bissell_error(value: float, n: int, degrees: float) -> float:
    return math.sqrt(1.0 / (9.0 * n) + value**2 / (2.0 * degrees))


def _side(value: float, n: int, degrees: float, confidence: float) -> Index:
    """Each side is bounded one-sided at the confidence on either side, as qcc and Chou-Owen-Borrego tables
    do.
    """
    half = float(stats.norm.ppf(confidence)) * _bissell_error(value, n, degrees)
    return Index(value, value - half, value + half, "normal approximation, each bound one-sided")


def one_sided_lower_bound(value: float, n: int, confidence: float = 0.95) -> float:
    """Exact lower confidence bound of a one-sided index from n values with n-1 degrees of freedom.

    3 sqrt(n) C_hat is noncentral t with noncentrality 3 sqrt(n) C (Chou, Owen & Borrego 1990).
    """
    probability(confidence, "confidence")
    if n < 2 or not math.isfinite(value):
        raise StatisticsRefusal("A bound needs a finite index from at least 2 values.")
    statistic = 3.0 * math.sqrt(n) * value
    reach = 40.0 + 12.0 * abs(statistic) / math.sqrt(2.0 * (n - 1))

    def excess(noncentrality: float) -> float:
        return float(stats.nct.sf(statistic, n - 1, noncentrality)) - (1.0 - confidence)

    try:
        root = optimize.brentq(excess, statistic - reach, statistic + reach, xtol=1e-10)
    except ValueError as error:
        raise StatisticsRefusal(
            f"The exact bound of an index of {value:g} from {n} values has no solution."
        ) from error
    return float(root) / (3.0 * math.sqrt(n))


def indices(
    centre: float,
    sigma: float,
    n: int,
    specification: Specification,
    *,
    degrees: float | None = None,
    confidence: float = 0.95,
    spread_name: str = "given",
    cpm_degrees: CpmDegrees = "boyles",
) -> Indices:
    """All indices from a centre and a standard deviation.

    degrees: of the estimate of sigma, n-1 when None (what qcc takes for every estimate). A range or
    moving-range estimate has fewer; pass them for an honest width.
    """
    probability(confidence, "confidence")
    if not (math.isfinite(centre) and math.isfinite(sigma) and sigma > 0.0):
        raise StatisticsRefusal(
            f"Centre {centre:g} and sigma {sigma:g}: values that never vary have no capability index."
        )
    if n < 2:
        raise StatisticsRefusal(f"Capability needs at least 2 values, got {n}.")
    nu = positive(float(n - 1) if degrees is None else degrees, "degrees")
    low, high = specification.lower, specification.upper
    lower_side = None if low is None else _side((centre - low) / (3.0 * sigma), n, nu, confidence)
    upper_side = None if high is None else _side((high - centre) / (3.0 * sigma), n, nu, confidence)
    worst = min(side.value for side in (lower_side, upper_side) if side is not None)
    half = float(stats.norm.isf((1.0 - confidence) / 2.0)) * _bissell_error(worst, n, nu)
    ratio = to_target = None
    if low is not None and high is not None:
        ratio = _chi_square((high - low) / (6.0 * sigma), nu, confidence)
        aim = specification.middle
        away = 0.0 if aim is None else ((centre - aim) / sigma) ** 2
        power = 2 if cpm_degrees == "boyles" else 1
        cpm_nu = n * (1.0 + away) ** power / (1.0 + 2.0 * away)
        to_target = _chi_square(ratio.value / math.sqrt(1.0 + away), cpm_nu, confidence)
    return Indices(
        spread=spread_name,
        n=n,
        centre=centre,
        sigma=sigma,
        degrees=nu,
        confidence=confidence,
        ratio=ratio,
        lower_side=lower_side,
        upper_side=upper_side,
        worst=Index(worst, worst - half, worst + half, "Bissell"),
        to_target=to_target,
        worst_lower_bound=one_sided_lower_bound(worst, n, confidence),
    )


def performance(
    values: ArrayLike,
    specification: Specification,
    *,
    confidence: float = 0.95,
    minimum: int = MINIMUM_FOR_PERFORMANCE,
) -> Indices:
    """Pp, Ppk and their intervals from the overall standard deviation: what was delivered, stable or not."""
    y = _enough(values, minimum)
    return indices(
        float(y.mean()), spread(y), int(y.size), specification, confidence=confidence, spread_name="overall"
    )


def capability(
    values: ArrayLike,
    baseline: Baseline,
    specification: Specification,
    *,
    unstable_points: int,
    degrees: float | None = None,
    confidence: float = 0.95,
    minimum: int = MINIMUM_FOR_CAPABILITY,
    cpm_degrees: CpmDegrees = "boyles",
) -> Indices:
    """Cp, Cpk, Cpm and their intervals from the short-term spread of a chart's baseline.

    unstable_points: how many points of that chart signal. Cpk promises what a stable process will do, so
    any at all is a refusal; `performance` remains.
    """
    y = _enough(values, minimum)
    if unstable_points < 0:
        raise StatisticsRefusal("The number of signalling points cannot be negative.")
    if unstable_points > 0:
        raise StatisticsRefusal(
            f"The process is not stable ({unstable_points} point(s) signal), so Cp and Cpk would promise "
            "what it does not do. Find the causes first; Pp and Ppk describe what was delivered."
        )
    return indices(
        float(y.mean()),
        baseline.sigma,
        int(y.size),
        specification,
        degrees=degrees,
        confidence=confidence,
        spread_name=f"within ({baseline.spread})",
        cpm_degrees=cpm_degrees,
    )


def _enough(values: ArrayLike, minimum: int) -> FloatArray:
    y = vector(values, "values")
    if y.size < max(2, minimum):
        raise StatisticsRefusal(
            f"{y.size} values are too few for a capability index; {max(2, minimum)} are needed. "
            "An index from fewer has an interval too wide to act on."
        )
    return y


@dataclass(frozen=True)
class IndexChange:
    """Worst-side index of this period minus the previous one, with its interval (Bissell errors added)."""

    previous: float
    current: float
    difference: float
    lower: float
    upper: float
    confidence: float


def change_of(previous: Indices, current: Indices, confidence: float = 0.95) -> IndexChange:
    """Has capability moved between two independent periods? Normal interval of the difference of the worst
    sides.
    """
    probability(confidence, "confidence")
    if previous.spread != current.spread:
        raise StatisticsRefusal(
            f"Spreads differ: {previous.spread} before, {current.spread} now; compare like with like."
        )
    error = math.hypot(
        _bissell_error(previous.worst.value, previous.n, previous.degrees),
        _bissell_error(current.worst.value, current.n, current.degrees),
    )
    half = float(stats.norm.isf((1.0 - confidence) / 2.0)) * error
    difference = current.worst.value - previous.worst.value
    return IndexChange(
        previous.worst.value,
        current.worst.value,
        difference,
        difference - half,
        difference + half,
        confidence,
    )


def percent_beyond(centre: float, sigma: float, specification: Specification) -> tuple[float, float]:
    """Expected percentages below the lower and above the upper limit of a normal process (0 for an open
    side).
    """
    positive(sigma, "sigma")
    low, high = specification.lower, specification.upper
    below = 0.0 if low is None else 100.0 * float(stats.norm.cdf((low - centre) / sigma))
    above = 0.0 if high is None else 100.0 * float(stats.norm.sf((high - centre) / sigma))
    return below, above
