"""How fresh each feed is, which results are missing, and what the last runs took in."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from dash import html
from dash.development.base_component import Component

from dashboards.components import states
from dashboards.components.panel import panel
from dashboards.components.table import Column, Table, html_table, number, printed
from dashboards.components.words import age, plain, plural
from dashboards.facts.feeds import Feed, Missing
from dashboards.pages.quality.about import computed, names_of
from dashboards.providers.fleet import FleetProvider
from dashboards.providers.quality import QualityProvider
from dashboards.shell.visit import Visit

MARKS = {"overdue": ("◆", "unsure"), "refused": ("✕", "bad"), "fresh": ("●", "ok")}
BAD = ("overdue", "refused")
RUNS_SHOWN = 40


def freshness_panel(visit: Visit, feeds: Sequence[Feed]) -> Component:
    """Feed by site: how far behind its newest file is, against its usual rhythm."""
    late = [f for f in feeds if f.late]
    return panel(
        "freshness",
        "How fresh each feed is",
        f"{plural(len(late), 'feed')} overdue. The newest regular file was written "
        f"{printed(visit.snapshot.clock)} UTC. In a cell: how far behind the feed is, and how often its files come.",
        _matrix(visit, feeds),
        csv=visit.csv("quality", "freshness"),
        computed=computed(
            visit,
            "Age of a feed's newest file against the newest file of any feed that comes regularly. Usually: the median "
            "interval between its files, of three or more. Overdue: behind by more than three intervals and two days; "
            "a feed that tells only of rare things may be so with nothing wrong. A site has not reported where most of "
            "its regular feeds are overdue or their newest file was refused.",
            "mart.feed_status and raw.file",
        ),
        wide=True,
    )


def _matrix(visit: Visit, feeds: Sequence[Feed]) -> Component:
    names = names_of(visit)
    sites = [s for s in visit.scope.sites if any(f.site == s for f in feeds)]
    told = {(f.feed, f.site): f for f in feeds}
    # A feed that is overdue anywhere stands above those that are not, the most behind first.
    worst = {
        feed: max((f.lag_h or 0) * f.missing for f in feeds if f.feed == feed)
        for feed in {f.feed for f in feeds}
    }
    columns = (
        Column("feed", "Feed", cell=lambda r: plain(r["feed"])),
        *(Column(s, names.get(s, s), cell=partial(_fresh, site=s)) for s in sites),
    )
    rows: list[dict[str, Any]] = [
        {"feed": feed, **{s: told.get((feed, s)) for s in sites}}
        for feed in sorted(worst, key=lambda feed: (-worst[feed], feed))
    ]
    return html_table(Table("freshness", columns, rows), "Freshness by feed and site", long=True)


def _fresh(row: dict[str, Any], site: str) -> Any:
    f: Feed | None = row[site]
    if f is None:
        return html.Span("no such feed", className="cf-muted")
    word = freshness_word(f)
    symbol, kind = MARKS.get(word, ("◔", "muted"))
    behind = age(f.lag_h) or "no file"
    return html.Span(
        [
            f"{symbol} {behind}",
            html.Small(
                f" of {age(f.usual_h)}" if f.usual_h is not None else f" {word}", className="cf-muted"
            ),
            html.Small(f" {word}") if word in BAD else "",
        ],
        className=f"cf-verdict cf-nowrap cf-{kind}",
        title=f"Newest file written {printed(f.last_file_at)} UTC" if f.last_file_at else "",
    )


def freshness_word(f: Feed) -> str:
    """How fresh a feed is, in a word."""
    if f.newest_refused:
        return "refused"
    return "overdue" if f.late else "fresh" if f.usual_h is not None else "too few files"


def freshness_table(visit: Visit) -> Table:
    """Every feed, for the CSV."""
    rows = [
        {**vars(f), "state": freshness_word(f)} for f in QualityProvider(visit.snapshot).feeds(visit.scope)
    ]
    keys = ("site", "feed", "last_file_at", "lag_h", "usual_h", "state", "files", "files_refused")
    return Table("freshness", tuple(Column(k, plain(k)) for k in keys), rows)


def missing_panel(visit: Visit, provider: QualityProvider) -> Component:
    """Attribute of the plan by site: harvested batches without a result."""
    found = _missing(visit, provider)
    sites = [s for s in visit.scope.sites if any(m.site == s for m in found)]
    titles = list(dict.fromkeys(m.title for m in found))
    told = {(m.title, m.site): m for m in found}
    names = names_of(visit)
    columns = (
        Column("title", "Attribute"),
        *(Column(s, names.get(s, s), cell=partial(_lacking, site=s)) for s in sites),
    )
    rows: list[dict[str, Any]] = [{"title": t, **{s: told.get((t, s)) for s in sites}} for t in titles]
    return panel(
        "missing",
        "Results that are missing",
        "Harvested batches without a result of the attribute, of all harvested ones." if rows else None,
        html_table(Table("missing", columns, rows), "Missing results by attribute and site")
        if rows
        else states.empty("There is no plan, or no batch of these sites was harvested."),
        csv=visit.csv("quality", "missing"),
        computed=computed(
            visit,
            "Attributes of the plan, by any of the methods that the plan names for each. A batch that ended before its "
            "harvest has none to give and is not counted; one that waits for results is.",
            "mart.batch_wide",
        ),
    )


def _missing(visit: Visit, provider: QualityProvider) -> list[Missing]:
    return provider.missing(visit.scope, FleetProvider(visit.snapshot).plan(visit.scope))


def _lacking(row: dict[str, Any], site: str) -> Any:
    m: Missing | None = row[site]
    if m is None:
        return ""
    share = f" {number(100 * m.lacking / m.harvested, 2)} %" if m.lacking else ""
    return html.Span(
        [f"{m.lacking} of {m.harvested}", html.Small(share, className="cf-muted")], className="cf-nowrap"
    )


def missing_table(visit: Visit) -> Table:
    """Missing results, for the CSV."""
    keys = ("site", "attribute", "title", "harvested", "lacking")
    found = _missing(visit, QualityProvider(visit.snapshot))
    return Table("missing", tuple(Column(k, plain(k)) for k in keys), [vars(m) for m in found])


def runs_panel(visit: Visit, provider: QualityProvider) -> Component:
    """The newest runs that took something in."""
    table = _runs(visit, provider, RUNS_SHOWN)
    return panel(
        "runs",
        "The last runs that took files in",
        None,
        html_table(table, "Last runs", long=True) if table.rows else states.empty("No run took a file in."),
        csv=visit.csv("quality", "runs"),
        computed=computed(
            visit,
            "Files by the run that took them in, by site; a run that failed before it stored anything is told of by "
            "Dagster and by `cellfleet status`, not here.",
            "raw.file",
        ),
    )


def runs_table(visit: Visit) -> Table:
    """Runs by site, for the CSV."""
    return _runs(visit, QualityProvider(visit.snapshot), None)


def _runs(visit: Visit, provider: QualityProvider, most: int | None) -> Table:
    names = names_of(visit)
    rows = [r | {"name": names.get(r["site"], r["site"])} for r in provider.runs(visit.scope)]
    return Table(
        "runs",
        (
            Column("taken_at", "When, UTC"),
            Column("name", "Site"),
            Column("feeds", "Feeds"),
            Column("files", "Files", thousands=True),
            Column("received", "Records", thousands=True),
            Column("refused", "Files refused"),
            Column("run_id", "Run", cell=lambda r: html.Code(r["run_id"][:8], title=r["run_id"])),
        ),
        rows[:most],
    )
