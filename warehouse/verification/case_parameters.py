"""Reading a case's parameters: one meaning under the several names that texts and packages give it.

Belongs here: which names mean a margin, a level, a side, a scale; which interval levels a case asks for. Does
not belong here: columns of its table (`case_columns`), and any method.

Names are compared without regard to case and separators, so "lowerRatio", "lower_ratio" and "Lower.Ratio" are
one. The names of a meaning are listed once, below.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import exp
from typing import Any

from warehouse.statistics.means import Summary
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.statistics.scales import Margin, Scale
from warehouse.verification.run import Case, plain

Section = Mapping[str, Any]

ALPHA = ("alpha", "significance")
LEVEL = ("level", "conf", "conf_level", "confidence", "confidence_level", "ci_level")
COVERAGE = ("P", "coverage", "content", "p_content")
CONFIDENCE = ("conf", "confidence", "gamma", "conf_level", "level", "confidence_level")
HALF_WIDTH = ("delta", "margin", "eqb", "eqbound", "bound", "half_width", "tost_margin", "equivalence_margin")
ENDS = (
    ("lower", "upper"),
    ("lower_ratio", "upper_ratio"),
    ("theta1", "theta2"),
    ("low", "high"),
    ("lower_bound", "upper_bound"),
    ("lower_margin", "upper_margin"),
    ("margin_lower", "margin_upper"),
    ("delta_lower", "delta_upper"),
    ("low_eqbound", "high_eqbound"),
    ("eqb_lower", "eqb_upper"),
)
_RATIO = {"lowerratio", "upperratio", "theta1", "theta2"}


def pick(parameters: Section, *names: str, default: Any = None) -> Any:
    """The first parameter that goes by one of `names` and is not null, else `default`."""
    known = {plain(name): value for name, value in parameters.items()}
    return next((known[plain(name)] for name in names if known.get(plain(name)) is not None), default)


def number(parameters: Section, *names: str, default: float | None = None) -> float:
    """`pick` as a number. Raises StatisticsRefusal where the case does not give it."""
    found = pick(parameters, *names, default=default)
    if found is None:
        raise StatisticsRefusal(f"The case gives no {names[0]}.")
    return float(found)


def alpha_of(parameters: Section, default: float = 0.05) -> float:
    """The level of each one-sided test: `alpha`, else half of what a two-sided interval's level leaves."""
    level = pick(parameters, *LEVEL)
    beside = default if level is None else (1.0 - fraction(float(level))) / 2.0
    return number(parameters, *ALPHA, default=beside)


def fraction(level: float) -> float:
    """A level written as 0.95 or as 95."""
    return level / 100.0 if level > 1.0 else level


def margin_of(parameters: Section) -> Margin | None:
    """The margin by its two ends, by a pair, or by half its width; None where the case gives none."""
    for low, high in ENDS:
        ends = pick(parameters, low), pick(parameters, high)
        if None not in ends:
            return Margin(float(ends[0]), float(ends[1]))
    half = pick(parameters, *HALF_WIDTH, "bounds", "margins", "eqbounds")
    if half is None:
        return None
    if isinstance(half, (list, tuple)):
        return Margin(float(min(half)), float(max(half)))
    return Margin(-float(half), float(half))


def needed_margin(parameters: Section, scale: Scale = "identity") -> Margin:
    """`margin_of`, refused where there is none; a single half-width on the log scale is one of logarithms."""
    found = margin_of(parameters)
    if found is None:
        raise StatisticsRefusal("The case gives no margin (lower and upper, or delta).")
    return Margin(exp(found.low), exp(found.high)) if scale == "log" and found.low < 0.0 else found


def scale_of(parameters: Section, default: Scale = "identity") -> Scale:
    """The analysis scale: as named, `log` where the margin is one of ratios, else `default`."""
    named = pick(parameters, "scale", "transform")
    if named is None:
        return "log" if _RATIO & {plain(name) for name in parameters} else default
    word = plain(str(named))
    if "already" in word:  # the values are logarithms as they stand
        return "identity"
    if word.startswith("log") and not word.startswith("logit"):
        return "log"
    if word in {"identity", "logit", "none", "raw", "linear"}:
        return "logit" if word == "logit" else "identity"
    raise StatisticsRefusal(f"Unknown scale {named!r}.")


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield str(name)
            yield from _keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _keys(inner)


def asked_levels(case: Case, *usual: float) -> list[float]:
    """Levels of the intervals named in the case's keys ("ci90_lower" is 0.9) or parameters, and the `usual` ones."""
    found = {round(level, 6) for level in usual}
    told = pick(case.parameters, *LEVEL)
    if isinstance(told, (int, float)):
        found.add(round(fraction(float(told)), 6))
    for key in _keys(case.expected):
        found |= {float(text) / 100.0 for text in re.findall(r"ci_?(\d\d(?:\.\d+)?)", key.lower())}
    return sorted(level for level in found if 0.0 < level < 1.0)


def told_interval(given: Section, level: float, low: float | None, high: float | None) -> dict[str, Any]:
    """The interval of the one level that the parameters name, under names without a level: ci_lower, ci_upper, ci."""
    told = pick(given, *LEVEL)
    if not isinstance(told, (int, float)) or abs(fraction(float(told)) - level) > 1e-9:
        return {}
    return {"ci_lower": low, "ci_upper": high, "ci": [low, high], "lower": low, "upper": high}


def interval_keys(level: float, low: float | None, high: float | None) -> dict[str, Any]:
    """An interval under the names cases use: ci90_lower, ci90_upper, and ci90 for both."""
    name = f"ci{100 * level:g}"
    return {f"{name}_lower": low, f"{name}_upper": high, name: [low, high]}


def _summary(parameters: Section, place: int) -> Summary | None:
    """The summary of group `place` (1 test, 2 reference): mean, SD (or variance, or standard error) and n."""
    which = str(place), ("test", "reference")[place - 1]
    mean = pick(parameters, *(f"{word}{i}" for word in ("m", "mean", "mean_") for i in which))
    n = pick(parameters, *(f"n{i}" for i in which), "n")
    sd = pick(parameters, *(f"{word}{i}" for word in ("sd", "s") for i in which))
    if sd is None:
        variance = pick(parameters, *(f"var{i}" for i in which))
        sd = None if variance is None else float(variance) ** 0.5
    if mean is None or n is None or sd is None:
        return None
    return Summary(float(mean), float(sd), int(n))


def summaries(parameters: Section) -> tuple[Summary, Summary] | None:
    """(reference, test) from the summaries m1, sd1, n1 (test) and m2, sd2, n2, if given."""
    test, reference = _summary(parameters, 1), _summary(parameters, 2)
    return None if test is None or reference is None else (reference, test)
