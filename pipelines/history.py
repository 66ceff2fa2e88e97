"""Where Dagster keeps its events: its own SQLite storage, with connections that stay open.

Dagster opens and closes a database for every event, six times a step's event, and SQLite makes the disk safe at each
close: a fifth of a small feed's time. Does not belong here: what is kept, and for how long (`dagster.yaml`).
"""

import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dagster import Noneable, StringSource
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool, StaticPool

# Databases held open: the index over all runs, and the runs under way or looked at last.
KEPT = 4
# How long a writer waits for another process (the Dagster UI and its daemon write too).
PATIENCE_SECONDS = 30


class EventHistory(SqliteEventLogStorage):
    """Dagster's SQLite event log; a `dagster.yaml` names it as `event_log_storage`.

    A power cut may take the last events of a run under way, never the databases' soundness; what the fleet's data are
    is in the lake, not here.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._kept: OrderedDict[str, Engine] = OrderedDict()
        super().__init__(base_dir, inst_data)

    @classmethod
    def config_type(cls) -> Any:
        """`base_dir`: folder of the databases; without it `history/runs` in DAGSTER_HOME, as Dagster's own."""
        return {"base_dir": Noneable(StringSource)}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "EventHistory":
        """Made by Dagster from its `dagster.yaml`."""
        folder = config_value.get("base_dir") or str(Path(os.environ["DAGSTER_HOME"]) / "history" / "runs")
        return cls(inst_data=inst_data, base_dir=folder)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            engine = self._engine(shard)
            if shard not in self._initialized_dbs:
                self._initdb(
                    create_engine(
                        self.conn_string_for_shard(shard),
                        poolclass=NullPool,
                        connect_args={"timeout": PATIENCE_SECONDS},
                    )
                )
                self._initialized_dbs.add(shard)
            with engine.connect() as con, con.begin():
                yield con

    def _engine(self, shard: str) -> Engine:
        """The shard's engine over its one open connection; the caller holds the lock."""
        engine = self._kept.pop(shard, None)
        if engine is not None and not Path(self.path_for_shard(shard)).exists():
            # The run was deleted: its database is not to be written where nobody finds it.
            engine.dispose()
            engine = None
            self._initialized_dbs.discard(shard)
        if engine is None:
            engine = create_engine(
                self.conn_string_for_shard(shard),
                poolclass=StaticPool,
                connect_args={"timeout": PATIENCE_SECONDS, "check_same_thread": False},
            )
            event.listen(engine, "connect", _without_waiting_for_the_disk)
        self._kept[shard] = engine
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)[1].dispose()
        return engine

    def delete_events(self, run_id: str) -> None:
        """Forget a run's events; its database goes too, which Dagster's own storage leaves empty for ever."""
        super().delete_events(run_id)
        with self._db_lock:
            engine = self._kept.pop(run_id, None)
            if engine is not None:
                engine.dispose()
            self._initialized_dbs.discard(run_id)
            for left in Path(self.path_for_shard(run_id)).parent.glob(f"{run_id}.db*"):
                left.unlink()

    def dispose(self) -> None:
        """Close what is open."""
        with self._db_lock:
            while self._kept:
                self._kept.popitem()[1].dispose()
        super().dispose()


def _without_waiting_for_the_disk(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA synchronous = NORMAL")
