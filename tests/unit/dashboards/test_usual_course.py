"""The usual course with batches left out is what DuckDB's quantiles of the other batches are, hour by hour."""

from __future__ import annotations

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboards.providers.usual_course import FEWEST, QUANTILES, usual_course

BATCHES, HOURS = 14, 3
# Few values, so that many are alike; not every batch is known in every hour.
means = st.lists(
    st.lists(st.sampled_from([None, 1.0, 1.5, 2.0, 36.5, -4.25]), min_size=HOURS, max_size=HOURS),
    min_size=BATCHES, max_size=BATCHES,
)  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(table=means, left_out=st.sets(st.integers(0, BATCHES - 1)))
def test_it_is_that_of_the_other_batches(table: list[list[float | None]], left_out: set[int]) -> None:
    cells = [(row, hour, mean) for row, known in enumerate(table) for hour, mean in enumerate(known)]
    rows, hours, values = (np.array([cell[n] for cell in cells if cell[2] is not None]) for n in range(3))
    names = [f"B{row}" for row in range(BATCHES)]
    course = usual_course(
        names, {7: "ph"}, np.full(len(rows), 7, dtype=np.uint64), rows.astype(int), hours.astype(int), values
    )
    found = course.without([*(f"B{row}" for row in left_out), "of another site"])
    with duckdb.connect() as con:
        con.execute("CREATE TABLE h (row INT, hour INT, mean DOUBLE)")
        con.executemany("INSERT INTO h VALUES (?, ?, ?)", cells)
        others = f"h WHERE mean IS NOT NULL AND NOT list_contains({sorted(left_out)}::INT[], row)"
        wanted = con.execute(
            f"SELECT hour + 0.5, quantile_cont(mean, {list(QUANTILES)}), min(mean), max(mean) FROM {others} "
            f"GROUP BY hour HAVING count(*) >= {FEWEST} ORDER BY hour"
        ).fetchall()
        n = con.execute(f"SELECT count(DISTINCT row) FROM {others}").fetchone()
    assert n is not None
    if not wanted:
        assert found == []
        return
    [told] = found
    assert (told.quantity, told.n_batches) == ("ph", n[0])
    assert told.hours == tuple(row[0] for row in wanted)
    for k, seen in enumerate((told.low, told.middle, told.high)):
        assert seen == pytest.approx([row[1][k] for row in wanted])
    assert told.lowest == tuple(row[2] for row in wanted)
    assert told.highest == tuple(row[3] for row in wanted)
