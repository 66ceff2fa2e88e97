"""Data quality: is every record accounted for, what waits, what was found, how fresh is each feed; down to the rows.

Belongs here: layout and its callbacks. Does not belong here: deciding what is wrong (`pipelines/validation`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, html
from dash.development.base_component import Component

from dashboards.components import states
from dashboards.components.aria import aria
from dashboards.components.panel import panel, stacks
from dashboards.components.table import Column, Table, grid, html_table, printed
from dashboards.components.verdict import severity
from dashboards.components.words import age, plain, plural
from dashboards.facts.batch import Finding
from dashboards.facts.feeds import Feed, Held, Tally
from dashboards.pages.upkeep_panel import upkeep_panel
from dashboards.providers.quality import QualityProvider
from dashboards.shell.guard import guarded_panel
from dashboards.shell.visit import Desk, Page, Visit, source_href

SITES = {"type": "control", "page": "all", "name": "sites"}
KIND = {"type": "control", "page": "quality", "name": "rows"}
REASON = {"type": "control", "page": "quality", "name": "reason"}
GRAVE = ("critical", "error")


def layout(visit: Visit) -> Component:
    """The whole page for one address."""
    provider = QualityProvider(visit.snapshot)
    feeds = provider.feeds(visit.scope)
    if not feeds:
        return html.Div(
            [
                html.H1("Can I trust what I see?"),
                states.empty("These sites have sent nothing yet.", "Choose other sites above."),
            ]
        )
    held, found = provider.held_tally(visit.scope), provider.finding_tally(visit.scope)
    return html.Div(
        [
            html.H1("Can I trust what I see?"),
            html.P(_answer(feeds, held, found), className="cf-lede"),
            html.Div([_accounting(visit, provider, feeds)], className="cf-panels"),
            stacks([_held(visit, held), _freshness(visit, provider, feeds)], [_found(visit, found)]),
            html.Div([_rows_panel(visit, provider), upkeep_panel(visit, provider)], className="cf-panels"),
        ]
    )  # fmt: skip


def _answer(feeds: Sequence[Feed], held: Sequence[Tally], found: Sequence[Tally]) -> str:
    received = sum(f.received or 0 for f in feeds)
    off = sum(not f.adds_up for f in feeds)
    accounted = (
        f"{plural(off, 'feed')} do not add up"
        if off
        else f"each of {received:,} records received is accounted for"
    )
    waiting = sum(t.n for t in held)
    grave = sum(t.n for t in found if t.severity in GRAVE)
    late = sum(f.late for f in feeds)
    return (
        f"{accounted[0].upper()}{accounted[1:]}; {plural(waiting, 'entry', 'entries')} in quarantine, "
        f"{plural(grave, 'grave finding')}; {plural(late, 'feed')} overdue."
    )


def _names(visit: Visit) -> dict[str, str]:
    return {s.id: s.name for s in visit.snapshot.sites}


def _computed(visit: Visit, words: str, table: str) -> str:
    return f"{words} Times are UTC. Table {table}, snapshot {visit.snapshot.number}."


def _accounting(visit: Visit, provider: QualityProvider, feeds: Sequence[Feed]) -> Component:
    return panel(
        "accounting",
        "Every record accounted for",
        "Received = promoted + superseded + duplicate + quarantined, counted by the reader on the files "
        "and by SQL on what "
        "is stored; a run whose sum is off commits nothing.",
        html.Div(
            [
                html_table(_site_table(visit, feeds), "Accounting by site"),
                html.Details(
                    [
                        html.Summary(f"All {len(feeds)} feeds"),
                        grid(feed_table(visit, feeds), "Accounting by feed", name="feeds"),
                    ]
                ),
            ]
        ),
        csv=visit.csv("quality", "feeds"),
        computed=_computed(
            visit,
            "The newest accounting of each feed. Superseded: a later version is in force. Duplicate: the "
            "same content sent again. "
            "Quarantined: set aside whole, kept in the vault. Fields set aside belong to promoted records.",
            "mart.feed_status",
        ),
        wide=True,
    )


def _sum(parts: Sequence[Feed], name: str) -> int:
    return sum(int(getattr(f, name) or 0) for f in parts)


def _site_table(visit: Visit, feeds: Sequence[Feed]) -> Table:
    names = _names(visit)
    counted = (
        "received",
        "promoted",
        "superseded",
        "duplicate",
        "quarantined",
        "fields_quarantined",
        "findings",
    )
    rows: list[dict[str, Any]] = []
    for site in dict.fromkeys(f.site for f in feeds):
        mine = [f for f in feeds if f.site == site]
        rows.append(
            {"name": names.get(site, site), "off": sum(not f.adds_up for f in mine), "feeds": len(mine)}
            | {name: _sum(mine, name) for name in counted}
        )
    if len(rows) > 1:
        total: dict[str, Any] = {"name": "All of these", "off": sum(r["off"] for r in rows)}
        rows.append(total | {name: sum(r[name] for r in rows) for name in ("feeds", *counted)})
    return Table("accounting", _counts(Column("name", "Site"), Column("feeds", "Feeds")), rows)


def _counts(*first: Column) -> tuple[Column, ...]:
    return (
        *first,
        Column("received", "Received", thousands=True),
        Column("promoted", "= promoted", thousands=True),
        Column("superseded", "+ superseded", thousands=True),
        Column("duplicate", "+ duplicate", thousands=True),
        Column("quarantined", "+ quarantined", thousands=True),
        Column("off", "Adds up", cell=_adds_up),
        Column("fields_quarantined", "Fields set aside", thousands=True),
        Column("findings", "Findings", thousands=True),
    )


def _adds_up(row: dict[str, Any]) -> Component:
    symbol, word, kind = (
        ("✕", plural(row["off"], "feed off", "feeds off"), "bad") if row["off"] else ("●", "yes", "ok")
    )
    return html.Span([f"{symbol} ", word], className=f"cf-verdict cf-{kind}")


def feed_table(visit: Visit, feeds: Sequence[Feed]) -> Table:
    """Feeds with their accounting and files."""
    names = _names(visit)
    rows = [
        {**vars(f), "name": names.get(f.site, f.site), "sum": "yes" if f.adds_up else "no"} for f in feeds
    ]
    return Table(
        "feeds",
        (
            Column("name", "Site"),
            Column("feed", "Feed"),
            Column("received", "Received"),
            Column("promoted", "= promoted"),
            Column("superseded", "+ superseded"),
            Column("duplicate", "+ duplicate"),
            Column("quarantined", "+ quarantined"),
            Column("sum", "Adds up"),
            Column("fields_quarantined", "Fields set aside"),
            Column("findings", "Findings"),
            Column("files", "Files"),
            Column("files_refused", "Files refused"),
            Column("last_file_at", "Newest file, UTC"),
        ),
        rows,
    )  # fmt: skip


def _matrix(visit: Visit, tallies: Sequence[Tally], kind: str, head: str, said: str) -> Component:
    """Reasons by site, each count a link to its rows."""
    names = _names(visit)
    sites = [s for s in visit.scope.sites if any(t.site == s for t in tallies)]
    told = {(t.reason_code, t.site): t for t in tallies}
    worst = {t.reason_code: t.severity for t in reversed(tallies)}
    rows = []
    for reason in dict.fromkeys(t.reason_code for t in tallies):
        oldest = max((t.oldest_h or 0 for t in tallies if t.reason_code == reason), default=0)
        cells = [
            html.Td(_count(visit, told.get((reason, s)), kind, names.get(s, s)), className="cf-number")
            for s in sites
        ]
        weight = worst.get(reason)
        rows.append(
            html.Tr(
                [
                    html.Th(
                        [plain(reason), html.Br(), html.Small(reason, className="cf-muted")], scope="row"
                    ),
                    *([html.Td(severity(weight))] if weight else []),
                    *cells,
                    *([html.Td(age(oldest), className="cf-number")] if kind == "quarantine" else []),
                ]
            )
        )
    heads = [
        html.Th(head, scope="col"),
        *([html.Th("Weight", scope="col")] if kind == "findings" else []),
        *(html.Th(s, scope="col", className="cf-number", title=names.get(s, s)) for s in sites),
        *([html.Th("Oldest", scope="col", className="cf-number")] if kind == "quarantine" else []),
    ]
    return html.Div(
        html.Table(
            [html.Caption(said, className="cf-hidden"), html.Thead(html.Tr(heads)), html.Tbody(rows)],
            className="cf-table cf-tight",
        ),
        className="cf-scroll",
        tabIndex="0",
        role="region",
        **aria(label=said),
    )


def _count(visit: Visit, tally: Tally | None, kind: str, name: str) -> Any:
    if tally is None:
        return "0"
    told = f"{tally.n} of {plain(tally.reason_code)} at {name}"
    # The rows of this reason at this site: the address narrows the sites looked at.
    return html.A(
        str(tally.n),
        href=visit.href("/quality", sites=tally.site, rows=kind, reason=tally.reason_code) + "#rows",
        title=told,
    )


def _held(visit: Visit, held: Sequence[Tally]) -> Component:
    return panel(
        "held",
        "Waiting in quarantine",
        f"{plural(sum(t.n for t in held), 'record or field', 'records and fields')}; a count leads to its "
        f"rows."
        if held
        else None,
        _matrix(visit, held, "quarantine", "Reason", "Quarantine by reason and site")
        if held
        else states.empty("Nothing waits in quarantine."),
        csv=visit.csv("quality", "held"),
        computed=_computed(
            visit,
            "Records set aside that no later run could promote, and fields of promoted records. Age: "
            "from the writing of the "
            "file to the newest file of the fleet.",
            "quality.quarantine",
        ),
    )


def _found(visit: Visit, found: Sequence[Tally]) -> Component:
    return panel(
        "found",
        "Found in what was promoted",
        f"{plural(sum(t.n for t in found), 'finding')}, the worst first; a count leads to its rows." if found else None,
        _matrix(visit, found, "findings", "Rule", "Findings by rule and site")
        if found
        else states.empty("No rule found anything."),
        csv=visit.csv("quality", "found"),
        computed=_computed(
            visit,
            "A finding holds nothing back: its row is in every answer, since leaving out inconvenient "
            "truth would bias them.",
            "quality.finding",
        ),
    )  # fmt: skip


def _rows_panel(visit: Visit, provider: QualityProvider) -> Component:
    kind = "findings" if visit.get("rows") == "findings" else "quarantine"
    tallies = provider.finding_tally(visit.scope) if kind == "findings" else provider.held_tally(visit.scope)
    reasons = sorted({t.reason_code for t in tallies} | ({visit.get("reason")} - {""}))
    controls = html.Div(
        [
            dmc.SegmentedControl(
                id=KIND,
                data=[
                    {"value": "quarantine", "label": "Quarantine"},
                    {"value": "findings", "label": "Findings"},
                ],
                value=kind,
                size="sm",
            ),
            dmc.Select(
                id=REASON,
                data=[{"value": r, "label": plain(r)} for r in reasons],
                value=visit.get("reason") or None,
                placeholder="Every reason",
                clearable=True,
                searchable=True,
                size="sm",
                w=230,
                **aria(label="Reason"),
            ),
        ],
        className="cf-filters",
    )
    return panel(
        "rows",
        "The rows themselves",
        None,
        html.Div([controls, html.Div(_rows(visit, kind, visit.get("reason")), id="quality-rows")]),
        csv=None,
        computed=_computed(
            visit,
            "Values as the source wrote them. The CSV of the table stands above it and follows its reason.",
            "quality.quarantine and quality.finding",
        ),
        wide=True,
    )


def _rows(visit: Visit, kind: str, reason: str) -> Component:
    """Rows of one kind and reason, with their CSV."""
    provider = QualityProvider(visit.snapshot)
    if kind == "findings":
        table = findings_table(visit, provider.findings(visit.scope, reason or None))
    else:
        table = held_table(visit, provider.held(visit.scope, reason or None))
    if not table.rows:
        where = f" for the reason {plain(reason)}" if reason else ""
        return states.empty(f"No rows{where} at these sites.", "Choose every reason, or other sites above.")
    return html.Div(
        [
            html.P(
                [
                    f"{plural(len(table.rows), 'row')}. ",
                    html.A(
                        "Download CSV",
                        href=visit.csv("quality", kind, reason=reason or None),
                        className="cf-csv",
                        download="",
                    ),
                ],
                className="cf-told",
            ),
            grid(table, f"Rows: {kind}", name="quality"),
        ]
    )


def held_table(visit: Visit, held: Sequence[Held]) -> Table:
    """Quarantine with file, row and hash: its records stand in no table but the raw one."""
    names = _names(visit)
    rows = [
        {
            **vars(h),
            "name": names.get(h.site, h.site),
            "reason": plain(h.reason_code),
            "what": "record" if h.whole_record else "field",
        }
        for h in held
    ]  # fmt: skip
    return Table(
        "quarantine",
        (
            Column("name", "Site"),
            Column("feed", "Feed"),
            Column("reason", "Reason"),
            Column("what", "Set aside", width=130),
            Column("subject", "Subject"),
            Column("field_name", "Field"),
            Column("value_seen", "Seen"),
            Column("value_wanted", "Wanted"),
            Column("age_h", "Age, h", width=100),
            Column("sent_at", "File written, UTC"),
            Column("source_file", "File"),
            Column("source_row", "Row", width=90),
            Column("sha256", "SHA-256 of the file"),
        ),
        rows,
    )


def findings_table(visit: Visit, findings: Sequence[Finding]) -> Table:
    """Findings with the way to their row."""
    names = _names(visit)
    rows = [
        {
            **vars(f),
            "name": names.get(f.site, f.site),
            "rule": plain(f.reason_code),
            "source": f"{f.source_file}, row {f.source_row}" if f.source_file else "no single row",
        }
        for f in findings
    ]
    return Table(
        "findings",
        (
            Column("severity", "Weight", width=105),
            Column("name", "Site"),
            Column("rule", "Rule"),
            Column("detail", "What was seen", width=520),
            Column("subject", "Subject"),
            Column("feed", "Feed"),
            Column(
                "source", "From", link=lambda r: source_href(visit, r["record_id"]) if r["record_id"] else ""
            ),
        ),
        rows,
    )


def _freshness(visit: Visit, provider: QualityProvider, feeds: Sequence[Feed]) -> Component:
    order = sorted(feeds, key=lambda f: (not f.late, -(f.lag_h or 0), f.site, f.feed))
    late = [f for f in order if f.late]
    shown = Table(
        "freshness",
        (
            Column("site", "Site"),
            Column("feed", "Feed", cell=lambda r: plain(r["feed"])),
            Column("last_file_at", "Newest file, UTC"),
            Column("lag", "Behind"),
            Column("usual", "Usually every"),
            Column("state", "State", cell=_fresh),
        ),
        [
            {
                **vars(f),
                "lag": age(f.lag_h),
                "usual": age(f.usual_h),
                "state": _freshness_word(f),
            }
            for f in order
        ],
    )
    newest = provider.newest_file_at(visit.scope)
    return panel(
        "freshness",
        "How fresh each feed is",
        f"{plural(len(late), 'feed')} overdue. The newest file of these sites was written "
        f"{printed(newest)} UTC.",
        html.Div(html_table(shown, "Freshness by feed"), className="cf-long"),
        csv=visit.csv("quality", "freshness"),
        computed=_computed(
            visit,
            "Age of a feed's newest file against the fleet's newest. Usually: the median interval "
            "between its files, of three or "
            "more. Overdue: behind by more than three intervals and two days; a feed that tells only of "
            "rare things may be so "
            "with nothing wrong.",
            "mart.feed_status and raw.file",
        ),
    )


def _freshness_word(f: Feed) -> str:
    return "overdue" if f.late else "fresh" if f.usual_h is not None else "too few files"


def _fresh(row: dict[str, Any]) -> Component:
    symbol, kind = {"overdue": ("◆", "unsure"), "fresh": ("●", "ok")}.get(row["state"], ("◔", "muted"))
    return html.Span([f"{symbol} ", row["state"]], className=f"cf-verdict cf-{kind}")


def _freshness_table(visit: Visit) -> Table:
    rows = [
        {**vars(f), "state": _freshness_word(f)} for f in QualityProvider(visit.snapshot).feeds(visit.scope)
    ]
    keys = ("site", "feed", "last_file_at", "lag_h", "usual_h", "state", "files", "files_refused")
    return Table("freshness", tuple(Column(k, plain(k)) for k in keys), rows)


def _tally_table(name: str, tallies: Sequence[Tally]) -> Table:
    keys = ("site", "reason_code", "severity", "n", "oldest_h")
    return Table(name, tuple(Column(k, plain(k)) for k in keys), [vars(t) for t in tallies])


def callbacks(app: Dash, desk: Desk) -> None:
    """Kind and reason redraw the rows; another kind offers its own reasons."""

    @app.callback(
        Output("quality-rows", "children"),
        Output(REASON, "data"),
        Input(KIND, "value"),
        Input(REASON, "value"),
        State(SITES, "value"),
        prevent_initial_call=True,
    )
    @guarded_panel(others=1)
    def redraw(kind: str, reason: str | None, sites: list[str] | None) -> Any:
        visit = desk.visit(f"sites={','.join(sites or [])}")
        provider = QualityProvider(visit.snapshot)
        tallies = (
            provider.finding_tally(visit.scope) if kind == "findings" else provider.held_tally(visit.scope)
        )
        reasons = sorted({t.reason_code for t in tallies} | ({reason or ""} - {""}))
        return _rows(visit, kind, reason or ""), [{"value": r, "label": plain(r)} for r in reasons]


PAGE = Page(
    name="quality",
    path="/quality",
    title="Data quality",
    layout=layout,
    callbacks=callbacks,
    tables={
        "feeds": lambda v: feed_table(v, QualityProvider(v.snapshot).feeds(v.scope)),
        "held": lambda v: _tally_table(
            "quarantine-by-reason", QualityProvider(v.snapshot).held_tally(v.scope)
        ),
        "found": lambda v: _tally_table(
            "findings-by-rule", QualityProvider(v.snapshot).finding_tally(v.scope)
        ),
        "quarantine": lambda v: held_table(
            v, QualityProvider(v.snapshot).held(v.scope, v.get("reason") or None)
        ),
        "findings": lambda v: findings_table(
            v, QualityProvider(v.snapshot).findings(v.scope, v.get("reason") or None)
        ),
        "freshness": _freshness_table,
    },
    key="q",
)
