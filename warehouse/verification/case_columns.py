"""Reading a case's columns, rows and positions the same way in every adapter of monitoring and outcome
methods.

Belongs here: which column plays which role, which rows a selection means, how positions and lone values are
written. Does not belong here: any method.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from warehouse.statistics.checked import BoolArray, labels_of
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.verification.run import Case

SAMPLE = ("sample", "subgroup", "group", "batch", "lot")
PHASE = ("trial", "phase", "phase1", "baseline")
TIME = ("year", "time", "t", "date", "day", "month", "index", "week")
SIZE = ("size", "sizes", "n", "units", "area")
COUNT = ("d", "defectives", "defects", "x", "count", "counts", "events", "nonconforming")

_ROLES = (("sample", SAMPLE), ("phase", PHASE), ("time", TIME))


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def role_column(case: Case, parameter: str, usual: tuple[str, ...]) -> str | None:
    """The column a parameter names, else the first whose name is usual for the role."""
    named = case.parameters.get(parameter)
    columns = list(case.table())
    if isinstance(named, str) and named in columns:
        return named
    return next((known for name in usual for known in columns if known.lower() == name), None)


def value_column(case: Case) -> str:
    """The column of measured values: named by `value`, else the first numeric one without another usual role.

    A table whose every numeric column has a usual role gives the first of them.
    """
    named = case.parameters.get("value", case.parameters.get("column"))
    if isinstance(named, str) and named in case.table():
        return named
    numeric = [
        name
        for name, texts in case.table().items()
        if texts and all(is_number(text) for text in texts if text not in {"", "NA"})
    ]
    if not numeric:
        raise StatisticsRefusal(f"Case {case.id} has no column of numbers.")
    roles = {role_column(case, role, usual) for role, usual in _ROLES}
    return next((name for name in numeric if name not in roles), numeric[0])


def chosen_rows(case: Case, key: str, samples: list[str] | None = None) -> BoolArray:
    """Rows a selection such as `trial==TRUE`, `samples 1-25`, `rows 1-50` or a number of rows means; all
    when absent.

    With `samples` (the label of each row) the numbers of `samples a-b` count distinct labels in order.
    """
    rows = len(next(iter(case.table().values())))
    words = case.parameters.get(key)
    if words is None:
        return np.ones(rows, dtype=np.bool_)
    numbers = np.arange(1, rows + 1)
    if samples is not None:
        numbers = labels_of(samples, "samples")[1] + 1
    if isinstance(words, (int, float)):
        return np.asarray(numbers <= words)
    if isinstance(words, list):
        return np.isin(numbers, words)
    equal = re.fullmatch(r"\s*(\w[\w.]*)\s*==?\s*[\"']?(.*?)[\"']?\s*", words)
    if equal and equal[1] in case.table():
        return np.array([text == equal[2] for text in case.table()[equal[1]]])
    span = re.search(r"(\d+)\s*(?:-|:|to)\s*(\d+)", words)
    if span:
        counted = np.arange(1, rows + 1) if "row" in words else numbers
        return (counted >= int(span[1])) & (counted <= int(span[2]))
    raise StatisticsRefusal(f"Case {case.id}: the selection {words!r} of {key} is not understood.")


def as_written(case: Case, key: str, values: list[Any]) -> Any:
    """A list, or its only member where the case writes a bare value."""
    return values[0] if len(values) == 1 and not isinstance(case.expected.get(key), list) else values


def positions(hits: Iterable[int]) -> list[int]:
    return [int(hit) + 1 for hit in hits]
