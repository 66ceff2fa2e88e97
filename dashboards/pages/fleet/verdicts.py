"""Verdicts of the fleet: the matrix, the difference behind one of them, their table."""

from __future__ import annotations

from collections.abc import Sequence

import dash_mantine_components as dmc
from dash import html
from dash.development.base_component import Component

from dashboards.components import states
from dashboards.components.aria import aria, data
from dashboards.components.graph import graph
from dashboards.components.panel import panel
from dashboards.components.table import Column, Table, html_table, number
from dashboards.components.verdict import reason_words, verdict
from dashboards.components.words import plain
from dashboards.facts.comparison import READS, PlanEntry, Verdict
from dashboards.figures import forest as figures
from dashboards.providers.fleet import FleetProvider
from dashboards.shell.visit import Visit

ATTRIBUTE = {"type": "control", "page": "fleet", "name": "attr"}


def matrix(visit: Visit, plan: Sequence[PlanEntry], verdicts: Sequence[Verdict], chosen: str) -> Component:
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
    design = "; ".join(sorted({plain(v.design) for v in verdicts}, reverse=True))
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


def forest_panel(visit: Visit, plan: Sequence[PlanEntry], chosen: str) -> Component:
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


def _interval(low: float | None, high: float | None) -> Component:
    told = "" if low is None or high is None else f"{number(low)} to {number(high)}"
    return html.Span(told, className="cf-nowrap")
