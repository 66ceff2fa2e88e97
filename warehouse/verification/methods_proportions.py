"""Adapters from reference cases to proportions and rates.

Belongs here: what methods_means.py says of itself, for these statistics. Registered through methods_ranges.py.
"""

from __future__ import annotations

import re
from typing import Any

from warehouse.statistics import proportions, rates
from warehouse.statistics.proportions import Count, Difference, Pairs
from warehouse.statistics.rates import Exposure
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.statistics.scales import Margin
from warehouse.verification.case_parameters import (
    LEVEL,
    Section,
    alpha_of,
    asked_levels,
    fraction,
    interval_keys,
    margin_of,
    number,
    pick,
    told_interval,
)
from warehouse.verification.run import Adapter, Case

_INTERVALS = {
    "wald": proportions.wald,
    "newcombe": proportions.newcombe,
    "hybrid": proportions.newcombe,
    "newcombe_hybrid": proportions.newcombe,
    "hybrid_score": proportions.newcombe,
    "miettinen_nurminen": proportions.miettinen_nurminen,
    "mn": proportions.miettinen_nurminen,
    "score": proportions.miettinen_nurminen,
    "propcis_score": proportions.miettinen_nurminen,
    "mee": proportions.mee,
    "farrington_manning": proportions.mee,  # the interval that their test inverts
    "fm": proportions.mee,
    "agresti_caffo": proportions.agresti_caffo,
    "wald2": proportions.agresti_caffo,
    "exact": proportions.chan_zhang,
    "chan_zhang": proportions.chan_zhang,
}
_PAIRED = {"tango", "tango_score", "paired_score", "score"}
_COUNTS = (("a", "m", "b", "n"), ("x1", "n1", "x2", "n2"), ("events1", "n1", "events2", "n2"))


def _named(key: str) -> tuple[str, float] | None:
    """(interval, level) of a key such as newcombe95, newcombe_ci90 or ci95_newcombe."""
    found = re.fullmatch(r"([a-z_]+?\d?)_?(?:ci)?_?(\d\d)", key.lower()) or re.fullmatch(
        r"ci_?(?P<level>\d\d)_(?P<name>[a-z_]+)", key.lower()
    )
    if found is None:
        return None
    parts = found.groupdict() or {"name": found[1], "level": found[2]}
    return parts["name"].strip("_"), int(parts["level"]) / 100


def _tables(text: str, given: Section) -> tuple[Count, Count] | None:
    """(test, reference) from counts given as a list or by name, else written into a key "190_200_vs_184_200"."""
    listed = pick(given, "counts")
    if isinstance(listed, list) and len(listed) == 4:
        return Count(*listed[:2]), Count(*listed[2:])
    for names in _COUNTS:
        values = [pick(given, name) for name in names]
        if None not in values:
            return Count(*values[:2]), Count(*values[2:])
    found = re.search(r"(\d+)_(\d+)_vs_(\d+)_(\d+)", text)
    if found is None:
        return None
    a, m, b, n = map(int, found.groups())
    return Count(a, m), Count(b, n)


def _differences(
    test: Count, reference: Count, wanted: Section, level: float | None = None
) -> dict[str, Any]:
    """The intervals a part of a case asks for by names such as `newcombe90`; a refused one in words."""
    share = test.events / test.n, reference.events / reference.n
    answer: dict[str, Any] = {
        "counts": [test.events, test.n, reference.events, reference.n],
        **dict.fromkeys(("diff", "estimate", "difference"), share[0] - share[1]),
        "p1": share[0],
        "p2": share[1],
    }
    for key in wanted:
        # A name without a level is for the one of the parameters.
        named = _named(key) or ((key.lower(), level) if level is not None else None)
        if named is None or named[0] not in _INTERVALS:
            continue
        try:
            result: Difference = _INTERVALS[named[0]](test, reference, level=named[1])
            answer[key] = [result.ci_low, result.ci_high]
        except StatisticsRefusal as refusal:
            answer[key] = str(refusal)
    return answer


def _test_keys(result: proportions.ProportionTost) -> dict[str, Any]:
    return {
        "diff": result.estimate,
        "z_lower": result.z_lower,
        "z_upper": result.z_upper,
        "p_lower": result.p_lower,
        "p_upper": result.p_upper,
        "p_tost": result.p,
        "equivalent": result.equivalent,
    }


def _tested(key: str, given: Section, tables: tuple[Count, Count], wanted: Section) -> dict[str, Any]:
    """The two one-sided tests, where the part asks for them and a margin is given or stands in its name."""
    written = re.search(r"margin_([\d.]+)", key)
    margin = Margin(-float(written[1]), float(written[1])) if written else margin_of(given)
    if margin is None or not {"p_tost", "z_lower", "p_lower", "z_upper", "p_upper", "equivalent"} & set(
        wanted
    ):
        return {}
    exact = "exact" in key or "exact" in str(pick(given, "test", "tost", default=""))
    test = proportions.chan_zhang_tost if exact else proportions.farrington_manning
    return _test_keys(test(*tables, margin, alpha=alpha_of(given)))


def _proportions(case: Case) -> dict[str, Any]:
    """Each part of `expected` is one table: its counts stand in it, in its name or in parameters."""
    given = case.parameters
    answer: dict[str, Any] = {}
    flat, told = _tables("", given), pick(given, *LEVEL)
    level = fraction(float(told)) if isinstance(told, (int, float)) else None
    if flat is not None:
        answer |= _differences(*flat, case.expected, level) | _tested("", given, flat, case.expected)
    parts = {key: part for key, part in case.expected.items() if isinstance(part, dict)}
    for key, part in parts.items():
        own = given.get(key)
        facts = {**given, **(own if isinstance(own, dict) else {}), **part}
        tables = _tables(key, {**part, **(own if isinstance(own, dict) else {})}) or flat
        if tables is not None and not key.startswith("published"):
            answer[key] = _differences(*tables, part, level) | _tested(key, facts, tables, part)
    published = {key: part for key, part in parts.items() if key.startswith("published")}
    for key, groups in published.items():
        # Printed intervals name their table by a letter: "a" is the part "..._a_...".
        answer[key] = {
            letter: _differences(*found, printed)
            for letter, printed in groups.items()
            for name, part in parts.items()
            if f"_{letter}_" in name and isinstance(printed, dict) and (found := _tables(name, part))
        }
    return answer


def _paired_proportions(case: Case) -> dict[str, Any]:
    """Tango's interval and tests of a 2x2 table of pairs: both, test only, reference only, neither."""
    given = case.parameters
    names = (
        ("both", "test_only", "reference_only", "neither"), ("n11", "n10", "n01", "n00"),
        ("n11", "n12", "n21", "n22"), ("a", "b", "c", "d"),
    )  # fmt: skip
    listed = pick(given, "table", "counts")
    if isinstance(listed, list):
        cells = [cell for row in listed for cell in (row if isinstance(row, list) else [row])]
    else:
        cells = next(
            (found for four in names if None not in (found := [pick(given, name) for name in four])), []
        )
    if len(cells) != 4:
        raise StatisticsRefusal(
            f"Case {case.id} gives no table of pairs: both, test only, reference only, neither."
        )
    table = Pairs(*(int(cell) for cell in cells))
    answer: dict[str, Any] = {}
    for level in asked_levels(case, 0.90, 0.95):
        result = proportions.tango(table, level=level)
        answer |= {
            f"tango{100 * level:g}": [result.ci_low, result.ci_high],
            "diff": result.estimate,
            "difference": result.estimate,
        }
        answer |= interval_keys(level, result.ci_low, result.ci_high)
        answer |= told_interval(given, level, result.ci_low, result.ci_high)
    for key in case.expected:
        named = _named(key)
        if named and named[0] in _PAIRED:
            result = proportions.tango(table, level=named[1])
            answer[key] = [result.ci_low, result.ci_high]
    margin = margin_of(given)
    if margin is not None:
        answer |= _test_keys(proportions.tango_tost(table, margin, alpha=alpha_of(given)))
    return answer


def _rates(case: Case) -> dict[str, Any]:
    """Ratio of two Poisson rates, exact: events and exposure of the test (1) and of the reference (2)."""
    given = case.parameters
    test, reference = (
        Exposure(
            int(number(given, f"x{i}", f"events{i}", f"events_{who}", f"d{i}")),
            number(given, f"t{i}", f"n{i}", f"exposure{i}", f"exposure_{who}", f"time{i}"),
        )
        for i, who in ((1, "test"), (2, "reference"))
    )
    alpha = alpha_of(given)
    answer: dict[str, Any] = {}
    for level in asked_levels(case, 1.0 - 2.0 * alpha):
        found = rates.rate_ratio(test, reference, level=level)
        answer |= interval_keys(level, found.ci_low, found.ci_high)
        answer |= told_interval(given, level, found.ci_low, found.ci_high)
        answer |= dict.fromkeys(("ratio", "estimate", "rate_ratio"), found.estimate)
    margin = margin_of(given)
    if margin is not None:
        tested = rates.rate_tost(test, reference, margin, alpha=alpha)
        answer |= {
            "p_lower": tested.p_lower,
            "p_upper": tested.p_upper,
            "p_tost": tested.p,
            "equivalent": tested.equivalent,
        }
    return answer


METHODS: dict[str, Adapter] = {
    "prop_equivalence": _proportions,
    "prop_equivalence_paired": _paired_proportions,
    "rate_equivalence": _rates,
}
