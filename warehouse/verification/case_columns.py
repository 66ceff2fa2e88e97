"""Reading a case's columns, groups, rows and positions the same way in every adapter.

Belongs here: which column plays which role, how a table splits into groups or pairs, which rows a selection
means, how positions and lone values are written. Does not belong here: any method; parameters that are not
about columns (`case_parameters`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from warehouse.statistics.checked import BoolArray, labels_of
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.verification.case_parameters import Section, pick
from warehouse.verification.run import MISSING, Case

SAMPLE = ("sample", "subgroup", "group", "batch", "lot")
PHASE = ("trial", "phase", "phase1", "baseline")
TIME = ("year", "time", "t", "date", "day", "month", "index", "week")
SIZE = ("size", "sizes", "n", "units", "area")
COUNT = ("d", "defectives", "defects", "x", "count", "counts", "events", "nonconforming")

GROUP = (
    "group", "site", "treatment", "treat", "trt", "arm", "process", "method", "lab", "laboratory", "factor",
)  # fmt: skip
SUBJECT = ("id", "subject", "donor", "patient", "pair", "person", "block")
ROW = ("rownames", "row", "obs", "no", "nr", "index", "rep", "replicate")
VALUE = ("y", "value", "response", "result", "outcome", "measurement")

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


def _sides(case: Case) -> tuple[str | None, str | None]:
    """(response, explanation) of a simple formula "y ~ group" among the parameters, where there is one."""
    text = pick(case.parameters, "formula", "model")
    left, tilde, right = str(text or "").partition("~")
    return (left.strip(), right.strip()) if tilde else (None, None)


def group_and_value(case: Case, table: str | None = None) -> tuple[str | None, str]:
    """(group, value) columns: as named or in a formula, else by usual names, else words and numbers.

    The group is None for a table of numbers alone, whose columns are then the groups.
    """
    columns, numeric = list(case.table(table)), case.numeric_columns(table)
    response, explanation = _sides(case)
    texts = {name: text for name, text in case.parameters.items() if isinstance(text, str)}
    asked = {*(texts.get(key) for key in ("group", "by", "factor", "groups", "x")), explanation}
    by = next((name for name in columns if name in asked), None)
    by = by or next((name for usual in GROUP for name in columns if name.lower() == usual), None)
    others = [name for name in columns if name not in numeric and name.lower() not in SUBJECT]
    by = by or next(iter(others), None)
    wanted = {*(texts.get(key) for key in ("value", "response", "outcome", "y", "column")), response}
    usual = [name for name in numeric if name != by and name.lower() not in (*SUBJECT, *ROW)]
    value = next((name for name in usual if name in wanted), None)
    value = value or next((name for name in usual if name.lower() in VALUE), None) or next(iter(usual), None)
    if value is None:
        raise StatisticsRefusal(f"Case {case.id} has no column of numbers.")
    return by, value


def groups_of(case: Case, table: str | None = None) -> dict[str, list[float]]:
    """The values of each group, in R's order of levels: one column split by another, or one column each."""
    by, value = group_and_value(case, table)
    if by is not None:
        found = case.groups(value, by, table)
        return {label: found[label] for label in levels_of(found)}
    return {
        name: case.numbers(name, table)
        for name in case.numeric_columns(table)
        if name.lower() not in (*SUBJECT, *ROW)
        and any(text not in MISSING for text in case.table(table)[name])
    }


def ordered_pair(labels: Sequence[str], parameters: Section, prefix: str = "") -> tuple[str, str]:
    """(test, reference) among `labels`: as `order` "test - reference" says, as named, else first and second.

    "group1" is the first label, and a label may be written after the name of its column (`prefix`).
    """
    named = {f"group{i + 1}": label for i, label in enumerate(labels)}
    named |= {f"{prefix}{label}": label for label in labels} | {label: label for label in labels}
    words = re.split(r"\s+-\s+|\s*/\s*|\s+minus\s+|\s+vs\.?\s+|-", str(pick(parameters, "order", default="")))
    words = [word.strip() for word in words]
    if len(words) == 2 and set(words) <= set(named):
        return named[words[0]], named[words[1]]
    reference = named.get(str(pick(parameters, "reference", "reference_site", "control", default="")))
    test = named.get(str(pick(parameters, "test", "new", default="")))
    if reference is not None or test is not None:
        test = test or next(label for label in labels if label != reference)
        return test, reference or next(label for label in labels if label != test)
    if len(labels) != 2:
        raise StatisticsRefusal(f"Which two of {', '.join(labels)} are compared is not said.")
    return labels[0], labels[1]


def two_groups(case: Case, parameters: Section, *, paired: bool = False) -> tuple[list[float], list[float]]:
    """(reference, test) of two columns or two groups, as `ordered_pair` tells them apart.

    Pairs of a grouped table are matched by its subject column, else by position; a pair of which one value is
    missing is left out.
    """
    table = case.table()
    by, value = group_and_value(case)
    labels = list(groups_of(case))
    if by is not None and len(labels) != 2:
        raise StatisticsRefusal(f"Case {case.id}: two groups are needed, {len(labels)} found.")
    if len(labels) < 2:
        raise StatisticsRefusal(f"Case {case.id}: two columns of numbers are needed, {len(labels)} found.")
    test, reference = ordered_pair(labels, parameters, by or "")
    if not paired:
        groups = groups_of(case)
        return groups[reference], groups[test]
    if by is None:
        rows = [(table[reference][i], table[test][i]) for i in range(len(table[test]))]
    else:
        subject = next((name for name in table if name.lower() in SUBJECT and name != by), None)
        cells: dict[str, dict[str, str]] = {label: {} for label in labels}
        for i, label in enumerate(table[by]):
            if label in cells:
                who = table[subject][i] if subject is not None else str(len(cells[label]))
                cells[label][who] = table[value][i]
        if set(cells[test]) != set(cells[reference]):
            raise StatisticsRefusal(f"Case {case.id}: pairs need the same subjects in both groups.")
        rows = [(cells[reference][who], text) for who, text in cells[test].items()]
    complete = [(float(a), float(b)) for a, b in rows if a not in MISSING and b not in MISSING]
    return [a for a, _ in complete], [b for _, b in complete]


def complete_rows(case: Case, columns: Sequence[str]) -> dict[str, list[str]]:
    """The table without the rows in which any of `columns` is empty."""
    table = case.table()
    absent = [name for name in columns if name not in table]
    if absent:
        raise StatisticsRefusal(f"Case {case.id} has no column {', '.join(absent)}.")
    keep = [i for i in range(len(table[columns[0]])) if all(table[c][i] not in MISSING for c in columns)]
    return {name: [values[i] for i in keep] for name, values in table.items()}


def levels_of(texts: Iterable[str]) -> list[str]:
    """Distinct labels as R orders a factor's: numbers by value, words by alphabet without case."""
    distinct = sorted(set(texts) - MISSING)
    if all(is_number(text) for text in distinct):
        return sorted(distinct, key=float)
    return sorted(distinct, key=lambda text: (text.casefold(), text))


def measured_column(case: Case, *names: str, aside: str | None = None) -> str:
    """The column of results of one series: as a parameter (`names`) says, else by usual names, else the first column
    of numbers that counts no rows, subjects or lots. `aside`: a column that is none of results."""
    numeric = [name for name in case.numeric_columns() if name != aside]
    named = pick(case.parameters, "value", "column", *names)
    if isinstance(named, str) and named in numeric:
        return named
    if not numeric:
        raise StatisticsRefusal(f"Case {case.id} has no column of numbers.")
    labels = {*ROW, *SUBJECT, *SAMPLE, *GROUP}
    found = next((name for name in numeric if name.lower() in VALUE), None)
    return found or next((name for name in numeric if name.lower() not in labels), numeric[0])


def measured(case: Case, *names: str) -> list[float]:
    """The results of one series (`measured_column`), empty cells left out."""
    return case.numbers(measured_column(case, *names))


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
        if texts and all(is_number(text) for text in texts if text not in MISSING)
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
