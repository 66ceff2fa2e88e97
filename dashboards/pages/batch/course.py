"""What was done with a batch when: its steps, and the custody of its material."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from dash import html
from dash.development.base_component import Component

from dashboards.components import states
from dashboards.components.graph import graph
from dashboards.components.panel import panel
from dashboards.components.table import Column, Table, html_table, printed
from dashboards.components.words import age, plain, plural
from dashboards.facts.batch import Batch, Step
from dashboards.facts.runs import Run
from dashboards.figures.timeline import timeline
from dashboards.pages.batch.about import (
    batch_of,
    computed,
    csv_of,
    local_time,
    source_column,
    source_link,
    zone_of,
)
from dashboards.providers.batch import BatchProvider
from dashboards.providers.sensors import SensorProvider
from dashboards.shell.visit import Visit


def timeline_panel(visit: Visit, provider: BatchProvider, batch: Batch) -> Component:
    scope = visit.scope.whole()
    steps, custody = provider.steps(scope, batch), provider.custody(scope, batch)
    named = (
        ("ordered", batch.ordered_at), ("collected", batch.collection_ended_at), ("started", batch.batch_started_at),
        ("harvested", batch.harvested_at), ("decided", batch.signed_at),
        ("infused", batch.infused_at),
    )  # fmt: skip
    milestones = [(word, moment) for word, moment in named if moment is not None]
    zone = zone_of(visit, batch.site)
    run = next(iter(SensorProvider(visit.snapshot).runs(scope, [(batch.site, batch.batch_id)])), None)
    hours = {s.record_id: _hours(run, s) for s in steps if run and s.operation_started_at}
    columns = step_columns(visit)
    if run:
        columns = (
            *columns[:-1],
            Column("record_id", "Sensors", cell=partial(_sensors, visit, run, hours)),
            columns[-1],
        )
    table = Table("operations", columns, [step_row(s) for s in steps])
    return panel(
        "timeline",
        "What was done when",
        f"Times are UTC; the hover adds the site's clock, {zone}. Solid bars are finished steps, dotted "
        f"ones run on. A click on a step shows its sensors.",
        html.Div(
            [
                graph(
                    "timeline",
                    timeline(
                        milestones,
                        steps,
                        custody,
                        provider.deviations(scope, batch),
                        zone,
                        hours,
                        run.key if run else "",
                    ),
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
        csv=csv_of(visit, "operations"),
        computed=computed(
            visit,
            "Steps as the batch record tells them; a custody event that breaks the chain is a cross.",
            "core.unit_operation, mart.custody_step and core.deviation",
        ),
        wide=True,
    )


def _hours(run: Run, s: Step) -> tuple[float, float]:
    """Hours of a step on the Sensors page, with a little to either side; one that runs on is open for a day."""
    start = s.operation_started_at or run.zero
    end = s.operation_ended_at or start + timedelta(days=1)
    pad = max(0.05 * (end - start), timedelta(minutes=30))
    first, last = (round((m - run.zero).total_seconds() / 3600, 2) for m in (start - pad, end + pad))
    return first, last


def _sensors(visit: Visit, run: Run, hours: Mapping[str, tuple[float, float]], row: dict[str, Any]) -> Any:
    if row["record_id"] not in hours:
        return ""
    start, end = (f"{h:g}" for h in hours[row["record_id"]])
    return html.Span(
        html.A("see", href=visit.href("/sensors", batches=run.key, **{"from": start, "to": end}))
    )


def step_row(s: Any) -> dict[str, Any]:
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


def step_columns(visit: Visit) -> tuple[Column, ...]:
    return (
        Column("unit_procedure", "Unit procedure"),
        Column("phase", "Phase"),
        Column("operation_started_at", "From, UTC"),
        Column("operation_ended_at", "To, UTC"),
        Column("lasted", "Hours"),
        Column("equipment_id", "Equipment"),
        Column("operator_role", "Operator"),
        Column("automation_level", "Automation"),
        source_column(visit),
    )


def custody(visit: Visit, provider: BatchProvider, batch: Batch) -> Component:
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
                                local_time(visit, batch, c.happened_at) or "no time told",
                                f", {age(c.gap_h)} after the one before" if c.gap_h is not None else "",
                                f" (99 of 100 take under {age(c.usual_gap_h)})" if c.long_gap else "",
                                ". ",
                                source_link(visit, c),
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
        csv=csv_of(visit, "custody"),
        computed=computed(
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
    provider, batch = batch_of(visit)
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
