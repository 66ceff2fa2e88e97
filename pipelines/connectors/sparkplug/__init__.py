"""MQTT Sparkplug B: values that a site's edge nodes publish, kept by a listener that stays, taken from its segments.

`listener.py` speaks to the broker, `store.py` keeps what was heard, `nodes.py` says what it means, `wire.py` reads the
payloads. Does not belong here: what the values mean (`pipelines/harmonise`).
"""

from __future__ import annotations

from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path

from pipelines.connectors.protocol import Offer, Seen
from pipelines.failures import PermanentFailure
from pipelines.harmonise.contract import Feed
from pipelines.harmonise.systems import SparkplugSystem, System


class Sparkplug:
    """The closed segments of a listener. One that the lake has taken is removed: the vault keeps its copy."""

    def offers(
        self, system: System, feed: Feed, sources: Path, seen: Seen, scratch: Path
    ) -> Generator[Offer, None, None]:
        """Offer every segment that was not taken yet, oldest first; see the protocol."""
        del feed, scratch
        assert isinstance(system, SparkplugSystem)
        folder = sources / system.path
        if not folder.is_dir():
            raise PermanentFailure(
                f"Folder {system.path} does not exist.",
                "Start `cellfleet listen` for this site: it makes it.",
            )
        for path in sorted(folder.glob("*.parquet")):
            stat = path.stat()
            if (path.name, stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC)) in seen.files:
                path.unlink()
            else:
                yield Offer(path.name, path=path)
