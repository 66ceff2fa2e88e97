"""However messages are batched, repeated and cut off by kills: the segments hold each once."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.connectors.sparkplug.nodes import Message
from pipelines.connectors.sparkplug.store import SCHEMA, Store
from pipelines.connectors.sparkplug.wire import Payload

START = 1_772_323_200_000


def heard(count: int) -> list[Message]:
    """A node's birth and what it tells then: doubles, whole numbers, late values, a batch that changes."""
    birth = Payload(timestamp=START, seq=0)
    for alias, (name, kind) in enumerate((("T", 10), ("N", 3), ("Batch", 12)), 1):
        birth.metrics.add(name=name, alias=alias, datatype=kind, is_null=True)
    made = [Message(1, "spBv1.0/G/NBIRTH/E", birth.SerializeToString())]
    for i in range(1, count + 1):
        told = Payload(timestamp=START + i, seq=i % 256)
        told.metrics.add(alias=1, timestamp=START + i, double_value=float(i))
        if i % 3 == 0:
            told.metrics.add(alias=2, timestamp=START + i, int_value=(1 << 32) - i, is_historical=i % 2 == 0)
        if i % 7 == 0:
            told.metrics.add(alias=3, timestamp=START + i, string_value=f"B{i}")
        made.append(Message(1 + i, "spBv1.0/G/NDATA/E", told.SerializeToString()))
    return made


def stored(folder: Path) -> pl.DataFrame:
    frames = [pl.read_parquet(p) for p in sorted(folder.glob("*.parquet"))]
    return pl.concat([pl.DataFrame(schema=SCHEMA), *frames]).sort("source_time", "alias").drop("received_at")


def killed(store: Store, torn: int) -> None:
    """Leave the store as a kill does; `torn` bytes of a frame that was being written are left behind."""
    assert store._journal is not None
    store._journal.write(b"\x40\x00\x00\x00" + b"x" * torn)
    store._journal.close()
    store._lock.close()


WAYS = st.lists(
    st.tuples(st.integers(0, 25), st.sampled_from(["keep", "roll", "kill", "kill before it was acknowledged"])),
    min_size=1, max_size=8,
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(ways=WAYS, metric=st.sampled_from([None, "Batch"]), torn=st.integers(0, 30))
def test_each_message_is_stored_once(ways: list[tuple[int, str]], metric: str | None, torn: int) -> None:
    messages = heard(60)
    with tempfile.TemporaryDirectory() as plain, tempfile.TemporaryDirectory() as rough:
        with Store(Path(plain), ["*"], metric) as store:
            store.keep(messages)
        expected = stored(Path(plain))
        store, at = Store(Path(rough), ["*"], metric), 0
        store.__enter__()
        for count, way in ways:
            store.keep(messages[at : at + count])
            acknowledged = at if "before" in way else at + count
            if way == "roll":
                store.roll()
            elif way != "keep":
                killed(store, torn)
                store = Store(Path(rough), ["*"], metric)
                store.__enter__()
            at = acknowledged
        store.keep(messages[at:])
        store.__exit__()
        assert_same(stored(Path(rough)), expected)
        assert {p.suffix for p in Path(rough).iterdir()} <= {".parquet", ".journal", ".lock"}


def assert_same(found: pl.DataFrame, expected: pl.DataFrame) -> Any:
    assert found.rows() == expected.rows()
