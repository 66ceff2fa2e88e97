"""One reading of a feed: what is new in the histories of its variables, as Parquet files for the vault.

What is new is read from each variable's high water on. The stretch below it (`overlap`) is read again and compared by
digest, so late and edited values are found; only changed parts of it are taken again. Memory holds one file's rows.
Does not belong here: paging (`history.py`), the session (`session.py`), what the values mean.
"""

from __future__ import annotations

import copy
import hashlib
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.connectors.opcua.history import Disordered, History
from pipelines.connectors.opcua.session import Session, Variable
from pipelines.connectors.opcua.values import EPOCH, TICKS_A_SECOND, Values
from pipelines.connectors.protocol import Offer
from pipelines.failures import PermanentFailure
from pipelines.harmonise.contract import Feed

# Values a file: bounds memory, and what a dropped run makes us read again.
FILE_VALUES = 1_000_000
# Parts of the overlap that are compared, and taken again, for themselves.
BUCKETS = 8
SECONDS = {"minute": 60, "hour": 3600, "day": 86_400}
# UNECE common codes (recommendation 20) in UCUM, to check a unit that the contract states against the server's.
UNECE = {
    "CEL": "Cel", "KEL": "K", "FAH": "[degF]", "P1": "%", "SEC": "s", "MIN": "min", "HUR": "h", "RPM": "/min",
    "LTR": "L", "MLT": "mL", "BAR": "bar", "MBR": "mbar", "KPA": "kPa", "PAL": "Pa", "M33": "mmol/L", "GL": "g/L",
    "M1": "mg/L", "Q30": "[pH]", "L2": "L/min", "41": "mL/min",
}  # fmt: skip
QUALITY = np.array(["good", "uncertain", "bad", "bad"])
SCHEMA: dict[str, Any] = {
    "path": pl.String, "batch": pl.String, "source_time": pl.Datetime("us", "UTC"),
    "server_time": pl.Datetime("us", "UTC"), "value": pl.Float64, "text": pl.String, "status": pl.UInt32,
    "quality": pl.String, "unit": pl.String, "unit_code": pl.String, "node": pl.String,
}  # fmt: skip
# Hours of a bucket's key → how many values, and the sum of their hashes.
Digest = dict[int, tuple[int, int]]


@dataclass
class _State:
    """How far a variable was read (ticks), and the digest of the overlap below (None: still to be made)."""

    high: int
    digest: Digest | None = field(default_factory=dict)

    def add(self, digest: Digest) -> None:
        """Count newly read values in."""
        if self.digest is not None:
            _add(self.digest, digest)

    def told(self) -> dict[str, Any]:
        """As the cursor keeps it."""
        digest = None if self.digest is None else {str(b): list(d) for b, d in self.digest.items()}
        return {"high": self.high, "digest": digest}

    def prune(self, first: int) -> None:
        """Forget the buckets below the overlap."""
        if self.digest is not None:
            self.digest = {b: d for b, d in self.digest.items() if b >= first}


@dataclass
class _Batches:
    """Which batch ran beside a variable, by when it began (ticks); '' for none."""

    since: NDArray[np.int64]
    name: list[str]

    def at(self, ticks: NDArray[np.int64]) -> list[str]:
        """The batch at each time; '' where none ran."""
        place = np.searchsorted(self.since, ticks, side="right") - 1
        return [self.name[i] if i >= 0 else "" for i in place.tolist()]


class Extract:
    """One reading of a feed."""

    def __init__(self, session: Session, feed: Feed, cursor: dict[str, Any], scratch: Path) -> None:
        self.session, self.feed, self.scratch = session, feed, scratch
        self.history = History(session)
        number, unit = feed.overlap.split()
        self.overlap = int(float(number) * SECONDS[unit.rstrip("s")] * TICKS_A_SECOND)
        self.width = max(TICKS_A_SECOND, self.overlap // BUCKETS)
        self.since = _ticks(datetime.fromisoformat(feed.since).replace(tzinfo=UTC))
        # A digest of buckets of another width says nothing: it is made anew.
        same = cursor.get("width") == self.width
        self.states = {
            path: _State(
                told["high"], _digest_of(told["digest"]) if same and told["digest"] is not None else None
            )
            for path, told in cursor.get("nodes", {}).items()
        }
        self.changes: dict[str, list[list[Any]]] = cursor.get("batches", {})
        self.at = cursor.get("at", "")
        self.frames: list[pl.DataFrame] = []
        self.rows = 0

    def offers(self) -> Iterator[Offer]:
        """The files, each with the cursor that holds once it is taken."""
        assert self.feed.nodes is not None
        variables = self.session.variables(self.feed.nodes)
        for variable in variables:
            _check_unit(self.session, variable, self.feed)
        # A clock that was set back does not make later files look older.
        now = max(self.session.now().isoformat(), self.at)
        self.at, end = now, _ticks(datetime.fromisoformat(now))
        for variable in variables:
            before = copy.deepcopy(self.states.get(variable.path))
            try:
                yield from self._variable(variable, end)
            except Disordered:
                # Read once more, in a way that loses nothing; what was taken already counts as repeated.
                if before is None:
                    self.states.pop(variable.path, None)
                else:
                    self.states[variable.path] = before
                yield from self._variable(variable, end)
        if self.rows:
            yield self._file()

    def _variable(self, variable: Variable, end: int) -> Iterator[Offer]:
        batches = self._batches(variable, end) if self.feed.batch_variable else None
        state = self.states.get(variable.path)
        if state is None:
            state = self.states[variable.path] = _State(self.since - 1)
        else:
            yield from self._overlap(variable, state, batches)
        for values in self.history.between(variable, state.high + 1, end):
            state.add(self._kept(variable, values, batches))
            state.high = int(values.ticks[-1])
            state.prune(self._bucket(state.high - self.overlap))
            if self.rows >= FILE_VALUES:
                yield self._file()

    def _overlap(self, variable: Variable, state: _State, batches: _Batches | None) -> Iterator[Offer]:
        """Read again what lies below the high water, and take the buckets that are not what they were."""
        low = self._bucket(state.high - self.overlap) * self.width
        found: Digest = {}
        for values in self.history.between(variable, max(low, self.since), state.high):
            _add(found, self._digest(values, _batch_of(values, batches)))
        if state.digest is None:
            state.digest = found
            return
        changed = [b for b in found if found[b] != state.digest.get(b)]
        for bucket in sorted(changed):
            first = max(bucket * self.width, self.since)
            for values in self.history.between(
                variable, first, min((bucket + 1) * self.width - 1, state.high)
            ):
                self._kept(variable, values, batches)
                if self.rows >= FILE_VALUES:
                    yield self._file()
            state.digest[bucket] = found[bucket]

    def _kept(self, variable: Variable, values: Values, batches: _Batches | None) -> Digest:
        """Put values by for the next file; returns their digest."""
        batch = _batch_of(values, batches)
        digest = self._digest(values, batch)
        if batch is not None:
            running = np.array([bool(b) for b in batch], np.bool_)
            values, batch = values.where(running), [b for b in batch if b]
        if len(values):
            self.frames.append(_frame(variable, values, batch))
            self.rows += len(values)
        return digest

    def _bucket(self, ticks: int) -> int:
        return ticks // self.width

    def _digest(self, values: Values, batch: list[str] | None) -> Digest:
        hashes = _hashes(values, batch)
        buckets = values.ticks // self.width
        found: Digest = {}
        for bucket in np.unique(buckets).tolist():
            here = hashes[buckets == bucket]
            found[bucket] = (len(here), int(np.sum(here, dtype=np.uint64)))
        return found

    def _batches(self, variable: Variable, end: int) -> _Batches | None:
        """The batches that ran beside a variable, read on from what the cursor holds."""
        name = self.feed.batch_variable
        assert name is not None
        beside = self.session.sibling(variable, name)
        if beside is None:
            raise PermanentFailure(
                f"{self.session.where}: there is no variable {name!r} beside {variable.path}.",
                "Check `batch_variable`.",
            )
        state = self.states.get(variable.path)
        low = self.since if state is None else max(self.since, state.high - self.overlap - self.width)
        changes = [c for c in self.changes.get(variable.parent, []) if c[0] < low]
        # A sibling that was read less far needs more of the past than the cursor holds after this one.
        if not changes:
            low = self.since
        for values in self.history.between(beside, low, end):
            for row, (ticks, status) in enumerate(
                zip(values.ticks.tolist(), values.status.tolist(), strict=True)
            ):
                if status >> 30 >= 2:
                    continue
                said = values.text.get(row, "").strip()
                if not said and values.given[row]:
                    said = f"{values.number[row]:.15g}"
                if not changes or changes[-1][1] != said:
                    changes.append([ticks, said])
        self.changes[variable.parent] = changes
        return _Batches(np.array([c[0] for c in changes], np.int64), [c[1] for c in changes])

    def _file(self) -> Offer:
        """Write what was put by; its name and time are the content's and the server's, not ours."""
        frame = pl.concat(self.frames)
        path = self.scratch / "history.parquet"
        frame.write_parquet(path, compression="zstd", statistics=True)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
        newest = frame["source_time"].max()
        assert isinstance(newest, datetime)
        stamp = datetime.fromisoformat(self.at).timestamp()
        os.utime(path, (stamp, stamp))
        self.frames, self.rows = [], 0
        cursor = {
            "at": self.at,
            "width": self.width,
            "nodes": {p: s.told() for p, s in self.states.items()},
            "batches": self.changes,
        }
        name = f"history@{newest:%Y%m%dT%H%M%S}-{digest}.parquet"
        return Offer(name, path=path, cursor=copy.deepcopy(cursor), extract=True)


def _check_unit(session: Session, variable: Variable, feed: Feed) -> None:
    """A unit that the contract states must be the server's own; one taken from the server is checked row by row."""
    said = UNECE.get(variable.unit_code)
    for m in feed.maps:
        stated = m.columns["reading"].unit if "reading" in m.columns else None
        if stated is not None and said is not None and stated != said:
            raise PermanentFailure(
                f"{session.where}: {variable.path} is in {variable.unit or said} ({said}), the contract says {stated}.",
                "Take the unit from the server (`unit_from: unit`), or ask the site which of the two is right.",
            )


def _batch_of(values: Values, batches: _Batches | None) -> list[str] | None:
    return None if batches is None else batches.at(values.ticks)


def _frame(variable: Variable, values: Values, batch: list[str] | None) -> pl.DataFrame:
    n = len(values)
    number = pl.Series(values.number, dtype=pl.Float64)
    return pl.DataFrame(
        {
            "path": [variable.path] * n,
            "batch": batch if batch is not None else [None] * n,
            "source_time": _times(values.ticks),
            "server_time": _times(values.server_ticks),
            "value": number.set(pl.Series(~values.given), None),
            "text": [values.text.get(i) for i in range(n)] if values.text else [None] * n,
            "status": values.status,
            "quality": QUALITY[values.status >> 30],
            "unit": [variable.unit or None] * n,
            "unit_code": [variable.unit_code or None] * n,
            "node": [variable.node_id.to_string()] * n,
        },
        schema=SCHEMA,
    )


def _times(ticks: NDArray[np.int64]) -> pl.Series:
    micros = pl.Series((ticks - EPOCH) // 10, dtype=pl.Int64)
    return micros.set(pl.Series(ticks == 0), None).cast(pl.Datetime("us", "UTC"))


def _ticks(moment: datetime) -> int:
    return EPOCH + (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 10


def _digest_of(told: dict[str, list[int]]) -> Digest:
    return {int(bucket): (n, total) for bucket, (n, total) in told.items()}


def _add(into: Digest, more: Digest) -> None:
    for bucket, (n, total) in more.items():
        had, sum_ = into.get(bucket, (0, 0))
        into[bucket] = (had + n, (sum_ + total) % 2**64)


def _hashes(values: Values, batch: list[str] | None) -> NDArray[np.uint64]:
    """A hash of each value, the same on every machine and for every order; their sum stands for a bucket."""
    mixed = _mix(values.ticks.view(np.uint64))
    mixed = _mix(mixed ^ np.where(values.given, values.number, 0.0).view(np.uint64))
    mixed = _mix(mixed ^ values.status.astype(np.uint64) ^ (values.given.astype(np.uint64) << np.uint64(40)))
    for row, text in values.text.items():
        mixed[row] ^= np.uint64(zlib.crc32(text.encode()))
    if batch is not None:
        known = {b: zlib.crc32(b.encode()) for b in set(batch)}
        mixed = _mix(mixed ^ np.array([known[b] for b in batch], np.uint64))
    return mixed


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
