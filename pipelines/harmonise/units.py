"""Unit conversion between UCUM units, exact and never guessed.

UCUM is read by `ucumvert` on `pint`. Annotations such as `{cells}` and arbitrary units such as `[EU]` carry
meaning that pint drops, so they must be equal on both sides: `[EU]/mL` does not become `[IU]/mL`, nor `/kg`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

ANNOTATION = re.compile(r"\{[^}]*\}|\[(?:EU|IU|pH)\]")

# Two points fix the line; far apart, so that an offset (°F) costs the factor no digits.
SPAN = 1e6


class InconvertibleError(ValueError):
    """The two units do not measure the same, or one is not UCUM; the sentence says which."""


@dataclass(frozen=True)
class Conversion:
    """target = value · factor + offset."""

    factor: float
    offset: float

    def __call__(self, value: float) -> float:
        return value * self.factor + self.offset


@cache
def _registry() -> Any:
    from ucumvert import PintUcumRegistry  # costly: parses a grammar

    return PintUcumRegistry()


@cache
def conversion(source: str, target: str, molar_mass: float | None = None) -> Conversion:
    """Conversion from one UCUM unit to another; `molar_mass` in g/mol allows mass to amount of substance.

    Raises InconvertibleError.
    """
    if ANNOTATION.findall(source) != ANNOTATION.findall(target):
        raise InconvertibleError(f"{source!r} cannot become {target!r}: they do not count the same thing")
    if source == target and ANNOTATION.sub("", source).strip("./") == "":
        return Conversion(1.0, 0.0)
    ureg = _registry()
    try:
        have, want = _unit(source), _unit(target)
    except Exception as error:
        raise InconvertibleError(f"{source!r} or {target!r} is not a UCUM unit") from error
    if source == target:
        return Conversion(1.0, 0.0)
    try:
        zero, far = _moved(ureg, have, want, 0.0, molar_mass), _moved(ureg, have, want, SPAN, molar_mass)
    except Exception as error:
        need = " without a molar mass in the dictionary" if molar_mass is None else ""
        raise InconvertibleError(f"{source!r} cannot be converted to {target!r}{need}") from error
    return Conversion((far - zero) / SPAN, zero)


@cache
def _unit(ucum: str) -> Any:
    # Once a unit: to parse one costs more than the conversion, and each is asked for against many others.
    return _registry().from_ucum(ANNOTATION.sub("1", ucum))


def _moved(ureg: Any, have: Any, want: Any, value: float, molar_mass: float | None) -> float:
    quantity = ureg.Quantity(value * have.magnitude, have.units)
    if molar_mass is not None and not quantity.check(want.dimensionality):
        per_mole = ureg.Quantity(molar_mass, "g/mol")
        divided = quantity / per_mole
        quantity = divided if divided.check(want.dimensionality) else quantity * per_mole
    return float(quantity.to(want.units).magnitude) / float(want.magnitude)
