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

    def followed_by(self, later: Outcome) -> Outcome:
        """Both together: the later accounting, the rows, audits and refusals of both."""
        rows = {t: self.rows.get(t, 0) + later.rows.get(t, 0) for t in self.rows | later.rows}
        return Outcome(
            self.site, self.feed, later.accounting, rows,
            self.audits + later.audits, self.refused_files + later.refused_files,
        )  # fmt: skip
