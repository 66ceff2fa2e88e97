"""Files that arrive in a folder: taken when they are whole, told apart by name, size and time, never by the clock."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from pipelines.connectors.protocol import Offer, Seen
from pipelines.failures import PermanentFailure
from pipelines.harmonise.contract import Feed, System

# How files are called while they are still being written.
UNFINISHED = (".part", ".tmp", ".filepart", "~")


class Folder:
    """A local or mounted folder. A file under an unfinished name is left for the next run."""

    def offers(self, system: System, feed: Feed, sources: Path, seen: Seen, scratch: Path) -> Iterator[Offer]:
        """Offer every file of the feed's glob that was not taken at this size and time; see the protocol."""
        del scratch
        assert system.path is not None
        assert feed.files is not None
        folder = sources / system.path
        if not folder.is_dir():
            raise PermanentFailure(
                f"Folder {system.path} does not exist.", "Check the contract's `path` and the site's share."
            )
        waiting = []
        for path in folder.glob(feed.files):
            if not path.is_file() or path.name.startswith(".") or path.name.endswith(UNFINISHED):
                continue
            stat = path.stat()
            name = path.relative_to(folder).as_posix()
            written = datetime.fromtimestamp(stat.st_mtime, UTC)
            if (name, stat.st_size, written) not in seen.files:
                waiting.append((written, name, path))
        for _, name, path in sorted(waiting):
            yield Offer(path, name)
