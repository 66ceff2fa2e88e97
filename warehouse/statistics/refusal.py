"""The one exception statistics raise when the data cannot carry an answer.

Belongs here: the exception and the small checks on inputs that several methods share. Does not belong
here: any estimate. A refusal is an answer in words; it replaces NaN, never a number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Floats = NDArray[np.float64]
#: Values above this overflow when squared and summed.
LARGEST = 1e150


class StatisticsRefusal(ValueError):  # noqa: N818 - it is an answer, not a fault of the program
    """The data or the parameters cannot carry the answer; the message says why and what would mend it."""


def vector(values: ArrayLike, what: str, *, at_least: int = 1) -> Floats:
    """`values` as a one-dimensional float array, all finite, with `at_least` members.

    Raises StatisticsRefusal naming `what` otherwise: a missing value is for the caller to leave out and
    count, never for a statistic to skip.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise StatisticsRefusal(f"{what}: expected one list of numbers, got {array.ndim} dimensions.")
    if array.size < at_least:
        raise StatisticsRefusal(f"{what}: {array.size} value(s), at least {at_least} are needed.")
    if not np.isfinite(array).all():
        raise StatisticsRefusal(
            f"{what}: {int((~np.isfinite(array)).sum())} value(s) are missing or infinite; "
            "leave them out and say so, or treat them as censored."
        )
    if array.size and float(np.abs(array).max()) > LARGEST:
        raise StatisticsRefusal(
            f"{what}: a value is beyond {LARGEST:g} and cannot be squared; use another unit."
        )
    return array


def differences(first: Floats, second: Floats) -> Floats:
    """`second - first`, made exactly equal where they differ by the rounding of the subtraction alone.

    5.1 + 1 - 5.1 and 6.3 + 1 - 6.3 are not the same float: without this a constant shift would have a spread
    of 1e-16 and an interval of that width.
    """
    gap = second - first
    noise = 1e-13 * float(np.maximum(np.abs(first), np.abs(second)).max())
    return gap if np.ptp(gap) > noise else np.full_like(gap, np.median(gap))


def spread(array: Floats) -> float:
    """Sample standard deviation by two passes, exactly 0 when every value is the same."""
    if array.size < 2:
        raise StatisticsRefusal("A standard deviation needs at least 2 values.")
    if np.ptp(array) == 0.0:
        return 0.0
    deviations = array - array.mean()
    # The second term corrects the rounding of the mean (two-pass algorithm of Chan, Golub & LeVeque 1983).
    square = float(deviations @ deviations) - float(deviations.sum()) ** 2 / array.size
    return float(np.sqrt(square / (array.size - 1)))


def probability(value: float, what: str) -> float:
    """`value` when it lies strictly between 0 and 1, else a refusal naming `what`."""
    if not 0.0 < value < 1.0:
        raise StatisticsRefusal(f"{what} must lie between 0 and 1, got {value:g}.")
    return float(value)


def one_sided(alpha: float) -> float:
    """The level of one of the two one-sided tests: `alpha` when it lies between 0 and 0.5."""
    if not 0.0 < alpha < 0.5:
        raise StatisticsRefusal(f"alpha must lie between 0 and 0.5, got {alpha:g}.")
    return float(alpha)
