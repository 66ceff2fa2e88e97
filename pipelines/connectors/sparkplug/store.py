"""Store and forward: what a listener heard, on disk before it is acknowledged, and as Parquet segments for the lake.

Messages go to a journal, which begins with all that is known of the nodes. A journal becomes a segment, and goes when
the next one has begun; one that a killed listener left is replayed into the same segment. Does not belong here: what a
message means (`nodes.py`).
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Any

import numpy as np
import polars as pl

from pipelines.connectors.sparkplug.nodes import Fleet, Message, Rows
from pipelines.failures import PermanentFailure
from warehouse.vault import sync_folder

# Rows a segment: bounds memory, and how long a replay takes.
SEGMENT_ROWS = 500_000
FRAME = struct.Struct("<II")
HEAD = struct.Struct("<qH")
# Where the Parquet reader (`pipelines/formats/parquet.py`) looks for what a file says about its rows.
FLAGS = "cellfleet_flags"
JOURNAL, SEGMENT = ".journal", ".parquet"
SCHEMA: dict[str, Any] = {
    "group": pl.String, "node": pl.String, "device": pl.String, "metric": pl.String, "path": pl.String,
    "alias": pl.Int64, "batch": pl.String, "source_time": pl.Datetime("us", "UTC"),
    "received_at": pl.Datetime("us", "UTC"), "value": pl.Float64, "text": pl.String, "quality": pl.String,
    "historical": pl.Boolean, "unit": pl.String, "datatype": pl.Int32, "seq": pl.Int16,
}  # fmt: skip


class Store:
    """The folder of one listener. One process at a time holds it."""

    def __init__(self, folder: Path, metrics: list[str], batch_metric: str | None) -> None:
        self.folder, self.metrics, self.batch_metric = folder, metrics, batch_metric
        # The segment closed last.
        self.last = ""
        self.fleet = Fleet(batch_metric)
        self._journal: IO[bytes] | None = None
        self._number, self._newest = 0, 0

    def __enter__(self) -> Store:
        """Take the folder, and finish what a killed listener left.

        Raises PermanentFailure where another listener holds it, or a journal does not begin as journals do.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = (self.folder / "listener.lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise PermanentFailure(
                f"Another listener writes to {self.folder}.",
                "Stop it, or give this system a `path` of its own.",
            ) from error
        journals = sorted(self.folder.glob(f"*{JOURNAL}"))
        for left in journals:
            self._number = int(left.stem)
            state, messages = read_journal(left)
            self.fleet = Fleet(self.batch_metric, state)
            for message in messages:
                self._hear(message)
            if not self._path(SEGMENT).exists():
                self._write_segment()
        self._begin()
        for left in journals:
            left.unlink()
        return self

    def __exit__(self, *_: object) -> None:
        self.roll()
        if self._journal is not None:
            self._journal.close()
        self._lock.close()

    def keep(self, messages: list[Message]) -> None:
        """Make messages durable, then take them in. When this returns they may be acknowledged."""
        assert self._journal is not None
        frames = []
        for m in messages:
            topic = m.topic.encode()
            body = HEAD.pack(m.received, len(topic)) + topic + m.payload
            frames.append(FRAME.pack(len(body), zlib.crc32(body)) + body)
        self._journal.write(b"".join(frames))
        self._journal.flush()
        os.fsync(self._journal.fileno())
        for m in messages:
            self._hear(m)

    @property
    def full(self) -> bool:
        """Whether the segment is as large as memory should hold."""
        return len(self.fleet.rows) >= SEGMENT_ROWS

    def roll(self) -> int:
        """Close the segment, and begin the next; returns its rows. Nothing happens where nothing was heard."""
        rows = self.fleet.rows
        if not rows.messages:
            return 0
        self._write_segment()
        done = self._path(JOURNAL)
        self._begin()
        done.unlink()
        return len(rows)

    def _hear(self, message: Message) -> None:
        self._newest = max(self._newest, message.received)
        self.fleet.take(message)

    def _path(self, suffix: str) -> Path:
        return self.folder / f"{self._number:010d}{suffix}"

    def _begin(self) -> None:
        """A new journal, which begins with what is known of the nodes; durable before it is written to."""
        if self._journal is not None:
            self._journal.close()
        taken = [int(p.stem) for p in self.folder.glob(f"*{SEGMENT}") if p.stem.isdigit()]
        # Numbers never come again, also when segments were taken and removed: time is part of them.
        self._number = max(self._number + 1, *taken, int(datetime.now(UTC).timestamp()))
        body = json.dumps(self.fleet.told()).encode()
        part = self._path(f"{JOURNAL}.part")
        with part.open("wb") as handle:
            handle.write(FRAME.pack(len(body), zlib.crc32(body)) + body)
            handle.flush()
            os.fsync(handle.fileno())
        part.replace(self._path(JOURNAL))
        sync_folder(self.folder)
        self._journal = self._path(JOURNAL).open("ab")
        self.fleet.rows = Rows()

    def _write_segment(self) -> None:
        if not self.fleet.rows.messages:
            return
        part = self._path(f"{SEGMENT}.part")
        flags = json.dumps(self.fleet.rows.flags)
        frame_of(self.fleet, self.metrics).write_parquet(part, compression="zstd", metadata={FLAGS: flags})
        with part.open("rb") as handle:
            os.fsync(handle.fileno())
        # The same messages make the same file again, also in its time.
        stamp = self._newest / 1e6
        os.utime(part, (stamp, stamp))
        part.replace(self._path(SEGMENT))
        sync_folder(self.folder)
        self.last = self._path(SEGMENT).name


def read_journal(path: Path) -> tuple[dict[str, Any], Iterator[Message]]:
    """What was known when the journal began, and its messages.

    A last frame that was not written whole was never acknowledged: the broker sends it again.
    """
    frames = _frames(path)
    first = next(frames, None)
    if first is None:
        raise PermanentFailure(
            f"{path} does not begin as a journal does.", "Keep a copy of it, then move it out of the folder."
        )
    return json.loads(first), (_message(body) for body in frames)


def _frames(path: Path) -> Iterator[bytes]:
    with path.open("rb") as handle:
        while len(head := handle.read(FRAME.size)) == FRAME.size:
            length, check = FRAME.unpack(head)
            body = handle.read(length)
            if len(body) < length or zlib.crc32(body) != check:
                return
            yield body


def _message(body: bytes) -> Message:
    received, length = HEAD.unpack_from(body)
    topic = body[HEAD.size : HEAD.size + length].decode()
    return Message(received, topic, body[HEAD.size + length :])


def frame_of(fleet: Fleet, metrics: list[str]) -> pl.DataFrame:
    """The rows heard since the segment began: of the metrics wanted, and not where no batch ran, as its metric says.

    A value whose alias no birth explained may be one that is wanted: it stays.
    """
    rows = fleet.rows
    known = list(rows.channels)
    channels = pl.DataFrame(
        [
            (
                c.group,
                c.node,
                c.device or None,
                c.name,
                _path_of(c),
                c.alias,
                c.unit or None,
                c.datatype or None,
            )
            for c in known
        ],
        schema={
            n: SCHEMA[n] for n in ("group", "node", "device", "metric", "path", "alias", "unit", "datatype")
        },
        orient="row",
    )
    channel = np.frombuffer(rows.channel, np.int32) if len(rows) else np.zeros(0, np.int32)
    stamp = np.frombuffer(rows.stamp, np.int64) if len(rows) else np.zeros(0, np.int64)
    value = np.frombuffer(rows.value, np.float64) if len(rows) else np.zeros(0)
    n = len(rows)
    counts = np.diff(np.append(np.array(rows.first, np.int64), n))
    seq = pl.Series(np.repeat(np.array(rows.seq, np.int16), counts))
    batch, owned = _batches(fleet, channel, stamp)
    wanted = [c.name is None or any(fnmatchcase(_path_of(c) or "", m) for m in metrics) for c in known]
    owned &= np.array(wanted, np.bool_)[channel]
    frame = channels[channel].with_columns(
        batch=batch,
        source_time=_stamps(stamp * 1000),
        received_at=_stamps(np.repeat(np.array(rows.received, np.int64), counts)),
        value=pl.Series(value).fill_nan(None),
        text=_sparse(rows.text, n, None),
        quality=_sparse(rows.quality, n, "good"),
        historical=pl.Series([False] * n, dtype=pl.Boolean).scatter(sorted(rows.historical), True),
        seq=seq.set(seq == -1, None),
    )
    return frame.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items()).filter(pl.Series(owned))


def _path_of(c: Any) -> str | None:
    return "/".join(filter(None, (c.group, c.node, c.device, c.name))) if c.name else None


def _stamps(micros: Any) -> pl.Series:
    return pl.Series(micros, dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))


def _sparse(told: dict[int, str], n: int, rest: str | None) -> pl.Series:
    series = pl.Series([rest], dtype=pl.String).new_from_index(0, n)
    return series.scatter(list(told), list(told.values())) if told else series


def _batches(fleet: Fleet, channel: Any, stamp: Any) -> tuple[pl.Series, Any]:
    """The batch of each row, and whether it may be owned by one: not where the metric says that none ran."""
    n = len(stamp)
    names = np.full(n, None, object)
    owned = np.ones(n, np.bool_)
    for number, c in enumerate(fleet.rows.channels):
        changes = fleet.batches(c)
        if not changes:
            continue
        here = channel == number
        place = np.searchsorted(np.array([s for s, _ in changes]), stamp[here], side="right") - 1
        said = np.array([name for _, name in changes] + [None], object)[place]
        names[here] = np.where(said == "", None, said)
        owned[here] = said != ""
    return pl.Series(names.tolist(), dtype=pl.String), owned
