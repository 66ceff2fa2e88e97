"""One batch: what happened to it, whether its results lie inside their limits, and what speaks against it.

Belongs here: layout. Does not belong here: reading (`providers/batch.py`), drawing (`figures/`), its sensors' page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from dash import html
from dash.development.base_component import Component

from dashboards.components import states
from dashboards.components.aria import aria
from dashboards.components.graph import graph
from dashboards.components.panel import panel, stacks
from dashboards.components.table import Column, Table, exact, html_table, number, printed
from dashboards.components.verdict import severity
from dashboards.components.words import age, attribute_words, plain, plural, state, unit
from dashboards.facts import Batch, Material, Measured, Result
from dashboards.figures.bullet import bullet
from dashboards.figures.genealogy import Box, genealogy
from dashboards.figures.timeline import timeline
from dashboards.providers.batch import BatchProvider
from dashboards.shell.visit import NotHere, Page, Visit, batch_href, source_href

POINTS = {
    "release": "Release",
    "harvest": "Harvest",
    "post_release": "After release",
    "ipc_day_5": "In process, day 5",
}
SHOWN_USES = 4
MANY = 1e5


def layout(visit: Visit) -> Component:
    """The whole page of one batch. Raises NotHere for one that the reader may not see."""
    provider, batch = _of(visit)
    measured = provider.measured(visit.scope.whole(), batch)
    return html.Div(
        [
            html.P(
                [
                    html.A("Batches", href=visit.href("/batch")),
                    f" / {_site_name(visit, batch.site)} / {batch.batch_id}",
                ],
                className="cf-crumbs",
            ),
            html.H1(f"What happened to batch {batch.batch_id}?"),
            html.P(_answer(visit, provider, batch, measured), className="cf-lede"),
            stacks(
                [_standing(visit, provider, batch), _open(visit, provider, batch)],
                [_limits(visit, batch, measured), _findings(visit, provider, batch)],
            ),
            html.Div(
                [_timeline(visit, provider, batch), _results_panel(visit, batch, measured)],
                className="cf-panels",
            ),
            stacks(
                [
                    _genealogy(visit, provider, batch),
                    _outcomes(visit, provider, batch),
                    _edits(visit, provider, batch),
                ],
                [_custody(visit, provider, batch)],
            ),
        ]
    )


def _of(visit: Visit) -> tuple[BatchProvider, Batch]:
    provider = BatchProvider(visit.snapshot)
    site, batch_id = (visit.args.get(k) or visit.get(k) for k in ("site", "batch_id"))
    batch = provider.find(visit.scope.whole(), site or "", batch_id or "")
    if batch is None:
        raise NotHere(f"{site}/{batch_id}")
    return provider, batch


def _site_name(visit: Visit, site: str) -> str:
    return next((s.name for s in visit.snapshot.sites if s.id == site), site)


def _zone(visit: Visit, site: str) -> str:
    return next((s.time_zone for s in visit.snapshot.sites if s.id == site), "UTC")


def _local(visit: Visit, batch: Batch, moment: Any) -> str:
    """A time in UTC with the site's own clock beside it."""
    if moment is None:
        return ""
    there = moment.astimezone(ZoneInfo(_zone(visit, batch.site)))
    told = f"{printed(moment)} UTC"
    return told if not there.utcoffset() else f"{told} ({there:%d %b %H:%M} {there.tzname()})"


def _csv(visit: Visit, table: str) -> str:
    return visit.csv("batch", table)


def _computed(visit: Visit, words: str, table: str) -> str:
    return f"{words} Times are UTC. Table {table}, snapshot {visit.snapshot.number}."


def _answer(visit: Visit, provider: BatchProvider, batch: Batch, measured: Sequence[Measured]) -> str:
    """Where it stands, whether its results pass, whether its custody holds, what was found: in four clauses."""
    judged = [m for m in measured if m.passes is not None]
    failing = [m for m in judged if m.passes is False]
    if failing:
        names = ", ".join(dict.fromkeys(attribute_words(m.first.attribute) for m in failing))
        results = f"{len(failing)} of {len(judged)} measurements with a limit outside it: {names}"
    elif judged:
        results = f"all {len(judged)} measurements with a limit inside it"
    else:
        results = "no result with a limit yet"
    custody = provider.custody(visit.scope.whole(), batch)
    broken = sum(bool(c.breaks) for c in custody)
    chain = (
        f"custody breaks at {broken} of {len(custody)} events"
        if broken
        else f"custody unbroken over {plural(len(custody), 'event')}"
        if custody
        else "no custody event told"
    )
    findings = provider.findings(visit.scope.whole(), batch)
    told = plural(len(findings), "finding") if findings else "no finding"
    since = f" since {printed(batch.state_since)} UTC" if batch.state_since else ""
    return f"{plain(batch.state).capitalize()}{since}; {results}; {chain}; {told}."


def _standing(visit: Visit, provider: BatchProvider, batch: Batch) -> Component:
    attempts = provider.attempts(visit.scope.whole(), batch)
    decisions = provider.decisions(visit.scope.whole(), batch)
    others = [
        html.Div([html.A(a.batch_id, href=batch_href(visit, a.site, a.batch_id)), " ", state(a.state)])
        for a in attempts
        if a.batch_id != batch.batch_id
    ]
    facts: list[tuple[str, Any]] = [
        ("State", [state(batch.state), f" for {age(batch.state_age_h)}" if batch.state_age_h else ""]),
        (
            "Site",
            f"{_site_name(visit, batch.site)}, suite {batch.suite_id or 'unknown'}, "
            f"clock {_zone(visit, batch.site)}",
        ),
        ("Product", f"{batch.product_id or 'unknown'}, protocol {batch.protocol_version or 'unknown'}"),
        ("Order", batch.order_id),
        ("Attempt", f"{batch.attempt_no or 1} of {len(attempts)} for this order"),
        ("Other attempts", others),
        (
            "Ended because",
            plain(batch.termination_cause) if batch.state in ("terminated", "rejected") else None,
        ),
        ("Started", _local(visit, batch, batch.batch_started_at)),
        ("Harvested", _local(visit, batch, batch.harvested_at)),
        *((f"Decision: {plain(d.decision)}", _decided(visit, batch, d)) for d in decisions),
        (
            "Infused",
            f"{_local(visit, batch, batch.infused_at)}"
            + (f", {printed(batch.dose_e6_per_kg)} × 10⁶ cells/kg" if batch.dose_e6_per_kg else "")
            if batch.infused_at
            else None,
        ),
        (
            "Waits for results",
            ", ".join(attribute_words(a) for a in (batch.pending_attributes or "").split(", ") if a),
        ),
        ("As of", f"{printed(batch.as_of)} UTC, the newest event the site has told of"),
        ("Batch record", _from(visit, batch)),
    ]
    rows = [html.Div([html.Dt(name), html.Dd(value)]) for name, value in facts if value]
    return panel(
        "standing",
        "Where it stands",
        None,
        html.Dl(rows, className="cf-facts-list"),
        csv=_csv(visit, "attempts"),
        computed=_computed(
            visit,
            "The state follows from harvest, results, deviations, decision and infusion; ages run to the "
            "newest event "
            "that the site has told of, not to now.",
            "mart.batch_status",
        ),
    )


def _decided(visit: Visit, batch: Batch, d: Any) -> list[Any]:
    spec = f", by {d.spec_id} version {d.spec_version}" if d.spec_id else ""
    open_points = (
        f"; open then: {d.conditional_on}" if d.decision == "conditional" and d.conditional_on else ""
    )
    return [
        f"{_local(visit, batch, d.signed_at)} by the {d.signer_role or 'unnamed role'}{spec}{open_points}. ",
        _from(visit, d),
    ]


def _from(visit: Visit, row: Any) -> Component:
    """The way to a row's file, row and hash."""
    return html.A(
        f"{row.source_file}, row {row.source_row}",
        href=source_href(visit, row.record_id),
        className="cf-from",
    )


def _open(visit: Visit, provider: BatchProvider, batch: Batch) -> Component:
    needs = provider.needs(visit.scope.whole(), batch)
    deviations = provider.deviations(visit.scope.whole(), batch)
    parts: list[Any] = []
    if needs:
        parts.append(
            html.Ul(
                [
                    html.Li(
                        [
                            html.Div([severity(n.severity), html.Span(n.what)]),
                            html.Small(
                                [
                                    f"{plain(n.kind)}, waits for {n.owner_role}"
                                    + (f", {age(n.age_h)}" if n.age_h is not None else "")
                                    + ". ",
                                    _from(visit, n),
                                ],
                                className="cf-muted",
                            ),
                        ]
                    )
                    for n in needs
                ],
                className="cf-list cf-long",
                tabIndex="0",
            )
        )
    else:
        parts.append(states.empty("Nothing about this batch waits for anybody."))
    if deviations:
        parts += [html.H3("Deviations"), html_table(_deviation_table(visit, provider, batch), "Deviations")]
    return panel(
        "open",
        "What is open, and whose it is",
        f"{plural(len(needs), 'open point')}, {plural(len(deviations), 'deviation')} in all.",
        html.Div(parts),
        csv=_csv(visit, "deviations"),
        computed=_computed(
            visit,
            "Blocking results and deviations, lateness, results due and findings of weight, as on the "
            "Fleet page.",
            "mart.exceptions and core.deviation",
        ),
    )


def _deviation_table(visit: Visit, provider: BatchProvider, batch: Batch) -> Table:
    rows = [vars(d) for d in provider.deviations(visit.scope.whole(), batch)]
    return Table(
        "deviations",
        (
            Column("deviation_id", "Deviation"),
            Column("deviation_class", "Class"),
            Column("cause", "Cause"),
            Column("opened_at", "Opened, UTC"),
            Column("closed_at", "Closed, UTC", cell=lambda r: printed(r["closed_at"]) or "open"),
            _source_column(visit),
        ),
        rows,
    )


def limit_words(r: Result) -> str:
    """The limit of a result with its unit."""
    low, high = (None if v is None else _short_number(v) for v in (r.low, r.high))
    if low and high:
        told = f"{low} to {high}"
    elif low:
        told = f"{'≥' if r.inclusive else '>'} {low}"
    elif high:
        told = f"{'≤' if r.inclusive else '<'} {high}"
    else:
        return ""
    return f"{told} {unit(r.unit)}".strip()


def value_words(r: Result) -> str:
    """A result as a person reads it, without its unit."""
    if r.value is None:
        return plain(r.result_code) or "no value"
    return (r.operator if r.operator in ("<", ">") else "") + _short_number(r.value)


def _short_number(value: float) -> str:
    """All digits as told, but for cell counts, of which four are enough to read."""
    return number(value, 4) if abs(value) >= MANY else exact(value)


def _limits(visit: Visit, batch: Batch, measured: Sequence[Measured]) -> Component:
    drawn = [m for m in measured if any(r.value is not None for r in m.results) and limit_words(m.first)]
    titles = {}
    for place, m in enumerate(drawn):
        r = m.first
        values = ", ".join(value_words(x) for x in m.results)
        titles[place] = (
            f"<b>{_short(r)}</b><br>{values} {unit(r.unit)}".rstrip()
            + (" <b>✕ outside</b>" if m.passes is False else ""),
            f"limit {limit_words(r)}",
        )
    said = "; ".join(
        f"{_short(m.first)} {', '.join(value_words(x) for x in m.results)}, limit {limit_words(m.first)}, "
        f"{'outside' if m.passes is False else 'inside' if m.passes else 'not judged'}"
        for m in drawn
    )
    body = (
        graph("limits", bullet(drawn, titles), f"Results against their limits. {said}.")
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
        csv=_csv(visit, "results"),
        computed=_computed(
            visit,
            "The limit is that of the specification version in force when the result was obtained; who "
            "approved it "
            "stands in the table below.",
            "mart.assay_long",
        ),
    )


def _short(r: Result) -> str:
    where = {"harvest": ", harvest", "ipc_day_5": ", day 5", "post_release": ", after release"}.get(
        r.sample_point or "", ""
    )
    return f"{attribute_words(r.attribute)}{where}"


def _results_panel(visit: Visit, batch: Batch, measured: Sequence[Measured]) -> Component:
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
        csv=_csv(visit, "results"),
        wide=True,
        computed=_computed(
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
    provider, batch = _of(visit)
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


def _timeline(visit: Visit, provider: BatchProvider, batch: Batch) -> Component:
    scope = visit.scope.whole()
    steps, custody = provider.steps(scope, batch), provider.custody(scope, batch)
    named = (
        ("ordered", batch.ordered_at), ("collected", batch.collection_ended_at), ("started", batch.batch_started_at),
        ("harvested", batch.harvested_at), ("decided", batch.signed_at),
        ("infused", batch.infused_at),
    )  # fmt: skip
    milestones = [(word, moment) for word, moment in named if moment is not None]
    table = Table("operations", _step_columns(visit), [_step_row(s) for s in steps])
    zone = _zone(visit, batch.site)
    return panel(
        "timeline",
        "What was done when",
        f"Times are UTC; the hover adds the site's clock, {zone}. Solid bars are finished steps, dotted "
        f"ones run on.",
        html.Div(
            [
                graph(
                    "timeline",
                    timeline(milestones, steps, custody, provider.deviations(scope, batch), zone),
                    "Timeline. "
                    + "; ".join(f"{word} {printed(moment)} UTC" for word, moment in milestones)
                    + ".",
                )
                if steps or milestones
                else states.empty("No step of this batch has been told."),
                html.P(
                    html.A(
                        "See the sensors over these steps",
                        href=visit.href("/sensors", batches=f"{batch.site}/{batch.batch_id}"),
                    ),
                    className="cf-next",
                ),
                html.Details(
                    [
                        html.Summary(f"{plural(len(steps), 'step')} in a table"),
                        html_table(table, "Unit operations"),
                    ]
                )
                if steps
                else None,
            ]
        ),
        csv=_csv(visit, "operations"),
        computed=_computed(
            visit,
            "Steps as the batch record tells them; a custody event that breaks the chain is a cross.",
            "core.unit_operation, mart.custody_step and core.deviation",
        ),
        wide=True,
    )


def _step_row(s: Any) -> dict[str, Any]:
    lasted = (
        (s.operation_ended_at - s.operation_started_at).total_seconds() / 3600
        if s.operation_started_at and s.operation_ended_at
        else None
    )
    return {
        **vars(s),
        "lasted": lasted,
        "unit_procedure": plain(s.unit_procedure),
        "phase": plain(s.phase),
        "automation_level": plain(s.automation_level),
    }


def _step_columns(visit: Visit) -> tuple[Column, ...]:
    return (
        Column("unit_procedure", "Unit procedure"),
        Column("phase", "Phase"),
        Column("operation_started_at", "From, UTC"),
        Column("operation_ended_at", "To, UTC"),
        Column("lasted", "Hours"),
        Column("equipment_id", "Equipment"),
        Column("operator_role", "Operator"),
        Column("automation_level", "Automation"),
        _source_column(visit),
    )


def _source_column(visit: Visit) -> Column:
    """Cell with the way to a row's file; in the CSV the file's name."""
    return Column(
        "source_file",
        "From",
        cell=lambda r: (
            html.A(f"{r['source_file']}, row {r['source_row']}", href=source_href(visit, r["record_id"]))
            if r.get("record_id")
            else r["source_file"] or "no single row"
        ),
    )


def _genealogy(visit: Visit, provider: BatchProvider, batch: Batch) -> Component:
    scope = visit.scope.whole()
    materials, attempts = provider.materials(scope, batch), provider.attempts(scope, batch)
    boxes = [
        Box(
            lines=(_material_word(m), m.material_id, *(("unknown lot",) if _unknown(m) else ())),
            column=0,
            broken=_unknown(m),
        )
        for m in materials
    ]
    inputs = tuple(range(len(boxes)))
    for a in attempts:
        this = a.batch_id == batch.batch_id
        collected = tuple(
            place
            for place, m in enumerate(materials)
            if m.kind == "collection_to_batch" and m.material_id == a.collection_id
        )
        boxes.append(
            Box(
                lines=(a.batch_id, plain(a.state)),
                column=1,
                parents=inputs if this else collected,
                chosen=this,
                customdata=() if this else ("batch", a.site, a.batch_id),
            )
        )
    for a in attempts:
        if a.infused_at:
            place = next(i for i, b in enumerate(boxes) if b.column == 1 and b.lines[0] == a.batch_id)
            boxes.append(
                Box(
                    lines=("infusion", a.infusion_id or printed(a.infused_at)[:10]),
                    column=2,
                    parents=(place,),
                )
            )
    said = ", ".join(f"{_material_word(m)} {m.material_id}" for m in materials) or "nothing told"
    return panel(
        "genealogy",
        "What it was made of, and what became of it",
        None,
        html.Div(
            [
                graph("genealogy", genealogy(boxes), f"Genealogy. {batch.batch_id} was made of {said}."),
                html.Details(
                    [
                        html.Summary("Materials in a table, with the other batches made of them"),
                        html_table(_material_table(visit, batch, materials), "Materials"),
                    ]
                )
                if materials
                else None,
            ]
        ),
        csv=_csv(visit, "materials"),
        computed=_computed(
            visit,
            "The collection is the order's last before the batch began. A second attempt is no child of "
            "the first.",
            "mart.genealogy",
        ),
    )


def _unknown(m: Material) -> bool:
    return m.kind == "lot_to_batch" and m.material is None


def _material_word(m: Material) -> str:
    return "collection" if m.kind == "collection_to_batch" else plain(m.material) or "lot"


def _material_table(visit: Visit, batch: Batch, materials: Sequence[Material]) -> Table:
    rows = [
        {
            **vars(m),
            "word": _material_word(m),
            "others": len(m.used_by),
            "status": "not among the lots" if _unknown(m) else plain(m.lot_status),
        }
        for m in materials
    ]

    def also(r: dict[str, Any]) -> Any:
        if not r["used_by"]:
            return "none"
        shown: list[Any] = []
        for other in r["used_by"][:SHOWN_USES]:
            shown += [", " if shown else "", html.A(other, href=batch_href(visit, batch.site, other))]
        left = len(r["used_by"]) - SHOWN_USES
        return [*shown, f" and {left} more" if left > 0 else ""]

    return Table(
        "materials",
        (
            Column("word", "Material"),
            Column("material_id", "Number"),
            Column("supplier", "Supplier"),
            Column("status", "Status"),
            Column("expires_on", "Expires"),
            Column("others", "Other batches", cell=also),
            _source_column(visit),
        ),
        rows,
    )


def _custody(visit: Visit, provider: BatchProvider, batch: Batch) -> Component:
    events = provider.custody(visit.scope.whole(), batch)
    broken = sum(bool(c.breaks) for c in events)
    long = sum(c.long_gap for c in events)
    told = (
        f"{plural(len(events), 'event')} of the order's chain; "
        + (f"{broken} break it" if broken else "none breaks it")
        + (f"; {plural(long, 'gap')} longer than usual" if long else "")
        + "."
    )
    body = (
        html.Ol(
            [
                html.Li(
                    [
                        html.Div(
                            [
                                html.Strong(plain(c.custody_kind)),
                                html.Span(f"{plain(c.from_party) or '?'} → {plain(c.to_party) or '?'}"),
                                html.Span(
                                    f"{plain(c.custody_object)}"
                                    + (
                                        ""
                                        if c.custody_temperature_c is None
                                        else f", {printed(c.custody_temperature_c)} °C"
                                    )
                                    + (f", at {plain(c.place)}" if c.place else "")
                                ),
                            ]
                        ),
                        html.Small(
                            [
                                _local(visit, batch, c.happened_at) or "no time told",
                                f", {age(c.gap_h)} after the one before" if c.gap_h is not None else "",
                                f" (99 of 100 take under {age(c.usual_gap_h)})" if c.long_gap else "",
                                ". ",
                                _from(visit, c),
                            ],
                            className="cf-muted",
                        ),
                        html.Div(
                            html.Span(f"✕ {'; '.join(c.breaks)}", className="cf-bad cf-strong"),
                        )
                        if c.breaks
                        else None,
                    ],
                    className="cf-broken" if c.breaks else None,
                )
                for c in events
            ],
            className="cf-list cf-chain",
        )
        if events
        else states.empty("No custody event of this order has been told.")
    )
    return panel(
        "custody",
        "Chain of custody",
        told if events else None,
        body,
        csv=_csv(visit, "custody"),
        computed=_computed(
            visit,
            "Broken: a hash that does not follow, two events after one, a giver who is not the last "
            "taker, a time before the "
            "event before, no second person, two hands at once, another patient's record that fits better. "
            "A long gap is told and breaks nothing.",
            "mart.custody_step",
        ),
    )


def custody_table(visit: Visit) -> Table:
    """The chain for the CSV."""
    provider, batch = _of(visit)
    rows = [{**vars(c), "broken": "; ".join(c.breaks)} for c in provider.custody(visit.scope.whole(), batch)]
    return Table(
        f"{batch.batch_id}-custody",
        (
            Column("place_in_chain", "place"),
            Column("event_id", "event"),
            Column("custody_kind", "kind"),
            Column("custody_object", "object"),
            Column("from_party", "from"),
            Column("to_party", "to"),
            Column("place", "where"),
            Column("happened_at", "when, UTC"),
            Column("custody_temperature_c", "temperature, °C"),
            Column("gap_h", "hours since the event before"),
            Column("broken", "breaks the chain"),
            Column("source_file", "file"),
            Column("source_row", "row"),
            Column("record_id", "record"),
        ),
        rows,
    )


def _findings(visit: Visit, provider: BatchProvider, batch: Batch) -> Component:
    findings = provider.findings(visit.scope.whole(), batch)
    table = findings_table(visit, findings)
    return panel(
        "findings",
        "What was found in its records",
        f"{plural(len(findings), 'finding')}, the worst first." if findings else None,
        html_table(table, "Findings") if findings else states.empty("No rule found anything in its records."),
        csv=_csv(visit, "findings"),
        computed=_computed(
            visit,
            "Rules look at stored records and change nothing. Findings on any version of a record of "
            "this batch, its order, "
            "its custody or its readings.",
            "quality.finding",
        ),
    )


def findings_table(visit: Visit, findings: Sequence[Any]) -> Table:
    """Findings as a table."""
    return Table(
        "findings",
        (
            Column("severity", "Weight", cell=lambda r: severity(r["severity"])),
            Column("reason_code", "Rule", cell=lambda r: plain(r["reason_code"])),
            Column("detail", "What was seen"),
            _source_column(visit),
        ),
        [vars(f) for f in findings],
    )


def _edits(visit: Visit, provider: BatchProvider, batch: Batch) -> Component:
    table = _edits_table(visit, provider, batch)
    return panel(
        "edits",
        "What was changed later, and by whom",
        f"{plural(len(table.rows), 'field')} of later versions of its records, the newest change first."
        if table.rows
        else None,
        html.Div(html_table(table, "Later changes"), className="cf-long")
        if table.rows
        else states.empty("No record of this batch was changed after it was first told."),
        csv=_csv(visit, "edits"),
        computed=_computed(
            visit,
            "Each stored version of a record beside the one before; fields about the patient are left out.",
            "mart.audit_trail",
        ),
    )


def _edits_table(visit: Visit, provider: BatchProvider, batch: Batch) -> Table:
    rows = [{**vars(e), "became": _became(e)} for e in provider.edits(visit.scope.whole(), batch)]
    return Table(
        "edits",
        (
            Column("changed_at", "When, UTC"),
            Column("changed_by", "By"),
            Column(
                "subject",
                "Record",
                cell=lambda r: [r["subject"], html.Br(), html.Small(plain(r["table_name"]), className="cf-muted")],
            ),
            Column("field_name", "Field", cell=lambda r: html.Code(r["field_name"])),
            Column("became", "Was → is"),
            Column("why", "Why"),
            _source_column(visit),
        ),
        rows,
    )  # fmt: skip


def _became(e: Any) -> str:
    was, now = ("nothing" if v is None else v for v in (e.old_value, e.new_value))
    return f"{was} → {now}"


def _outcomes(visit: Visit, provider: BatchProvider, batch: Batch) -> Component:
    outcomes = provider.outcomes(visit.scope.whole(), batch)
    table = Table(
        "outcomes",
        (
            Column("endpoint", "Endpoint", cell=lambda r: plain(r["endpoint"])),
            Column("outcome_day", "Day after infusion"),
            Column("outcome_value", "Told"),
            Column("censored", "Censored"),
            _source_column(visit),
        ),
        [vars(o) for o in outcomes],
    )
    if outcomes:
        body: Component = html_table(table, "Outcomes")
    elif batch.infused_at:
        body = states.empty("Nothing has been told of the patient since the infusion.")
    else:
        body = states.empty("This batch has not been infused.")
    return panel(
        "outcomes",
        "What followed in the patient",
        "Of one patient: it says nothing about cause." if outcomes else None,
        body,
        csv=_csv(visit, "outcomes"),
        computed=_computed(visit, "As the site's registry tells it.", "core.outcome"),
    )


def _attempts_table(visit: Visit) -> Table:
    provider, batch = _of(visit)
    keys = (
        "batch_id", "attempt_no", "state", "state_since", "order_id", "product_id", "suite_id", "protocol_version",
        "batch_started_at", "harvested_at", "signed_at", "infused_at", "source_file", "source_row", "record_id",
    )  # fmt: skip
    rows = [vars(a) for a in provider.attempts(visit.scope.whole(), batch)]
    return Table(f"{batch.batch_id}-attempts", tuple(Column(k, plain(k)) for k in keys), rows)


def _named(make: Callable[[Visit, BatchProvider, Batch], Table]) -> Callable[[Visit], Table]:
    def table(visit: Visit) -> Table:
        provider, batch = _of(visit)
        made = make(visit, provider, batch)
        return Table(f"{batch.batch_id}-{made.name}", made.columns, made.rows)

    return table


PAGE = Page(
    name="batch",
    path="/batch/<site>/<batch_id>",
    title="Batch",
    layout=layout,
    tables={
        "attempts": _attempts_table,
        "results": results_table,
        "custody": custody_table,
        "deviations": _named(_deviation_table),
        "operations": _named(
            lambda v, p, b: Table(
                "operations", _step_columns(v), [_step_row(s) for s in p.steps(v.scope.whole(), b)]
            )
        ),
        "materials": _named(lambda v, p, b: _material_table(v, b, p.materials(v.scope.whole(), b))),
        "findings": _named(lambda v, p, b: findings_table(v, p.findings(v.scope.whole(), b))),
        "edits": _named(_edits_table),
        "outcomes": _named(
            lambda v, p, b: Table(
                "outcomes",
                tuple(
                    Column(k, plain(k))
                    for k in (
                        "endpoint",
                        "outcome_day",
                        "outcome_value",
                        "censored",
                        "source_file",
                        "source_row",
                    )
                ),
                [vars(o) for o in p.outcomes(v.scope.whole(), b)],
            )
        ),
    },
    in_navigation=False,
)
