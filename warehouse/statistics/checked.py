"""Tables, counts and labels checked at the door of the monitoring functions.

Belongs here: what refusal.vector does for one list, for tables, counts, lengths and labels: a finite float
array, or a StatisticsRefusal that says which cell is wrong. Does not belong here: any statistic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from warehouse.statistics.refusal import StatisticsRefusal, vector

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Labels = Sequence[object] | NDArray[Any]


def finite_matrix(
    values: ArrayLike, name: str = "data", min_rows: int = 1, min_columns: int = 1
) -> FloatArray:
    """A finite rows x columns array of at least the given size, or a refusal naming the first bad cell."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2:
        raise StatisticsRefusal(f"{name} must be a table of rows and columns, got {array.ndim} dimension(s).")
    rows, columns = array.shape
    if rows < min_rows or columns < min_columns:
        raise StatisticsRefusal(
            f"{name} is {rows} rows x {columns} columns; at least {min_rows} x {min_columns} are needed."
        )
    bad = np.argwhere(~np.isfinite(array))
    if bad.size:
        row, column = bad[0]
        raise StatisticsRefusal(f"{name}: row {row + 1}, column {column + 1} is missing or not finite.")
    return array


def same_length(**arrays: Labels) -> None:
    """Refuse when the named sequences differ in length."""
    sizes = {name: len(array) for name, array in arrays.items()}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise StatisticsRefusal(f"These must have one length each, but have: {listed}.")


def counts_vector(values: ArrayLike, name: str, minimum: int = 1) -> FloatArray:
    """Finite, whole, not negative numbers (as floats, ready for arithmetic)."""
    array = vector(values, name, at_least=minimum)
    bad = np.flatnonzero((array < 0) | (array != np.round(array)))
    if bad.size:
        raise StatisticsRefusal(
            f"{name}: value {bad[0] + 1} is {array[bad[0]]:g}; counts are whole and not negative."
        )
    return array


def positive(value: float, name: str) -> float:
    """A finite number above zero, or a refusal."""
    if not (np.isfinite(value) and value > 0.0):
        raise StatisticsRefusal(f"{name} must be a finite number above zero, got {value:g}.")
    return float(value)


def labels_of(values: Labels, name: str, minimum_groups: int = 1) -> tuple[list[str], IntArray]:
    """Distinct labels in order of first appearance and the code of each row."""
    order: dict[str, int] = {}
    codes = np.array([order.setdefault(str(value), len(order)) for value in values], dtype=np.int64)
    if len(order) < minimum_groups:
        raise StatisticsRefusal(f"{name} holds {len(order)} group(s); at least {minimum_groups} are needed.")
    return list(order), codes
