"""Header, navigation and the place where pages appear.

Belongs here: what every page shares. Does not belong here: which page is shown (`router.py`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import dash_mantine_components as dmc
from dash import dcc, html
from dash.development.base_component import Component

from dashboards.components.aria import aria, data
from dashboards.components.words import plural
from dashboards.providers.quality import QualityProvider
from dashboards.shell.visit import Page, Visit
from dashboards.theme.tokens import PALETTE, mantine, template

POLL_MS = 5000
# A nightly snapshot that is two hours overdue.
STALE_AFTER_H = 26
KEYS = (
    ("/", "Sites"),
    ("← ↑ → ↓", "From verdict to verdict"),
    ("?", "These keys"),
    ("Esc", "Close"),
)


def frame(pages: Sequence[Page]) -> Component:
    """The whole application but the page itself."""
    return dmc.MantineProvider(
        [
            dcc.Location(id="location", refresh=False),
            dcc.Store(id="place"),
            dcc.Store(id="snapshot"),
            dcc.Store(id="theme", data={"palette": PALETTE, "template": template()}),
            dcc.Interval(id="poll", interval=POLL_MS),
            _header(),
            html.Div(
                [
                    html.Nav(
                        [
                            dcc.Link(p.title, href=p.path, id={"type": "nav", "path": p.path})
                            for p in pages
                            if p.in_navigation
                        ],
                        className="cf-nav",
                        **aria(label="Pages"),
                        **data(keys=json.dumps({p.key: p.path for p in pages if p.key})),
                    ),
                    html.Div(
                        [
                            html.Div(id="notice", role="status", **aria(live="polite")),
                            html.Main(skeleton(), id="page", tabIndex="-1", className="cf-page"),
                        ],
                        className="cf-body",
                    ),
                ],
                className="cf-columns",
            ),
            _keys(pages),
        ],
        theme=mantine(),
        defaultColorScheme="auto",
    )


def _header() -> Component:
    toggle = dmc.ColorSchemeToggle(
        id="scheme",
        lightIcon=html.Span("☀"),
        darkIcon=html.Span("☾"),
        variant="default",
        size="lg",
        **aria(label="Light or dark"),
    )
    return html.Header(
        [
            html.A(
                [html.Img(src="/assets/mark.svg", alt="", width="26", height="26"), html.Span("cellfleet")],
                href="/",
                className="cf-brand",
            ),
            html.Div(id="facts", className="cf-facts"),
            html.Div(
                [
                    html.Div(id="scope", className="cf-scope"),
                    html.Button("Copy link", id="copy", className="cf-button cf-wide-only", type="button"),
                    html.Button(
                        "?",
                        id="keys-open",
                        className="cf-button cf-wide-only",
                        type="button",
                        **aria(label="Keys"),
                    ),
                    toggle,
                ],
                className="cf-tools",
            ),
        ],
        className="cf-header",
    )


def _keys(pages: Sequence[Page]) -> Component:
    keys = (*((f"g {p.key}", p.title) for p in pages if p.key), *KEYS)
    rows = [html.Tr([html.Td(html.Kbd(key)), html.Td(told)]) for key, told in keys]
    return dmc.Modal(
        html.Table(html.Tbody(rows), className="cf-table"),
        id="keys",
        title="Keys",
        closeButtonProps={"aria-label": "Close"},
    )


def skeleton() -> Component:
    """What stands where a page will be; shown only when it takes longer than a moment."""
    return html.Div(
        [html.Div(className="cf-bone") for _ in range(4)],
        className="cf-skeleton",
        **aria(label="Loading"),
        role="status",
    )


def facts(visit: Visit, reader: str = "") -> list[Any]:
    """Which snapshot is shown, how fresh it is, that synthetic data are synthetic, and who looks at them."""
    snapshot = visit.snapshot
    told: list[Any] = []
    if snapshot.synthetic:
        told.append(
            html.Span(
                [html.Span("◆ ", **aria(hidden="true")), "Synthetic data"],
                className="cf-badge cf-unsure",
                title="Patients, batches and results were drawn by a simulator.",
            )
        )
    if snapshot.as_of:
        told.append(
            html.Span(
                [
                    "Data as of ",
                    html.Time(
                        f"{snapshot.as_of.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
                        dateTime=snapshot.as_of.isoformat(),
                    ),
                ]
            )
        )
    told.append(html.Span(f"Snapshot {snapshot.number}"))
    if visit.scope.sites:
        failing = QualityProvider(snapshot).failing(visit.scope)
        checks = plural(failing, "check fails", "checks fail") if failing else "no check fails"
        told.append(html.A(checks, href=visit.href("/quality") + "#found"))
    if reader:
        told.append(html.Span([f"{reader} · ", html.A("Sign out", href="/sign-out")]))
    return told


def stale(visit: Visit) -> Component | None:
    """The banner over a snapshot that is older than it should be; None while it is fresh."""
    if visit.snapshot.as_of is None:
        return None
    hours = (datetime.now(UTC) - visit.snapshot.as_of).total_seconds() / 3600
    if hours <= STALE_AFTER_H:
        return None
    return html.Div(
        [
            html.Strong("These data are old. "),
            f"Nothing has been taken in for {hours / 24:.1f} days; last night's run is missing. "
            "`cellfleet status` says why.",
        ],
        className="cf-banner cf-banner-unsure",
        role="status",
    )


def partial(visit: Visit) -> Component | None:
    """The banner over figures that lack a site's newest data: "3 of 4 sites reported"; None where all have."""
    reports = QualityProvider(visit.snapshot).reports(visit.scope)
    silent = [r for r in reports if not r.reported]
    if not silent:
        return None
    names = {s.id: s.name for s in visit.snapshot.sites}
    told = "; ".join(
        f"{names.get(r.site, r.site)}: {r.missing} of {r.regular} regular feeds missing, newest file "
        + (f"{r.last_file_at:%Y-%m-%d %H:%M} UTC" if r.last_file_at else "none")
        for r in silent
    )
    return html.Div(
        [
            html.Strong(f"{len(reports) - len(silent)} of {plural(len(reports), 'site')} reported. "),
            f"What is shown lacks the newest of {told}. ",
            html.A("Which feeds?", href=visit.href("/quality") + "#freshness"),
        ],
        className="cf-banner cf-banner-unsure",
        role="status",
    )


def scope_control(visit: Visit) -> Component:
    """Which sites are looked at; none chosen means all that the reader may see."""
    return dmc.MultiSelect(
        id={"type": "control", "page": "all", "name": "sites"},
        data=[{"value": s.id, "label": s.name} for s in visit.snapshot.sites if visit.scope.permits(s.id)],
        value=[s for s in visit.scope.chosen if visit.scope.permits(s)],
        placeholder="" if visit.scope.chosen else "All sites",
        size="sm",
        clearable=True,
        **aria(label="Sites"),
    )
