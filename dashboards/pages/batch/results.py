"""Results of a batch against their limits: the picture, every result in a table, the CSV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import html
from dash.development.base_component import Component

from dashboards.components import states
from dashboards.components.aria import aria
from dashboards.components.graph import graph
from dashboards.components.panel import panel
from dashboards.components.results import limit_words, limits_figure, result_name, value_words, with_limit
from dashboards.components.table import Column, Table, printed
from dashboards.components.words import attribute_words, plain, unit
from dashboards.facts.batch import Batch, Measured
from dashboards.pages.batch.about import batch_of, computed, csv_of
from dashboards.shell.visit import Visit, source_href

POINTS = {
    "release": "Release",
    "harvest": "Harvest",
    "post_release": "After release",
    "ipc_day_5": "In process, day 5",
}


def limits(visit: Visit, batch: Batch, measured: Sequence[Measured]) -> Component:
    drawn = with_limit(measured)
    said = "; ".join(
        f"{result_name(m.first)} {', '.join(value_words(x) for x in m.results)}, limit {limit_words(m.first)}, "
        f"{'outside' if m.passes is False else 'inside' if m.passes else 'not judged'}"
        for m in drawn
    )
    body = (
        html.Div(
            [
                graph("limits", limits_figure(drawn), f"Results against their limits. {said}."),
                html.P(html.A("Show data", href="#results"), className="cf-next"),
            ]
        )
        if drawn
        else states.empty(
            "No number with a limit has been told yet.", "Results are taken in as the site sends them."
        )
    )
    return panel(
        "limits",
        "Results with a limit",
        "Shaded: what the specification allows, its limit at the right. A circle is a result, a cross "
        "one outside. "
        "Thin ticks: the site's other lots, same method. Each row has its own scale.",
        body,
        csv=csv_of(visit, "results"),
        computed=computed(
            visit,
            "The limit is that of the specification version in force when the result was obtained; who "
            "approved it "
            "stands in the table below.",
            "mart.assay_long",
        ),
    )


def results_panel(visit: Visit, batch: Batch, measured: Sequence[Measured]) -> Component:
    specs = dict.fromkeys(
        f"{m.first.spec_id} version {m.first.spec_version}, approved by the "
        f"{m.first.approved_by_role or 'unnamed role'}, in force from {printed(m.first.effective_from)} UTC"
        for m in measured
        if m.first.spec_id
    )
    columns = (
        Column("attribute", "Attribute"),
        Column("value", "Result"),
        Column("n", "n"),
        Column("limit", "Limit"),
        Column("passes", "Inside"),
        Column("method", "Method, laboratory"),
        Column("at", "Obtained, UTC"),
    )
    bodies: list[Any] = []
    for point in dict.fromkeys(m.first.sample_point for m in measured):
        bodies.append(
            html.Tr(html.Th(POINTS.get(point or "", plain(point)), colSpan=len(columns), scope="rowgroup"))
        )
        bodies += [_result_row(visit, m) for m in measured if m.first.sample_point == point]
    table = html.Table(
        [
            html.Caption("Every result of the batch", className="cf-hidden"),
            html.Thead(html.Tr([html.Th(c.title, scope="col") for c in columns])),
            html.Tbody(bodies),
        ],
        className="cf-table cf-tight",
    )
    return panel(
        "results",
        "Every result, each a link to its row",
        f"Limits declared in: {'; '.join(specs)}." if specs else None,
        html.Div(
            table,
            className="cf-scroll",
            tabIndex="0",
            role="region",
            **aria(label="Every result of the batch"),
        )
        if measured
        else states.empty("No result has been told yet.", "Results are taken in as the site sends them."),
        csv=csv_of(visit, "results"),
        wide=True,
        computed=computed(
            visit,
            "Each replicate is shown as told, converted to the attribute's unit; n counts replicates; "
            "nothing is averaged.",
            "mart.assay_long",
        ),
    )


def _result_row(visit: Visit, m: Measured) -> Component:
    r = m.first
    values: list[Any] = []
    for x in m.results:
        given = f"as given: {x.value_as_given} {x.unit_as_given or ''}; row {x.source_row} of {x.source_file}"
        values += [
            ", " if values else "",
            html.A(value_words(x), href=source_href(visit, x.record_id), title=given),
        ]
    conflict = (
        html.Div("✕ its sample is of another batch", className="cf-bad cf-strong")
        if any(x.identity_conflict for x in m.results)
        else None
    )
    return html.Tr(
        [
            html.Td([attribute_words(r.attribute), html.Br(), html.Small(r.attribute, className="cf-muted")]),
            html.Td([*values, f" {unit(r.unit)}", conflict]),
            html.Td(str(len(m.results)), className="cf-number"),
            html.Td([limit_words(r), html.Small(" blocking", className="cf-muted") if r.blocking else None]),
            html.Td(_inside(m.passes)),
            html.Td([plain(r.method_id), html.Br(), html.Small(r.lab_site or "", className="cf-muted")]),
            html.Td(printed(r.result_at), className="cf-nowrap"),
        ]
    )  # fmt: skip


def _inside(passes: bool | None) -> Component:
    if passes is None:
        return html.Span("no limit", className="cf-muted")
    symbol, word, kind = ("●", "inside", "ok") if passes else ("✕", "outside", "bad")
    return html.Span(
        [html.Span(symbol, className="cf-symbol", **aria(hidden="true")), word],
        className=f"cf-verdict cf-{kind}",
    )


def results_table(visit: Visit) -> Table:
    """Every replicate, for the CSV."""
    provider, batch = batch_of(visit)
    rows = [
        {**vars(r), "unit": unit(r.unit)} for m in provider.measured(visit.scope.whole(), batch) for r in m.results
    ]  # fmt: skip
    columns = (
        Column("sample_point", "sample point"),
        Column("attribute", "attribute"),
        Column("operator", "operator"),
        Column("value", "value", exact=True),
        Column("result_code", "result"),
        Column("unit", "unit"),
        Column("value_as_given", "value as given"),
        Column("unit_as_given", "unit as given"),
        Column("low", "limit, low", exact=True),
        Column("high", "limit, high", exact=True),
        Column("inclusive", "limit inclusive"),
        Column("blocking", "blocking"),
        Column("passes", "inside"),
        Column("spec_id", "specification"),
        Column("spec_version", "version"),
        Column("approved_by_role", "approved by"),
        Column("effective_from", "in force from, UTC"),
        Column("replicate", "replicate"),
        Column("method_id", "method"),
        Column("lab_site", "laboratory"),
        Column("taken_at", "sampled, UTC"),
        Column("result_at", "obtained, UTC"),
        Column("source_file", "file"),
        Column("source_row", "row"),
        Column("record_id", "record"),
    )
    return Table(f"{batch.batch_id}-results", columns, rows)
