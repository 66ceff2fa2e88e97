"""Where a batch stands, and what is open about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import html
from dash.development.base_component import Component

from dashboards.components import states
from dashboards.components.panel import panel
from dashboards.components.table import Column, Table, html_table, printed
from dashboards.components.verdict import severity
from dashboards.components.words import age, attribute_words, in_words, plain, plural, state
from dashboards.facts.batch import Batch, Measured
from dashboards.pages.batch.about import (
    batch_of,
    computed,
    csv_of,
    local_time,
    site_name,
    source_column,
    source_link,
    zone_of,
)
from dashboards.providers.batch import BatchProvider
from dashboards.shell.visit import Visit, batch_href


def answer(visit: Visit, provider: BatchProvider, batch: Batch, measured: Sequence[Measured]) -> str:
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


def standing(visit: Visit, provider: BatchProvider, batch: Batch) -> Component:
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
            f"{site_name(visit, batch.site)}, suite {batch.suite_id or 'unknown'}, "
            f"clock {zone_of(visit, batch.site)}",
        ),
        ("Product", f"{batch.product_id or 'unknown'}, protocol {batch.protocol_version or 'unknown'}"),
        ("Order", batch.order_id),
        ("Attempt", f"{batch.attempt_no or 1} of {len(attempts)} for this order"),
        ("Other attempts", others),
        (
            "Ended because",
            plain(batch.termination_cause) if batch.state in ("terminated", "rejected") else None,
        ),
        ("Started", local_time(visit, batch, batch.batch_started_at)),
        ("Harvested", local_time(visit, batch, batch.harvested_at)),
        *((f"Decision: {plain(d.decision)}", _decided(visit, batch, d)) for d in decisions),
        (
            "Infused",
            f"{local_time(visit, batch, batch.infused_at)}"
            + (f", {printed(batch.dose_e6_per_kg)} × 10⁶ cells/kg" if batch.dose_e6_per_kg else "")
            if batch.infused_at
            else None,
        ),
        (
            "Waits for results",
            ", ".join(attribute_words(a) for a in (batch.pending_attributes or "").split(", ") if a),
        ),
        ("As of", f"{printed(batch.as_of)} UTC, the newest event the site has told of"),
        ("Batch record", source_link(visit, batch)),
    ]
    rows = [html.Div([html.Dt(name), html.Dd(value)]) for name, value in facts if value]
    return panel(
        "standing",
        "Where it stands",
        None,
        html.Div(
            [
                html.Dl(rows, className="cf-facts-list"),
                html.P(
                    html.A(
                        "Make its dossier",
                        href=visit.href("/report", of="batch", batch=f"{batch.site}/{batch.batch_id}"),
                    ),
                    className="cf-next",
                ),
            ]
        ),
        csv=csv_of(visit, "attempts"),
        computed=computed(
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
        f"{local_time(visit, batch, d.signed_at)} by the {d.signer_role or 'unnamed role'}{spec}{open_points}. ",
        source_link(visit, d),
    ]


def open_points(visit: Visit, provider: BatchProvider, batch: Batch) -> Component:
    needs = provider.needs(visit.scope.whole(), batch)
    deviations = provider.deviations(visit.scope.whole(), batch)
    parts: list[Any] = []
    if needs:
        parts.append(
            html.Ul(
                [
                    html.Li(
                        [
                            html.Div([severity(n.severity), html.Span(in_words(n.what))]),
                            html.Small(
                                [
                                    f"{plain(n.kind)}, waits for {n.owner_role}"
                                    + (f", {age(n.age_h)}" if n.age_h is not None else "")
                                    + ". ",
                                    source_link(visit, n),
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
        parts += [html.H3("Deviations"), html_table(deviation_table(visit, provider, batch), "Deviations")]
    return panel(
        "open",
        "What is open, and whose it is",
        f"{plural(len(needs), 'open point')}, {plural(len(deviations), 'deviation')} in all.",
        html.Div(parts),
        csv=csv_of(visit, "deviations"),
        computed=computed(
            visit,
            "Blocking results and deviations, lateness, results due and findings of weight, as on the "
            "Fleet page.",
            "mart.exceptions and core.deviation",
        ),
    )


def deviation_table(visit: Visit, provider: BatchProvider, batch: Batch) -> Table:
    rows = [vars(d) for d in provider.deviations(visit.scope.whole(), batch)]
    return Table(
        "deviations",
        (
            Column("deviation_id", "Deviation"),
            Column("deviation_class", "Class"),
            Column("cause", "Cause"),
            Column("opened_at", "Opened, UTC"),
            Column("closed_at", "Closed, UTC", cell=lambda r: printed(r["closed_at"]) or "open"),
            source_column(visit),
        ),
        rows,
    )


def attempts_table(visit: Visit) -> Table:
    provider, batch = batch_of(visit)
    keys = (
        "batch_id", "attempt_no", "state", "state_since", "order_id", "product_id", "suite_id", "protocol_version",
        "batch_started_at", "harvested_at", "signed_at", "infused_at", "source_file", "source_row", "record_id",
    )  # fmt: skip
    rows = [vars(a) for a in provider.attempts(visit.scope.whole(), batch)]
    return Table(f"{batch.batch_id}-attempts", tuple(Column(k, plain(k)) for k in keys), rows)
