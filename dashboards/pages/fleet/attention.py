"""What needs somebody, and what changed since the previous snapshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from dash import html
from dash.development.base_component import Component

from dashboards.components import states
from dashboards.components.aria import aria
from dashboards.components.panel import panel
from dashboards.components.table import Column, Table, printed
from dashboards.components.verdict import severity, verdict
from dashboards.components.words import age, attribute_words, in_words, plain, plural
from dashboards.facts.fleet import Moved, Need
from dashboards.providers.fleet import FleetProvider
from dashboards.shell.visit import Visit, batch_href, source_href

NEEDS_SHOWN = 6


def needs_panel(visit: Visit, provider: FleetProvider) -> Component:
    names = {s.id: s.name for s in visit.snapshot.sites}
    needs = provider.needs(visit.scope)
    points = together(needs)
    if not needs:
        content: Component = states.empty("Nothing waits for anybody at these sites.")
    else:
        content = html.Div(
            [
                html.Ul([_need(visit, n, names) for n in points[:NEEDS_SHOWN]], className="cf-list"),
                html.Details(
                    [
                        html.Summary(f"The other {len(points) - NEEDS_SHOWN}"),
                        html.Ul([_need(visit, n, names) for n in points[NEEDS_SHOWN:]], className="cf-list"),
                    ]
                )
                if len(points) > NEEDS_SHOWN
                else None,
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


def moved_panel(visit: Visit, provider: FleetProvider) -> Component:
    """Points that came and went, the difference of two snapshots."""
    names = {s.id: s.name for s in visit.snapshot.sites}
    found = provider.moved(visit.scope)
    earlier = visit.snapshot.before
    if found is None or earlier is None:
        told, body = (
            "",
            states.empty("There is no earlier snapshot to compare with.", "The next one will tell."),
        )
    elif not found:
        told = f"Against snapshot {earlier.number}, as of {printed(earlier.as_of)} UTC."
        body = states.empty("The same points are open as then.")
    else:
        came = sum(m.came for m in found)
        told = (
            f"Against snapshot {earlier.number}, as of {printed(earlier.as_of)} UTC: {plural(came, 'point')} came, "
            f"{len(found) - came} went."
        )
        body = html.Ul([_moved(visit, m, names) for m in found], className="cf-list cf-long", tabIndex="0")
    return panel(
        "moved",
        "What came and went since then, and why",
        told,
        body,
        csv=visit.csv("fleet", "moved"),
        computed="Points of this snapshot beside those of the one before: a point is the same while site, batch, kind "
        "and subject are. Why: what became of its batch, else of its record. "
        f"Table mart.exceptions of both, snapshot {visit.snapshot.number}.",
    )


def _moved(visit: Visit, moved: Moved, names: Mapping[str, str]) -> Component:
    need = moved.need
    mark, word, kind = ("＋", "came", "unsure") if moved.came else ("−", "went", "ok")
    return html.Li(
        [
            html.Div(
                [
                    html.Span([html.Span(mark, **aria(hidden="true")), word], className=f"cf-verdict cf-{kind}"),
                    html.A(need.batch_id, href=batch_href(visit, need.site, need.batch_id)),
                    html.Span(names.get(need.site, need.site), className="cf-muted"),
                ]
            ),
            html.Div(in_words(need.what)),
            html.Small(f"{moved.why}; {plain(need.kind)}, waits for {need.owner_role}", className="cf-muted"),
        ]
    )  # fmt: skip


def moved_table(visit: Visit) -> Table:
    """What came and went, for the CSV."""
    rows = [
        {**vars(m.need), "became": "came" if m.came else "went", "why": m.why}
        for m in FleetProvider(visit.snapshot).moved(visit.scope) or []
    ]
    keys = ("became", "site", "batch_id", "kind", "subject", "what", "owner_role", "severity", "since", "why")
    return Table("moved", tuple(Column(k, plain(k)) for k in keys), rows)


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
            html.Div(in_words(need.what)),
            html.Small(
                [
                    f"{plain(need.kind)}, waits for {need.owner_role}"
                    + (f", {age(need.age_h)}" if need.age_h is not None else "")
                    + ", ",
                    html.A("its row", href=source_href(visit, need.record_id)),
                ],
                className="cf-muted",
            ),
        ]
    )


def needs_table(needs: Sequence[Need], visit: Visit) -> Table:
    """Everything that needs somebody, for the CSV."""
    names = {s.id: s.name for s in visit.snapshot.sites}
    rows = [
        {
            **vars(n),
            "name": names.get(n.site, n.site),
            "kind": plain(n.kind),
            "what": in_words(n.what),
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


def changes_panel(visit: Visit, provider: FleetProvider) -> Component:
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
        "Verdicts that changed since the previous snapshot, and why",
        None,
        content,
        csv=visit.csv("fleet", "changes"),
        computed="Verdicts of this snapshot beside those of the one before; a change is told with the "
        "first cause that applies: another plan, other lots, corrected results. "
        f"Table mart.change, snapshot {visit.snapshot.number}.",
    )


def changes_table(visit: Visit) -> Table:
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
