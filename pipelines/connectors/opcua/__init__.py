"""OPC UA historical access: the histories of variables of a site's server.

`extract.py` says what is new, `history.py` reads it page by page, `session.py` speaks to the server, `values.py` reads
the bytes of an answer. Does not belong here: what the values mean (`pipelines/harmonise`).
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from pipelines.connectors.protocol import Offer, Seen
from pipelines.harmonise.contract import Feed
from pipelines.harmonise.systems import OpcUaSystem, System


class OpcUa:
    """An OPC UA server with historical access."""

    def offers(
        self, system: System, feed: Feed, sources: Path, seen: Seen, scratch: Path
    ) -> Generator[Offer, None, None]:
        """Offer files of what is new in the histories of the feed's nodes; see the protocol."""
        from pipelines.connectors.opcua.extract import Extract  # asyncua takes a second to import
        from pipelines.connectors.opcua.session import Session

        del sources
        assert isinstance(system, OpcUaSystem)
        session = Session(system)
        try:
            yield from Extract(session, feed, seen.cursor, scratch).offers()
        finally:
            session.close()
