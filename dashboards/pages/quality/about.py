"""What the panels of the Data quality page share."""

from __future__ import annotations

from dashboards.shell.visit import Visit


def names_of(visit: Visit) -> dict[str, str]:
    """Sites by name."""
    return {s.id: s.name for s in visit.snapshot.sites}


def computed(visit: Visit, words: str, table: str) -> str:
    """How a panel's numbers came to be."""
    return f"{words} Times are UTC. Table {table}, snapshot {visit.snapshot.number}."
