"""What a reader may see: the required argument of everything that reads data.

Belongs here: the scope. Does not belong here: how a reader gets one (`session.py`), applying it
(`dashboards/providers/snapshot.py`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scope:
    """Sites that a reader may see, narrowed to those he asked for. No site, no rows.

    `allowed` are the sites whose single batches and records he sees, `compared` those whose verdicts and other
    figures over many batches he sees besides.
    """

    allowed: tuple[str, ...]
    chosen: tuple[str, ...] = ()
    compared: tuple[str, ...] = ()

    @property
    def sites(self) -> tuple[str, ...]:
        """Sites that queries for rows may return. A choice can only narrow what is allowed."""
        return self._narrow(self.allowed)

    @property
    def figures(self) -> tuple[str, ...]:
        """Sites that queries for figures over many batches may return."""
        return self._narrow(tuple(dict.fromkeys((*self.allowed, *self.compared))))

    def _narrow(self, sites: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(s for s in sites if s in self.chosen) if self.chosen else sites

    def narrowed(self, chosen: tuple[str, ...]) -> Scope:
        """The same reader looking at some sites only. Choices outside the scope narrow it to nothing of theirs."""
        return Scope(self.allowed, chosen, self.compared)

    def whole(self) -> Scope:
        """All that the reader may see: for a page about one thing, which the sites looked at do not hide."""
        return Scope(self.allowed, compared=self.compared)

    def permits(self, site: str) -> bool:
        """Whether rows of a site may be returned."""
        return site in self.allowed
