"""One card a site: how many batches stand where, what waits, how long it takes, and the last weeks.

Does not belong here: counting (`providers/fleet.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dash import html
from dash.development.base_component import Component

from dashboards.components.aria import aria
from dashboards.components.table import Column, Table, number
from dashboards.components.words import plain, plural
from dashboards.facts.fleet import SiteCounts, Week
from dashboards.providers.fleet import FleetProvider
from dashboards.shell.visit import Visit

WEEKS = 12
SPARK_PX = 30
# A count, what it is called, and the batches that it leads to.
FACTS = (
    ("in_process", "in process", "in_process"),
    ("waiting", "waiting", "waiting"),
    ("blocked", "blocked", "blocked"),
    ("released", "released", "released"),
    ("failed", "failed", "failed"),
    ("outside", "out of spec", "outside"),
)
ALARMING = ("blocked", "signals")


def cards(visit: Visit, provider: FleetProvider) -> Component:
    """Every site of the scope that has batches."""
    names = {s.id: s.name for s in visit.snapshot.sites}
    weeks = provider.weeks(visit.scope, WEEKS)
    most = max((w.started for w in weeks), default=1)
    found = [
        _card(visit, c, names, [w for w in weeks if w.site == c.site], most)
        for c in provider.counts(visit.scope)
    ]
    return html.Ul(found, className="cf-cards", **aria(label="Batches by site"))


def _card(
    visit: Visit, c: SiteCounts, names: Mapping[str, str], weeks: Sequence[Week], most: int
) -> Component:
    facts = [
        _fact(visit.href("/batch", sites=c.site, state=state), word, getattr(c, name), name)
        for name, word, state in FACTS
    ]
    if c.signals is not None:
        facts.append(
            _fact(visit.href("/charts", sites=c.site) + "#raised", "open signals", c.signals, "signals")
        )
    days = (
        f"vein to vein {number(c.vein_to_vein_d, 3)} d, median of {c.n_vein_to_vein}"
        if c.vein_to_vein_d
        else "nobody infused yet"
    )
    return html.Li(
        [
            html.Strong(names.get(c.site, c.site)),
            html.Dl(facts),
            html.Div([html.Small(days, className="cf-muted"), _spark(weeks, most)], className="cf-card-foot"),
        ]
    )


def _fact(href: str, word: str, count: int, name: str) -> Component:
    return html.Div(
        [html.Dt(word), html.Dd(html.A(str(count), href=href) if count else "0")],
        className="cf-bad" if name in ALARMING and count else None,
    )


def _spark(weeks: Sequence[Week], most: int) -> Component:
    """A bar a week, the newest at the right, as high as batches were started; the hatched part failed."""
    told = {w.ago: w for w in weeks}
    bars = []
    for ago in reversed(range(WEEKS)):
        w = told.get(ago)
        parts = [(w.failed, "cf-spark-failed"), (w.started - w.failed, "cf-spark-on")] if w else []
        bars.append(
            html.Span(
                [
                    html.Span(className=kind, style={"height": f"{SPARK_PX * n / most:.1f}px"})
                    for n, kind in parts
                    if n
                ],
                title=f"{_ago(ago)}: {plural(w.started, 'batch', 'batches')} started, {w.failed} failed"
                if w
                else f"{_ago(ago)}: none started",
            )
        )
    started, failed = sum(w.started for w in weeks), sum(w.failed for w in weeks)
    said = f"Last {WEEKS} weeks: {plural(started, 'batch', 'batches')} started, {failed} of them failed"
    drawn = html.Div(bars, className="cf-spark", role="img", **aria(label=said))
    return html.Div([drawn, html.Small(f"{started} in {WEEKS} weeks")], title=said)


def _ago(weeks: int) -> str:
    return "Newest week" if weeks == 0 else f"{plural(weeks, 'week')} before"


def counts_table(visit: Visit) -> Table:
    """What the cards hold, for the CSV."""
    provider = FleetProvider(visit.snapshot)
    weeks = provider.weeks(visit.scope, WEEKS)
    started = {(w.site, w.ago): w.started for w in weeks}
    rows = [
        vars(c) | {f"week_{ago}": started.get((c.site, ago), 0) for ago in range(WEEKS)}
        for c in provider.counts(visit.scope)
    ]
    keys = list(rows[0]) if rows else ["site"]
    titles = {f"week_{ago}": f"started, {_ago(ago).lower()}" for ago in range(WEEKS)}
    return Table("sites", tuple(Column(k, titles.get(k, plain(k))) for k in keys), rows)
