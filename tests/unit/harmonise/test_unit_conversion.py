"""Units: exact factors, offsets, molar masses, and what must never be converted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.harmonise.units import InconvertibleError, conversion


@pytest.mark.parametrize(
    ("source", "target", "molar_mass", "value", "expected"),
    [
        ("[degF]", "Cel", None, 98.6, 37.0),
        ("K", "Cel", None, 310.15, 37.0),
        ("1", "%", None, 0.35, 35.0),
        ("mg/dL", "mmol/L", 180.156, 90.078, 5.0),
        ("g/L", "mmol/L", 90.078, 1.80156, 20.0),
        ("10*6.{cells}", "10*9.{cells}", None, 8600.0, 8.6),
        ("ng/mL", "pg/mL", None, 0.9, 900.0),
        ("[EU]/mL", "[EU]/mL", None, 0.05, 0.05),
        ("[pH]", "[pH]", None, 7.2, 7.2),
    ],
)
def test_known_conversions(
    source: str, target: str, molar_mass: float | None, value: float, expected: float
) -> None:
    assert conversion(source, target, molar_mass)(value) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("[EU]/mL", "[EU]/kg"),  # needs a dose
        ("[EU]/mL", "[IU]/mL"),  # another standard
        ("mg/dL", "mmol/L"),  # needs a molar mass
        ("10*6/mL", "10*6.{cells}/mL"),  # of what?
        ("{copies}/{cell}", "{copies}"),
        ("furlongs", "m"),
        ("%", "Cel"),
    ],
)
def test_what_needs_more_facts_is_refused(source: str, target: str) -> None:
    with pytest.raises(InconvertibleError, match=r"cannot|not a UCUM unit"):
        conversion(source, target)


PAIRS = [("[degF]", "Cel", None), ("mg/dL", "mmol/L", 180.156), ("1", "%", None), ("h", "min", None)]


@given(st.sampled_from(PAIRS), st.floats(-1e6, 1e6))
def test_there_and_back_is_the_same(pair: tuple[str, str, float | None], value: float) -> None:
    source, target, molar_mass = pair
    there, back = conversion(source, target, molar_mass), conversion(target, source, molar_mass)
    assert back(there(value)) == pytest.approx(value, rel=1e-9, abs=1e-6)
