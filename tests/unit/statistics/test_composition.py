"""Log-ratios of compositions: two parts are a log ratio, units and order do not matter, and the way back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.statistics.composition import aitchison_distance, basis, closed, clr, ilr, shares
from warehouse.statistics.multivariate import two_sample
from warehouse.statistics.refusal import StatisticsRefusal

PARTS = st.lists(st.floats(0.01, 100), min_size=3, max_size=6)


def test_two_parts_are_the_logarithm_of_their_ratio() -> None:
    assert ilr([[60.0, 30.0]])[0, 0] == pytest.approx(np.log(2) / np.sqrt(2))
    assert clr([[60.0, 30.0]])[0] == pytest.approx([np.log(2) / 2, -np.log(2) / 2])


@settings(max_examples=40, deadline=None)
@given(PARTS, st.floats(0.1, 1000))
def test_units_do_not_matter_and_there_is_a_way_back(parts: list[float], unit: float) -> None:
    scaled = [part * unit for part in parts]
    assert ilr(scaled) == pytest.approx(ilr(parts), abs=1e-9)
    assert shares(ilr(parts)) == pytest.approx(closed(parts), abs=1e-9)
    assert aitchison_distance(parts, scaled) == pytest.approx(0, abs=1e-9)
    assert np.linalg.norm(ilr(parts)) == pytest.approx(np.linalg.norm(clr(parts)))
    assert basis(len(parts)) @ basis(len(parts)).T == pytest.approx(np.eye(len(parts) - 1), abs=1e-12)


def test_panels_are_compared_in_any_order_of_their_parts() -> None:
    rng = np.random.default_rng(1)
    one, two = (np.exp(rng.normal(m, 0.3, (12, 4))) for m in (0.0, 0.2))
    turned = [2, 0, 3, 1]
    there = two_sample(ilr(one), ilr(two))
    assert two_sample(ilr(one[:, turned]), ilr(two[:, turned])).t2 == pytest.approx(there.t2)


def test_a_part_of_zero_is_refused_in_words() -> None:
    for bad in ([1.0, 0.0, 2.0], [1.0, -1.0], [np.nan, 1.0]):
        with pytest.raises(StatisticsRefusal, match="no log-ratio"):
            clr(bad)
    with pytest.raises(StatisticsRefusal, match="two parts"):
        closed([1.0])
