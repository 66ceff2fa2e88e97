"""Fleet, the first page: is any site making another product, what changed, and what needs somebody today.

Belongs here: layout and its callbacks. Does not belong here: reading (`providers/fleet.py`), drawing
(`figures/forest.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import dash_mantine_components as dmc
from dash import ALL, Dash, Input, Output, State, html
from dash.development.base_component import Component

from dashboards.components import states
from dashboards.components.aria import aria, data
from dashboards.components.graph import graph
from dashboards.components.panel import panel, stacks
from dashboards.components.table import Column, Table, grid, html_table, number
from dashboards.components.verdict import SYMBOL, reason_words, severity, verdict
from dashboards.components.words import age, attribute_words, plain, plural
from dashboards.facts.comparison import READS, PlanEntry, Verdict
from dashboards.facts.fleet import Need
from dashboards.figures import forest as figures
from dashboards.providers.fleet import FleetProvider
from dashboards.shell.guard import guarded
from dashboards.shell.router import browser, clientside
from dashboards.shell.visit import Desk, Page, Visit, batch_href, source_href

ATTRIBUTE = {"type": "control", "page": "fleet", "name": "attr"}
SITES = {"type": "control", "page": "all", "name": "sites"}
NEEDS_SHOWN = 6


def layout(visit: Visit) -> Component:
    """The whole page for one address."""
    provider = FleetProvider(visit.snapshot)
    plan, verdicts = provider.plan(visit.scope), provider.verdicts(visit.scope)
    chosen = (
        visit.get("attr") if any(p.attribute == visit.get("attr") for p in plan) else _worst(plan, verdicts)
    )
    return html.Div(
        [
            html.H1("Is the product the same at every site?"),
            html.P(_answer(verdicts, provider.needs(visit.scope)), className="cf-lede"),
            _counts(visit, provider),
            stacks(
                [_matrix(visit, plan, verdicts, chosen), _forest_panel(visit, plan, chosen)],
                [_needs(visit, provider), _changes(visit, provider)],
            ),
        ]
    )


def _answer(verdicts: Sequence[Verdict], needs: Sequence[Need]) -> str:
    """The page's question answered in words: verdicts first, then what needs somebody."""
    grave = sum(n.severity in ("critical", "error") for n in needs)
    waiting = f" {plural(len(needs), 'point')} open, {grave} of them grave." if needs else " Nothing is open."
    return _compared(verdicts) + waiting


def _compared(verdicts: Sequence[Verdict]) -> str:
    if not verdicts:
        return (
            "Nothing is compared: there is no comparability plan, or no site but the reference is in sight."
        )
    counts = {word: sum(v.verdict == word for v in verdicts) for word in SYMBOL}
    told = ", ".join(f"{n} {word}" for word, n in counts.items() if n)
    return f"{plural(len(verdicts), 'comparison')} with the reference site: {told}."


def _worst(plan: Sequence[PlanEntry], verdicts: Sequence[Verdict]) -> str:
    """The attribute to look at first: the not comparable one farthest from its margin, else the plan's first."""
    red = [
        (abs(v.in_margins(v.estimate) or 0.0), v.attribute) for v in verdicts if v.verdict == "not comparable"
    ]
    return max(red)[1] if red else (plan[0].attribute if plan else "")


def _counts(visit: Visit, provider: FleetProvider) -> Component:
    names = {s.id: s.name for s in visit.snapshot.sites}
    cards = []
    for c in provider.counts(visit.scope):
        facts = [
            ("in process", c.in_process),
            ("waiting", c.waiting),
            ("blocked", c.blocked),
            ("released", c.released),
            ("failed", c.failed),
        ]
        days = (
            f"vein to vein {number(c.vein_to_vein_d, 3)} d, median of {c.n_vein_to_vein}"
            if c.vein_to_vein_d
            else "nobody infused yet"
        )
        cards.append(
            html.Li(
                [
                    html.Strong(names.get(c.site, c.site)),
                    html.Dl(
                        [
                            html.Div(
                                [html.Dt(word), html.Dd(str(n))],
                                className="cf-bad" if word == "blocked" and n else None,
                            )
                            for word, n in facts
                        ]
                    ),
                    html.Small(days, className="cf-muted"),
                ]
            )
        )
    return html.Ul(cards, className="cf-cards", **aria(label="Batches by site"))


def _matrix(visit: Visit, plan: Sequence[PlanEntry], verdicts: Sequence[Verdict], chosen: str) -> Component:
    reference = plan[0].reference if plan else ""
    names = {s.id: s.name for s in visit.snapshot.sites}
    sites = [s for s in visit.scope.figures if s != reference]
    told = {(v.attribute, v.site): v for v in verdicts}
    # A site that is never compared gets a sentence, not a column of nothing.
    judged = {v.site for v in verdicts}
    apart = [s for s in sites if s not in judged] if judged.intersection(sites) else []
    sites = [s for s in sites if s not in apart]
    if not plan or not sites:
        content: Component = states.empty(
            "There is nothing to compare here.",
            "Choose a site other than the reference above, or write a plan into fleet.yaml.",
        )
    else:
        head = html.Thead(
            html.Tr(
                [html.Th("Attribute", scope="col"), *(html.Th(names.get(s, s), scope="col") for s in sites)]
            )
        )
        rows = [
            html.Tr(
                [
                    html.Th([html.Span(p.title), html.Small(p.criticality)], scope="row"),
                    *(html.Td(_cell(told.get((p.attribute, s)), p, names.get(s, s), s)) for s in sites),
                ],
                **data(attribute=p.attribute),
                className="cf-chosen" if p.attribute == chosen else "",
            )
            for p in plan
        ]
        table = html.Table(
            [html.Caption("Verdicts by attribute and site", className="cf-hidden"), head, html.Tbody(rows)],
            className="cf-matrix",
        )
        content = html.Div(
            table, className="cf-scroll", tabIndex="0", role="region", **aria(label="Verdict matrix")
        )
    design = "; ".join(sorted({v.design for v in verdicts}, reverse=True))
    told_design = (
        f"Each site against {names.get(reference, reference)}: {design}. Choose a cell to see the difference."
        + (f" Not compared: {', '.join(names.get(s, s) for s in apart)}." if apart else "")
        if plan
        else None
    )
    return panel(
        "matrix",
        "Verdicts",
        told_design,
        content,
        csv=visit.csv("fleet", "verdicts"),
        computed="90 % interval of the difference of means on the attribute's scale by the plan's design, against the "
        "plan's margin (two one-sided tests at 5 %). "
        "Comparable: the whole interval inside the margin. Not comparable: wholly outside on one "
        "side. Else inconclusive, with its reason. A noisier site does not pass: the ratio of standard "
        "deviations must lie below the plan's limit. "
        "Patient mix is taken out only where the design is adjusted. "
        f"Table mart.comparability, snapshot {visit.snapshot.number}.",
    )


def _cell(v: Verdict | None, entry: PlanEntry, site_name: str, site: str) -> Component:
    if v is None:
        return html.Span("not judged", className="cf-muted")
    return html.Button(
        [
            verdict(v.verdict),
            html.Small(
                f"n {v.n_site} / {v.n_reference}" + (f", {reason_words(v.reason)}" if v.reason else "")
            ),
        ],
        id={"type": "pick", "attribute": entry.attribute, "site": site},
        className=f"cf-cell cf-cell-{ {'comparable': 'ok', 'not comparable': 'bad'}.get(v.verdict, 'unsure') }",
        type="button",
        title=v.sentence,
        **aria(label=f"{entry.title}, {site_name}: {v.verdict}, {v.n_site} lots against {v.n_reference}"),
    )


def _forest_panel(visit: Visit, plan: Sequence[PlanEntry], chosen: str) -> Component:
    control = dmc.Select(
        id=ATTRIBUTE,
        data=[{"value": p.attribute, "label": p.title} for p in plan],
        value=chosen or None,
        allowDeselect=False,
        searchable=True,
        size="sm",
        w=230,
        **aria(label="Attribute"),
    )
    return panel(
        "forest",
        "Difference from the reference",
        None,
        forest_content(visit, chosen),
        tools=control,
        csv=visit.csv("fleet", "verdicts"),
        computed="Point: difference of means. Line: its 90 % interval. Both in units of the plan's margin "
        "on their side, so that -1 and +1 are the margins for every attribute. "
        "Lots needed: further lots of the site, reference fixed, for the power set (80 % unless "
        "set otherwise) at no true difference and the spread seen. "
        f"Table mart.comparability, snapshot {visit.snapshot.number}.",
    )


def forest_content(visit: Visit, attribute: str) -> Component:
    """Picture, sentence about the margin and table of one attribute."""
    provider = FleetProvider(visit.snapshot)
    entry = next((p for p in provider.plan(visit.scope) if p.attribute == attribute), None)
    verdicts = provider.verdicts(visit.scope, attribute) if entry else []
    if entry is None or not verdicts:
        return states.empty(
            "No site is compared on this attribute.", "Choose another attribute, or all sites."
        )
    names = {s.id: s.name for s in visit.snapshot.sites}
    said = "; ".join(f"{names.get(v.site, v.site)}: {v.verdict}" for v in verdicts)
    return html.Div(
        [
            html.P(margin_words(entry), className="cf-told"),
            graph(
                "forest",
                figures.forest(verdicts, names),
                f"Forest plot of {entry.title}. {said}. The table below holds the numbers.",
            ),
            html_table(verdict_table(verdicts, visit, short=True), f"Verdicts on {entry.title}"),
            html.P(
                html.A("See the lots behind it", href=visit.href("/comparability", attr=attribute)),
                className="cf-next",
            ),
        ]
    )


def margin_words(entry: PlanEntry) -> str:
    """The margin, who declared it and when."""
    if entry.margin_low is None or entry.margin_high is None:
        margin = "The plan gives no margin, so no verdict can be reached"
    else:
        on_scale = f"{entry.margin_low:g} to {entry.margin_high:g} on the {entry.scale} scale"
        margin = f"Margin: {entry.reads_as or on_scale}"
    approved = f"approved {entry.dated} by the {entry.approved_by_role}"
    return f"{margin}. {entry.plan_id} version {entry.plan_version}, {approved}. {entry.rationale}"


def verdict_table(verdicts: Sequence[Verdict], visit: Visit, *, short: bool = False) -> Table:
    """Verdicts as a table: as people read them on the page, every column in the CSV."""
    names = {s.id: s.name for s in visit.snapshot.sites}
    rows = [
        {
            **{
                name: getattr(v, name)
                for name in (
                    "attribute",
                    "site",
                    "reference",
                    "verdict",
                    "reason",
                    "design",
                    "n_site",
                    "n_reference",
                    "lots_needed",
                    "measured_as",
                    "method",
                    "scale",
                )
            },
            "name": names.get(v.site, v.site),
            "reads": READS.get(v.scale, "difference"),
            **{
                key: v.as_read(getattr(v, key))
                for key in ("estimate", "ci_low", "ci_high", "margin_low", "margin_high")
            },
            "in_margins": v.in_margins(v.estimate),
        }
        for v in verdicts
    ]
    columns: tuple[Column, ...]
    if short:
        reads = rows[0]["reads"].capitalize() if rows else "Difference"
        columns = (
            Column("name", "Site"),
            Column("verdict", "Verdict", cell=lambda r: verdict(r["verdict"], r["reason"])),
            Column("estimate", reads),
            Column("ci_low", "90 % interval", cell=lambda r: _interval(r["ci_low"], r["ci_high"])),
            Column("margin_low", "Margin", cell=lambda r: _interval(r["margin_low"], r["margin_high"])),
            Column("n_site", "n", cell=lambda r: f"{r['n_site']}/{r['n_reference']}"),
            Column("lots_needed", "More lots"),
        )
    else:
        columns = tuple(
            Column(key, title)
            for key, title in (
                ("attribute", "attribute"),
                ("site", "site"),
                ("reference", "reference"),
                ("verdict", "verdict"),
                ("reason", "reason"),
                ("design", "design"),
                ("reads", "reads as"),
                ("estimate", "estimate"),
                ("ci_low", "90 % interval, low"),
                ("ci_high", "90 % interval, high"),
                ("margin_low", "margin, low"),
                ("margin_high", "margin, high"),
                ("in_margins", "estimate in margin units"),
                ("n_site", "lots of the site"),
                ("n_reference", "lots of the reference"),
                ("lots_needed", "further lots needed"),
                ("measured_as", "measured as"),
                ("method", "method"),
            )
        )
    return Table("verdicts", columns, rows)


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{number(low)} to {number(high)}"


def _changes(visit: Visit, provider: FleetProvider) -> Component:
    names = {s.id: s.name for s in visit.snapshot.sites}
    changes = provider.changes(visit.scope)
    if visit.snapshot.number == 1:
        content: Component = states.empty(
            "This is the first snapshot, so there is nothing to compare it with.",
            "Tomorrow this says what moved, and why.",
        )
    elif not changes:
        content = states.empty(
            "No verdict moved, and no lot behind one changed, since the previous snapshot."
        )
    else:
        moved = sum(c.moved for c in changes)
        items = [
            html.Li(
                [
                    html.Div(
                        [
                            html.Strong(f"{names.get(c.site, c.site)}, {c.title}"),
                            html.Span(c.why, className="cf-muted"),
                        ]
                    ),
                    html.Div(
                        [
                            verdict(c.verdict_before, c.reason_before) if c.verdict_before else "not judged",
                            html.Span(" → ", **aria(label="became")),
                            verdict(c.verdict_after, c.reason_after) if c.verdict_after else "not judged",
                        ]
                    )
                    if c.moved
                    else html.Div(["stays ", verdict(c.verdict_after or "")]),
                ]
            )
            for c in changes
        ]
        content = html.Div(
            [
                html.P(
                    f"{plural(moved, 'verdict')} moved; behind {plural(len(changes) - moved, 'other')} the "
                    "lots changed."
                ),
                html.Ul(items, className="cf-list cf-long", tabIndex="0"),
            ]
        )
    return panel(
        "changes",
        "What changed since the previous snapshot, and why",
        None,
        content,
        csv=visit.csv("fleet", "changes"),
        computed="Verdicts of this snapshot beside those of the one before; a change is told with the "
        "first cause that applies: another plan, other lots, corrected results. "
        f"Table mart.change, snapshot {visit.snapshot.number}.",
    )


def _needs(visit: Visit, provider: FleetProvider) -> Component:
    names = {s.id: s.name for s in visit.snapshot.sites}
    needs = provider.needs(visit.scope)
    if not needs:
        content: Component = states.empty("Nothing waits for anybody at these sites.")
    else:
        content = html.Div(
            [
                html.Ul([_need(visit, n, names) for n in together(needs)[:NEEDS_SHOWN]], className="cf-list"),
                html.Details(
                    [
                        html.Summary(f"All {len(needs)} in a table"),
                        grid(needs_table(needs, visit), "Everything that needs somebody", name="needs"),
                    ]
                ),
            ]
        )
    return panel(
        "needs",
        "Needs attention",
        f"{plural(len(needs), 'open point')}, the worst first." if needs else None,
        content,
        csv=visit.csv("fleet", "needs"),
        computed="What is open at the newest event that each site has told of: blocking results and "
        "deviations, batches later than nine of ten finished ones, results due, findings of "
        "weight. "
        f"Ages run to that event, not to now. Table mart.exceptions, snapshot {visit.snapshot.number}.",
    )


def together(needs: Sequence[Need]) -> list[Need]:
    """Results that a batch waits for as one point, in words; all others as they are, in their order."""
    due: dict[tuple[str, str], list[Need]] = {}
    for n in needs:
        if n.kind == "pending_result":
            due.setdefault((n.site, n.batch_id), []).append(n)
    found: list[Need] = []
    for n in needs:
        waiting = due.get((n.site, n.batch_id), []) if n.kind == "pending_result" else []
        if not waiting:
            found.append(n)
        elif waiting[0] is n:
            told = ", ".join(attribute_words(w.subject) for w in waiting)
            found.append(replace(n, what=f"{plural(len(waiting), 'result')} due: {told}"))
    return found


def _need(visit: Visit, need: Need, names: dict[str, str]) -> Component:
    return html.Li(
        [
            html.Div(
                [
                    severity(need.severity),
                    html.A(need.batch_id, href=batch_href(visit, need.site, need.batch_id)),
                    html.Span(names.get(need.site, need.site), className="cf-muted"),
                ]
            ),
            html.Div(need.what),
            html.Small(
                f"{plain(need.kind)}, waits for {need.owner_role}"
                + (f", {age(need.age_h)}" if need.age_h is not None else ""),
                className="cf-muted",
            ),
        ]
    )


def needs_table(needs: Sequence[Need], visit: Visit) -> Table:
    """Everything that needs somebody, for the grid and the CSV."""
    names = {s.id: s.name for s in visit.snapshot.sites}
    rows = [
        {
            **vars(n),
            "name": names.get(n.site, n.site),
            "kind": plain(n.kind),
            "source": f"{n.source_file}, row {n.source_row}",
        }
        for n in needs
    ]
    columns = (
        Column("severity", "Weight", width=105),
        Column("name", "Site"),
        Column("batch_id", "Batch", link=lambda r: batch_href(visit, r["site"], r["batch_id"])),
        Column("kind", "Kind"),
        Column("what", "What was seen", width=420),
        Column("owner_role", "Waits for"),
        Column("age_h", "Age, h", width=100),
        Column("since", "Since, UTC"),
        Column("source", "From", link=lambda r: source_href(visit, r["record_id"])),
    )
    return Table("needs", columns, rows)


def _changes_table(visit: Visit) -> Table:
    rows = [vars(c) for c in FleetProvider(visit.snapshot).changes(visit.scope)]
    keys = (
        "site",
        "attribute",
        "verdict_before",
        "verdict_after",
        "reason_before",
        "reason_after",
        "n_site_before",
        "n_site_after",
        "moved",
        "why",
    )
    return Table("changes", tuple(Column(k, plain(k)) for k in keys), rows)


def callbacks(app: Dash, desk: Desk) -> None:
    """A cell or the list chooses an attribute; its panel alone is drawn again."""
    clientside(
        app,
        browser("picked"),
        Output(ATTRIBUTE, "value"),
        Input({"type": "pick", "attribute": ALL, "site": ALL}, "n_clicks"),
        prevent_initial_call=True,
    )

    @app.callback(
        Output("forest-content", "children"),
        Input(ATTRIBUTE, "value"),
        State(SITES, "value"),
        prevent_initial_call=True,
    )
    @guarded
    def redraw(attribute: str | None, sites: list[str] | None) -> Any:
        return forest_content(desk.visit(f"sites={','.join(sites or [])}"), attribute or "")


PAGE = Page(
    name="fleet",
    path="/",
    title="Fleet",
    layout=layout,
    callbacks=callbacks,
    tables={
        "verdicts": lambda visit: verdict_table(FleetProvider(visit.snapshot).verdicts(visit.scope), visit),
        "changes": _changes_table,
        "needs": lambda visit: needs_table(FleetProvider(visit.snapshot).needs(visit.scope), visit),
    },
    key="f",
)
