"""Runs reference cases against `warehouse.statistics` and says, value by value, what agrees.

Belongs here: reading a folder of cases, calling the adapter registered for a case's method, comparing at the
stated tolerance. Does not belong here: statistics, and knowledge of any single case.

A case is a JSON file {id, title, method, parameters, expected, tolerance{rel, abs}, data_files{name: csv}}.
Adapters live in `methods_*.py` of this package, each with `METHODS: dict[str, Callable[[Case], dict]]` from a
method id to a function that returns the same nested keys as the case's `expected`; a case of several methods
("a, b") gets the answers of all. Adapters compute from
`parameters` and `tables`; they may read from `expected` only what is an input kept there (counts, group
sizes, a level), never a result.

Rules of comparison: |got - want| <= abs + rel * |want|. A key spelled otherwise than ours in case or
separators is the same key, and so is a method's name; names that mean the same method are in
`method_names`. A key under `published...` holds printed digits,
sometimes worked from unrounded data, so it is compared to one unit of its last digit or 0.2 %, whichever is
wider; an adapter need not repeat it, the value beside it with the same name is used. A text under a key
`column_...` names a column of the case's table that holds the expected values.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from importlib import import_module
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from typing import Any, Literal

import numpy as np

from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.verification.method_names import SAME

Status = Literal["ok", "mismatch", "not implemented", "error"]
Adapter = Callable[["Case"], dict[str, Any]]

SHIPPED = Path(__file__).parent / "cases"
REGISTRIES = ("methods_means", "methods_mixed", "methods_monitoring")
PUBLISHED_RELATIVE = 0.002
MISSING = frozenset({"", "NA", "NaN", "nan", "null"})


def plain(name: str) -> str:
    """A name without case and separators, by which names are compared."""
    return re.sub(r"[^0-9a-z]", "", name.lower())


@dataclass(frozen=True)
class Case:
    """One reference case. `tables` maps a data file's name to its columns, as texts in file order."""

    id: str
    method: str
    parameters: dict[str, Any]
    expected: dict[str, Any]
    tables: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    title: str = ""
    relative: float = 1e-6
    absolute: float = 1e-9

    def table(self, name: str | None = None) -> dict[str, list[str]]:
        """The named table, or the only (else the first) one."""
        if not self.tables:
            raise StatisticsRefusal(f"Case {self.id} has no data file.")
        return self.tables[name] if name is not None else next(iter(self.tables.values()))

    def numbers(self, column: str, table: str | None = None) -> list[float]:
        """A column as numbers; an empty cell or NA is left out."""
        return [float(text) for text in self.table(table)[column] if text not in MISSING]

    def numeric_columns(self, table: str | None = None) -> list[str]:
        """The columns that hold numbers only (or are empty), in file order."""
        found = []
        for name, texts in self.table(table).items():
            try:
                [float(text) for text in texts if text not in MISSING]
            except ValueError:
                continue
            found.append(name)
        return found

    def groups(self, value: str, by: str, table: str | None = None) -> dict[str, list[float]]:
        """The values of one column, split by the labels of another, in order of first appearance."""
        found: dict[str, list[float]] = {}
        columns = self.table(table)
        for text, label in zip(columns[value], columns[by], strict=True):
            if text not in MISSING:
                found.setdefault(label, []).append(float(text))
        return found


@dataclass(frozen=True)
class Check:
    """One expected value beside what our function gave."""

    case: str
    key: str
    got: Any
    want: Any
    tolerance: float
    ok: bool
    status: Status


def methods() -> dict[str, Adapter]:
    """Every registered adapter by method id. A registry that is not installed is simply absent."""
    found: dict[str, Adapter] = {}
    for name in REGISTRIES:
        address = f"{__package__}.{name}"
        if find_spec(address) is not None:
            found.update(import_module(address).METHODS)
    return found


def adapters_of(method: str, registry: dict[str, Adapter]) -> list[Adapter]:
    """The adapters of a case's method, "a, b" for several; none at all where one of them is unknown."""
    known = {plain(name): adapter for name, adapter in registry.items()}
    known |= {plain(other): registry[name] for other, name in SAME.items() if name in registry}
    found = [known.get(plain(name)) for name in method.split(",")]
    return [adapter for adapter in found if adapter] if None not in found else []


def _table(path: Path) -> dict[str, list[str]]:
    with path.open(newline="", encoding="utf-8-sig") as handle:
        header, *rows = [row for row in csv.reader(handle) if row]
    return {column: [row[i].strip() for row in rows] for i, column in enumerate(header)}


def _inline(columns: Any) -> dict[str, list[str]] | None:
    """A table written into the case itself: columns of values, or rows of named values."""
    if isinstance(columns, list) and columns and all(isinstance(row, dict) for row in columns):
        columns = {name: [row.get(name) for row in columns] for name in columns[0]}
    if not isinstance(columns, dict):
        return None
    lists = {str(name): values for name, values in columns.items() if isinstance(values, list)}
    return {name: ["NA" if v is None else str(v) for v in values] for name, values in lists.items()} or None


def read_case(path: Path) -> Case:
    """A case from its JSON file and the CSV files it names beside it. Raises ValueError naming the file."""
    try:
        text = json.loads(path.read_text(encoding="utf-8"))
        files = text.get("data_files") or {}
        if isinstance(files, (str, list)):
            files = {Path(name).stem: name for name in ([files] if isinstance(files, str) else files)}
        tables = {name: _table(path.parent / file) for name, file in files.items()}
        # R writes an empty list of parameters as [].
        parameters = text.get("parameters") or {}
        inline = _inline(text.get("data")) or _inline(parameters)
        if not tables and inline is not None:
            tables = {"data": inline}
        tolerance = text.get("tolerance") or {}
        if not isinstance(tolerance, dict):
            tolerance = {"rel": tolerance}
        method = text["method"]
        return Case(
            id=text["id"],
            method=", ".join(method) if isinstance(method, list) else method,
            parameters=parameters,
            expected=text["expected"],
            tables=tables,
            title=text.get("title", ""),
            relative=float(tolerance.get("rel") or 0.0),
            absolute=float(tolerance.get("abs") or 0.0),
        )
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, OSError) as error:
        raise ValueError(f"{path.name} is not a readable reference case: {error!r}") from error


def _paths(folder: Path | None) -> list[Path]:
    where = SHIPPED if folder is None else folder
    paths = sorted(where.glob("*.json"))
    if not paths:
        raise ValueError(f"No reference cases (*.json) in {where}.")
    return paths


def read_cases(folder: Path | None = None) -> list[Case]:
    """Every case of a folder, by file name (None: the shipped ones). Raises ValueError when there is none."""
    return [read_case(path) for path in _paths(folder)]


def _flatten(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flatten(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from _flatten(inner, f"{key}[{index}]")
    else:
        yield key, value.item() if isinstance(value, np.generic) else value


def _expected(case: Case) -> dict[str, Any]:
    """The case's expected values, with columns named by `column_...` put in place of their names."""
    expanded = {
        key: case.numbers(value) if key.startswith("column_") and isinstance(value, str) else value
        for key, value in case.expected.items()
    }
    return dict(_flatten(expanded))


def _published(key: str) -> bool:
    return any(part.startswith("published") for part in key.split("."))


def _tolerance(case: Case, key: str, want: float) -> float:
    stated = case.absolute + case.relative * abs(want)
    if not _published(key):
        return stated
    exponent = Decimal(repr(want)).as_tuple().exponent
    unit = 10.0 ** int(exponent) if isinstance(exponent, int) else 0.0
    return max(stated, unit, PUBLISHED_RELATIVE * abs(want))


def _spelled(key: str) -> str:
    """`plain` that keeps the places of a list; an end of an interval is low or high, however it is written."""
    ends = key.lower().replace("lower", "low").replace("upper", "high")
    return re.sub(r"[^0-9a-z\[\]]", "", ends)


def _answers(key: str, got: dict[str, Any]) -> list[str]:
    """The keys of `got` that answer an expected one, best first.

    Its own; for a published value its full twin, whose path lacks the published part (which may itself be a
    list); a lone value for a list of one and the other way about; else the same key spelled otherwise, or turned.
    """
    parts = [part for part in key.split(".") if not part.startswith("published")]
    written = [key, ".".join(parts)] if _published(key) else [key]
    written += [name.removesuffix("[0]") if name.endswith("[0]") else f"{name}[0]" for name in written]
    exact = [name for name in written if name in got]
    if exact:
        return exact[:1]
    wanted = {_spelled(name) for name in written}
    found = [name for name in got if _spelled(name) in wanted]
    # A value and the group it is of may be named in either order.
    turned = {_spelled(".".join(reversed(name.split(".")))) for name in written if name.count(".") == 1}
    return found or [name for name in got if _spelled(name) in turned]


_REFUSED = {"refused", "refusal", "refuses", "refuse", "error", "undefined", "notestimable"}


def _agrees(got: Any, want: Any, tolerance: float) -> bool:
    """Numbers within the tolerance (an infinite one only with itself), all else by equality; 1 is true."""
    if isinstance(want, str) and want.lstrip("+-").lower() in {"inf", "infinity"}:
        want = float(want)
    if isinstance(got, bool) or isinstance(want, bool):
        return want in (0, 1) and isinstance(got, (bool, int)) and bool(got) == bool(want)
    if not isinstance(got, (int, float)) or not isinstance(want, (int, float)):
        return bool(got == want)
    if not (isfinite(got) and isfinite(want)):
        return got == want
    return abs(float(got) - float(want)) <= tolerance


def _check(case: Case, key: str, want: Any, got: dict[str, Any]) -> Check:
    numeric = isinstance(want, (int, float)) and not isinstance(want, bool)
    tolerance = _tolerance(case, key, float(want)) if numeric and isfinite(want) else 0.0
    found = _answers(key, got)
    refusal = got.get("refusal")
    if refusal is not None and want is True and plain(key) in _REFUSED:
        return Check(case.id, key, refusal, want, tolerance, True, "ok")
    if not found:
        if refusal is None and plain(key) in _REFUSED and isinstance(want, bool):
            return Check(case.id, key, False, want, tolerance, not want, "mismatch" if want else "ok")
        if refusal is None:
            return Check(case.id, key, None, want, tolerance, False, "not implemented")
        # A refused input has no value: right where none was expected, an error where one was.
        ok = want is None
        return Check(case.id, key, refusal, want, tolerance, ok, "ok" if ok else "error")
    # Keys that differ in spelling alone may hold different things; any other value than all theirs is wrong.
    agreeing = [name for name in found if _agrees(got[name], want, tolerance)]
    ok = len(agreeing) == len(found)
    return Check(case.id, key, got[found[0]], want, tolerance, ok, "ok" if ok else "mismatch")


def check_case(case: Case, registry: dict[str, Adapter] | None = None) -> list[Check]:
    """One row per expected value. Unknown methods are "not implemented", exceptions "error" with words."""
    wanted = _expected(case)
    adapters = adapters_of(case.method, methods() if registry is None else registry)
    if not adapters:
        return [
            Check(case.id, key, None, want, 0.0, False, "not implemented") for key, want in wanted.items()
        ]
    try:
        got = {key: value for adapter in adapters for key, value in _flatten(adapter(case))}
    except StatisticsRefusal as refusal:
        got = {"refused": True, "refusal": str(refusal)}
    except Exception as error:  # noqa: BLE001 - whatever an adapter does, the other cases still run
        words = f"{type(error).__name__}: {error}"
        return [Check(case.id, key, words, want, 0.0, False, "error") for key, want in wanted.items()]
    return [_check(case, key, want, got) for key, want in wanted.items()]


def verify(cases_dir: Path | None = None) -> list[Check]:
    """Every expected value of every case in `cases_dir` (None: the shipped cases), in file order.

    A file that is no readable case is one row in error. Raises ValueError when there is no file at all.
    """
    registry = methods()
    checks: list[Check] = []
    for path in _paths(cases_dir):
        try:
            checks += check_case(read_case(path), registry)
        except ValueError as error:
            checks.append(Check(path.stem, "", str(error), None, 0.0, False, "error"))
    return checks


def as_json(checks: list[Check]) -> str:
    """The checks as a JSON list of {case, key, got, want, tolerance, ok, status}."""
    rows = [asdict(check) for check in checks]
    for row in rows:
        for name in ("got", "want"):
            if isinstance(row[name], float) and not isfinite(row[name]):
                row[name] = str(row[name])  # JSON has no NaN and no infinity
    return json.dumps(rows, indent=1, allow_nan=False)
