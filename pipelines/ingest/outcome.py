"""What one run of one feed did, for the run's metadata and the command line."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipelines.validation.audit import Audit


@dataclass
class Outcome:
    """Accounting of the feed as it stands, rows written by this run, audits, files that could not be read."""

    site: str
    feed: str
    accounting: dict[str, int]
    rows: dict[str, int] = field(default_factory=dict)
    audits: list[Audit] = field(default_factory=list)
    refused_files: list[str] = field(default_factory=list)
