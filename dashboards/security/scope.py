"""What a reader may see: the required argument of everything that reads data.

Belongs here: the scope. Does not belong here: how a reader gets one (`session.py`), applying it
(`dashboards/providers/scoped.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Scope:
    """Sites that a reader may see, narrowed to those he asked for. No site, no rows.

    `allowed` are the sites whose single batches and records he sees, `compared` those whose verdicts and other
    figures over many batches he sees besides. `programs` are the only programs whose rows he sees; None is every one.
    """

    allowed: tuple[str, ...]
    chosen: tuple[str, ...] = ()
    compared: tuple[str, ...] = ()
    programs: tuple[str, ...] | None = None

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
        return replace(self, chosen=chosen)

    def whole(self) -> Scope:
        """All that the reader may see: for a page about one thing, which the sites looked at do not hide."""
        return replace(self, chosen=())

    def permits(self, site: str) -> bool:
        """Whether rows of a site may be returned."""
        return site in self.allowed
