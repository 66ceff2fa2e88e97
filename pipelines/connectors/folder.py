"""Files that arrive in a folder of this machine, or of a share mounted on it."""

from __future__ import annotations

from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path

from pipelines.connectors.arriving import Listed, fresh, is_of
from pipelines.connectors.protocol import Offer, Seen
from pipelines.failures import PermanentFailure
from pipelines.harmonise.contract import Feed
from pipelines.harmonise.systems import FolderSystem, System


class Folder:
    """A local or mounted folder. A file under an unfinished name is left for the next run."""

    def offers(
        self, system: System, feed: Feed, sources: Path, seen: Seen, scratch: Path
    ) -> Generator[Offer, None, None]:
        """Offer every file of the feed's glob that was not taken at this size and time; see the protocol."""
        del scratch
        assert isinstance(system, FolderSystem)
        folder = sources / system.path
        for f in fresh(lambda: _listing(system, feed, folder), seen, system.settle_seconds):
            yield Offer(f.name, path=folder / f.name)

    def listings(self, system: System, feeds: list[Feed], sources: Path) -> list[list[Listed]]:
        """Every finished file of each feed."""
        assert isinstance(system, FolderSystem)
        return [_listing(system, feed, sources / system.path) for feed in feeds]


def _listing(system: FolderSystem, feed: Feed, folder: Path) -> list[Listed]:
    assert feed.files is not None
    if not folder.is_dir():
        raise PermanentFailure(
            f"Folder {system.path} does not exist.", "Check the contract's `path` and the site's share."
        )
    found = []
    for path in folder.glob(feed.files):
        name = path.relative_to(folder).as_posix()
        if is_of(feed, name) and path.is_file():
            stat = path.stat()
            found.append(Listed(datetime.fromtimestamp(stat.st_mtime, UTC), name, stat.st_size))
    return found
