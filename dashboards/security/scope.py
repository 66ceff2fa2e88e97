"""What a reader may see: the required argument of everything that reads data.

Belongs here: the scope and how a session gets one. Does not belong here: applying it (the providers' SQL).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scope:
    """Sites that a reader may see, narrowed to those he asked for. No site, no rows."""

    allowed: tuple[str, ...]
    chosen: tuple[str, ...] = ()

    @property
    def sites(self) -> tuple[str, ...]:
        """Sites that queries may return. A choice can only narrow what is allowed."""
        return tuple(s for s in self.allowed if s in self.chosen) if self.chosen else self.allowed

    def narrowed(self, chosen: tuple[str, ...]) -> Scope:
        """The same reader looking at some sites only. Choices outside the scope narrow it to nothing of theirs."""
        return Scope(self.allowed, chosen)

    def whole(self) -> Scope:
        """All that the reader may see: for a page about one thing, which the sites looked at do not hide."""
        return Scope(self.allowed)

    def permits(self, site: str) -> bool:
        """Whether rows of a site may be returned."""
        return site in self.allowed
