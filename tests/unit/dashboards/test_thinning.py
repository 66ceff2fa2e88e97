"""What is left of a channel's readings when they are thinned for drawing."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dashboards.providers.thinning import GOOD, OTHER, Readings, by_channel

numbers = st.floats(-1e6, 1e6, allow_nan=False)


@given(
    values=arrays.arrays(np.float64, st.integers(1, 400), elements=numbers),
    points=st.sampled_from([4, 10, 50]),
)
@settings(deadline=None)
def test_no_spike_is_lost_and_no_more_points_are_drawn_than_asked(values: np.ndarray, points: int) -> None:
    at = np.arange(len(values)) * 1000
    kept_at, kept = Readings("c", "q", at, values, np.full(len(values), GOOD, np.int8)).thinned(points)
    assert len(kept) <= max(points, 1)
    assert (kept.min(), kept.max()) == (values.min(), values.max())
    assert (np.diff(kept_at) > 0).all()
    assert (values[kept_at // 1000] == kept).all()


def test_what_is_not_good_or_no_number_is_not_drawn() -> None:
    status = np.array([GOOD, OTHER, GOOD, 0], np.int8)
    channel = Readings("c", "q", np.arange(4), np.array([1.0, 2.0, np.nan, 4.0]), status)
    assert [part.tolist() for part in channel.thinned(10)] == [[0], [1.0]]


@given(order=st.permutations(range(12)))
@settings(deadline=None)
def test_channels_are_told_apart_in_whatever_order_their_readings_lie(order: list[int]) -> None:
    place = np.array(order)
    code, at = (place % 3).astype(np.uint64), place.astype(np.int64)
    names = {n: (f"c{n}", "q") for n in range(3)}
    found = list(by_channel(names, code, at, at.astype(float), np.full(12, GOOD, np.int8)))
    assert {r.channel: r.at.tolist() for r in found} == {f"c{n}": list(range(n, 12, 3)) for n in range(3)}
