"""One visit: the snapshot, the reader's scope and the address that a page is made from; and what a page is.

Belongs here: addresses and who asks. Does not belong here: Dash callbacks (`router.py`), reading (providers).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

from dash import Dash
from dash.development.base_component import Component

from dashboards.components.table import Table
from dashboards.providers.snapshot import NoSnapshot, Snapshot, Snapshots
from dashboards.reports.jobs import Jobs
from dashboards.security.scope import Scope


class NotHere(LookupError):  # noqa: N818 - it names a state: no such thing, or none that this reader may see
    """Nothing under this address can be shown to this reader."""


@dataclass(frozen=True)
class Visit:
    """What a page is made from. `query` holds the controls, `args` the variable parts of the path."""

    snapshot: Snapshot
    scope: Scope
    query: Mapping[str, str] = field(default_factory=dict)
    args: Mapping[str, str] = field(default_factory=dict)

    def get(self, name: str, default: str = "") -> str:
        """A control's value in the address."""
        return self.query.get(name, default)

    def href(self, path: str, **controls: str | None) -> str:
        """Address of a page that keeps the sites looked at."""
        return path + self._query(controls)

    def csv(self, page: str, table: str, **controls: str | None) -> str:
        """Address of a table of a page as CSV, under the same scope."""
        return f"/csv/{page}/{table}.csv{self._query({**self.args, **controls})}"

    def _query(self, controls: Mapping[str, str | None]) -> str:
        kept = {"sites": ",".join(self.scope.chosen), **controls}
        told = urlencode({name: value for name, value in kept.items() if value})
        return f"?{told}" if told else ""


def batch_href(visit: Visit, site: str, batch_id: str) -> str:
    """Address of a batch; batch numbers are a site's own, so the site is part of it."""
    return visit.href(f"/batch/{quote(site, safe='')}/{quote(batch_id, safe='')}")


def lot_href(visit: Visit, site: str, lot_id: str) -> str:
    """Address of a lot or a collection, whose numbers are a site's own too."""
    return visit.href(f"/lot/{quote(site, safe='')}/{quote(lot_id, safe='')}")


def source_href(visit: Visit, record_id: str) -> str:
    """Address of the file, row and hash that a record came from."""
    return visit.href(f"/source/{quote(record_id, safe='')}")


def query_of(names: Iterable[str], values: Iterable[Any], sites: Sequence[str] | None) -> str:
    """The address's query of a page's controls, as the browser writes it: lists joined, what is empty left out."""
    told = {**dict(zip(names, values, strict=True)), "sites": sites}
    words = {name: ",".join(v) if isinstance(v, list) else v for name, v in told.items()}
    return "?" + urlencode({name: v for name, v in words.items() if v})


def everything(snapshot: Snapshot) -> Scope:
    """Scope of whoever asks while there is no access control: every site."""
    every = tuple(site.id for site in snapshot.sites)
    return Scope(every, compared=every)


def nobody() -> str:
    """Who asks while there is no access control."""
    return ""


class Desk:
    """Where visits come from: the snapshots, and who may see what.

    `scope_of` gives the scope of the reader of the request under way, `reader` tells who that is. `jobs` are the
    reports that readers asked for.
    """

    def __init__(
        self,
        snapshots: Snapshots,
        jobs: Jobs,
        scope_of: Callable[[Snapshot], Scope] = everything,
        reader: Callable[[], str] = nobody,
    ) -> None:
        self.snapshots = snapshots
        self.jobs = jobs
        self.scope_of = scope_of
        self.reader = reader

    def shown(self) -> tuple[str | None, int | None]:
        """Id of the run that published the snapshot read now, and its number; nothing before the first."""
        try:
            snapshot = self.snapshots.current()
        except NoSnapshot:
            return None, None
        return snapshot.facts.get("run_id"), snapshot.number

    def visit(self, search: str | None = "", args: Mapping[str, str] | None = None) -> Visit:
        """A visit with the query string `search`. Raises NoSnapshot."""
        snapshot = self.snapshots.current()
        query = dict(parse_qsl((search or "").removeprefix("?")))
        chosen = tuple(s for s in query.get("sites", "").split(",") if s)
        scope = self.scope_of(snapshot)
        return Visit(snapshot, scope.narrowed(chosen) if chosen else scope, query, dict(args or {}))


@dataclass(frozen=True)
class Page:
    """A page: its address, its words, how it is made, what it reacts to, what can be downloaded."""

    name: str
    path: str
    title: str
    layout: Callable[[Visit], Component]
    callbacks: Callable[[Dash, Desk], None] | None = None
    tables: Mapping[str, Callable[[Visit], Table]] = field(default_factory=dict)
    in_navigation: bool = True
    key: str = ""

    def match(self, pathname: str) -> dict[str, str] | None:
        """Variable parts of an address of this page; None where it is another's."""
        pattern = re.sub(r"<(\w+)>", r"(?P<\1>[^/]+)", self.path)
        found = re.fullmatch(pattern, pathname if pathname == "/" else pathname.rstrip("/"))
        return {name: unquote(part) for name, part in found.groupdict().items()} if found else None
