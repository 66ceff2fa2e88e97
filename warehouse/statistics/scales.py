"""The scale an attribute is analysed on, and how a difference on it is read.

Belongs here: identity, log and logit with their way back, their domain in words, and margins on them.
Does not belong here: which attribute uses which scale (the comparability plan says so).

Reading: a difference of means on the log scale is a ratio of geometric means, on the logit scale an odds
ratio, on the identity scale a plain difference. Margins are always given as read (0.80 to 1.25 for a
ratio), never as logarithms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from warehouse.statistics.refusal import Floats, StatisticsRefusal, vector

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Scale = Literal["identity", "log", "logit"]
Reading = Literal["difference", "ratio", "odds ratio"]

READING: dict[Scale, Reading] = {"identity": "difference", "log": "ratio", "logit": "odds ratio"}
#: What a true difference of nothing reads as.
NO_DIFFERENCE: dict[Scale, float] = {"identity": 0.0, "log": 1.0, "logit": 1.0}


class Margin(NamedTuple):
    """Equivalence margin as read: a difference, a ratio or an odds ratio, `low` < `high`."""

    low: float
    high: float


def forward(
    values: ArrayLike, scale: Scale, *, top: float = 1.0, what: str = "values", at_least: int = 1
) -> Floats:
    """`values` on the analysis scale. `top` is the whole on the logit scale: 1 for fractions, 100 for %.

    Raises StatisticsRefusal where a value lies outside the domain: a zero on the log scale is a censored
    result and a 0 or 100 % is one on the logit scale; neither is moved inwards silently.
    """
    array = vector(values, what, at_least=at_least)
    if scale == "identity":
        return array
    if scale == "log":
        outside = int((array <= 0).sum())
        if outside:
            raise StatisticsRefusal(
                f"{what}: {outside} value(s) are zero or negative and have no logarithm; "
                "treat results below detection as censored, or plan the identity scale."
            )
        return np.asarray(np.log(array), dtype=np.float64)
    outside = int(((array <= 0) | (array >= top)).sum())
    if outside:
        raise StatisticsRefusal(
            f"{what}: {outside} value(s) do not lie strictly between 0 and {top:g} and have no logit; "
            "analyse counts as proportions, or plan the identity scale."
        )
    return np.asarray(np.log(array) - np.log(top - array), dtype=np.float64)


def back(value: float, scale: Scale, *, top: float = 1.0) -> float:
    """One mean on the analysis scale as a value in the attribute's own unit (log: the geometric mean)."""
    if scale == "identity":
        return float(value)
    if scale == "log":
        return float(np.exp(value))
    return float(top / (1.0 + np.exp(-value)))


def read(difference: float, scale: Scale) -> float:
    """A difference on the analysis scale as it is read: plain, ratio or odds ratio."""
    return float(difference) if scale == "identity" else float(np.exp(difference))


def unread(reading: float, scale: Scale) -> float:
    """A difference as read, back on the analysis scale. Raises StatisticsRefusal for a ratio of 0 or less."""
    if scale == "identity":
        return float(reading)
    if reading <= 0:
        raise StatisticsRefusal(f"A {READING[scale]} must be above 0, got {reading:g}.")
    return float(np.log(reading))


def in_words(reading: float, scale: Scale) -> str:
    """How a difference reads: "ratio 1.12", "odds ratio 0.9", "difference -0.12"."""
    return f"{READING[scale]} {reading:.4g}"


def margin_on_scale(margin: Margin, scale: Scale) -> Margin:
    """The margin on the analysis scale. Raises StatisticsRefusal unless low < high and both can be read."""
    if not (np.isfinite(margin.low) and np.isfinite(margin.high)):
        raise StatisticsRefusal("A margin needs two finite limits.")
    if not margin.low < margin.high:
        raise StatisticsRefusal(
            f"The margin's low limit {margin.low:g} must be below its high {margin.high:g}."
        )
    return Margin(unread(margin.low, scale), unread(margin.high, scale))
