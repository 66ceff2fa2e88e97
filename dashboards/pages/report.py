"""Report: a dossier for the file, made in the background, and the dossiers that this reader asked for.

Belongs here: the form and the list. Does not belong here: what a dossier says (`warehouse/reports`), how it is made
and who may fetch it (`dashboards/reports`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, ctx, dcc, html
from dash.development.base_component import Component

from dashboards.components import states
from dashboards.components.aria import aria, data
from dashboards.components.panel import panel
from dashboards.components.table import Column, Table
from dashboards.providers.batch import BatchProvider
from dashboards.providers.fleet import FleetProvider
from dashboards.reports import counter
from dashboards.reports.jobs import Job, TooMany
from dashboards.reports.make import KINDS, Unclear, order
from dashboards.shell.guard import guarded
from dashboards.shell.visit import Desk, Page, Visit, query_of

NAMES = ("of", "attrs", "from", "to", "batch")
CONTROLS = {name: {"type": "control", "page": "report", "name": name} for name in NAMES}
SITES = {"type": "control", "page": "all", "name": "sites"}
BEAT_MS = 1000
STATES = {
    "waiting": ("◔", "muted"),
    "running": ("◑", "muted"),
    "done": ("●", "ok"),
    "failed": ("✕", "bad"),
    "stopped": ("◇", "unsure"),
}


def layout(visit: Visit) -> Component:
    """The whole page for one address."""
    return html.Div(
        [
            html.H1("What do you need for the file?"),
            html.P(
                "A dossier as PDF with its data and a manifest of hashes. The same snapshot, sites and choice give the "
                "same bytes, so that others can check them.",
                className="cf-lede",
            ),
            html.Div([_form(visit), _list_panel(visit)], className="cf-panels"),
        ]
    )


def _form(visit: Visit) -> Component:
    of = visit.get("of") if visit.get("of") in KINDS else "comparability"
    plan = FleetProvider(visit.snapshot).plan(visit.scope)
    asked = visit.get("attrs").split(",")
    day: dict[str, Any] = {"size": "sm", "w": 150, "placeholder": "2026-01-31"}
    content = html.Div(
        [
            dmc.SegmentedControl(
                id=CONTROLS["of"],
                data=[{"value": kind, "label": words} for kind, words in KINDS.items()],
                value=of,
                **aria(label="Kind of dossier"),
            ),
            html.Div(
                [
                    dmc.MultiSelect(
                        id=CONTROLS["attrs"],
                        label="Attributes; none chosen means all of the plan",
                        data=[{"value": p.attribute, "label": p.title} for p in plan],
                        value=[p.attribute for p in plan if p.attribute in asked],
                        clearable=True,
                        searchable=True,
                        size="sm",
                        w=460,
                        maw="calc(100vw - 56px)",
                    ),
                    dmc.TextInput(
                        id=CONTROLS["from"],
                        label="Lots from, UTC",
                        value=visit.get("from"),
                        debounce=300,
                        **day,
                    ),
                    dmc.TextInput(
                        id=CONTROLS["to"], label="to, included", value=visit.get("to"), debounce=300, **day
                    ),
                ],
                id="report-comparability",
                className="cf-filters cf-between",
                hidden=of != "comparability",
            ),
            html.Div(
                dmc.Select(
                    id=CONTROLS["batch"],
                    label="Batch",
                    data=_batches(visit),
                    value=visit.get("batch") or None,
                    searchable=True,
                    clearable=True,
                    limit=50,
                    size="sm",
                    w=300,
                ),
                id="report-batch",
                className="cf-filters cf-between",
                hidden=of != "batch",
            ),
            html.P(said(visit), id="report-said", className="cf-told", role="status", **aria(live="polite")),
            html.Button(
                "Make the dossier", id="report-make", className="cf-button cf-primary", type="button"
            ),
        ]
    )
    return panel(
        "ask",
        "Ask for a dossier",
        "Sites are those chosen above. Verdicts rest on every lot of the plan; the days choose which lots are "
        "listed and drawn.",
        content,
        computed="Read from the snapshot shown, as this page's other numbers, in your own scope; charts are those of "
        "the pages. Nothing is computed anew and nothing is sent anywhere. Times are UTC. "
        f"Snapshot {visit.snapshot.number}.",
    )


def _batches(visit: Visit) -> list[dict[str, str]]:
    found = BatchProvider(visit.snapshot).all(visit.scope)
    return [{"value": f"{b.site}/{b.batch_id}", "label": f"{b.batch_id}, {b.site}"} for b in found]


def said(visit: Visit) -> str:
    """What would be made, or what is missing."""
    try:
        return f"This makes: {order(visit).title}, from snapshot {visit.snapshot.number}."
    except Unclear as error:
        return str(error)


def _list_panel(visit: Visit) -> Component:
    return panel(
        "jobs",
        "Your dossiers",
        "The newest first; the last 20 are kept. Fetching one again gives the same bytes.",
        html.Div(
            [
                html.Div(id="report-jobs", className="cf-jobs", **aria(live="polite")),
                dcc.Interval(id="report-beat", interval=BEAT_MS),
            ]
        ),
        csv=visit.csv("report", "plan"),
        computed="The archive holds the PDF, each table as CSV and Parquet with every digit, and the manifest: what "
        "was asked for, the snapshot and its SHA-256, software versions, and the SHA-256 of every file, which "
        "`sha256sum` checks. The CSV here is the plan that a comparability dossier rests on: margins, who approved "
        "them and when.",
    )


def jobs_list(jobs: Sequence[Job]) -> Component:
    """The reader's reports, each with its state and its files."""
    if not jobs:
        return states.empty("You have asked for none yet.", "Choose what one shall be of, and make it.")
    return html.Ul([_job(job) for job in jobs], className="cf-list")


def _job(job: Job) -> Component:
    symbol, kind = STATES[job.state]
    parts: list[Any] = [
        html.Div(
            [
                html.Strong(job.title),
                html.Span(
                    [html.Span(symbol, className="cf-symbol", **aria(hidden="true")), job.state],
                    className=f"cf-verdict cf-{kind}",
                ),
            ]
        ),
        html.Small(
            f"snapshot {job.snapshot}, asked for {job.asked_at[:16].replace('T', ' ')} UTC",
            className="cf-muted",
        ),
    ]
    if job.under_way:
        parts.append(
            html.Div(
                [
                    html.Progress(
                        value=str(job.step), max=str(job.steps), **aria(label=f"Progress of {job.title}")
                    ),
                    html.Span(job.doing, className="cf-muted"),
                ]
            )
        )
    if job.state == "stopped":
        parts.append(html.Div("The server stopped while it was made. Ask for it again."))
    if job.problem:
        parts.append(html.Div(job.problem, role="alert"))
    if job.files:
        parts.append(html.Div([_file(job, name, words) for name, words in FILES]))
        pdf = next(f for f in job.files if f.name == "report.pdf")
        parts.append(html.Small(["SHA-256 of the PDF ", html.Code(pdf.sha256)], className="cf-muted"))
    return html.Li(parts, **data(state=job.state))


FILES = (("report.pdf", "PDF"), ("report.zip", "Archive with the data"), ("manifest.json", "Manifest"))


def _file(job: Job, name: str, words: str) -> Component:
    size = next(f.size for f in job.files if f.name == name)
    return html.A(f"{words}, {size / 1000:,.0f} kB", href=f"/reports/{job.id}/{name}", download="")


def _plan(visit: Visit) -> Table:
    keys = (
        "attribute", "title", "scale", "margin_low", "margin_high", "reads_as", "measured_by", "sample_point",
        "criticality", "rationale", "plan_id", "plan_version", "dated", "approved_by_role", "reference",
    )  # fmt: skip
    rows = [vars(p) for p in FleetProvider(visit.snapshot).plan(visit.scope)]
    return Table("plan", tuple(Column(k, k.replace("_", " ")) for k in keys), rows)


def callbacks(app: Dash, desk: Desk) -> None:
    """The form says what it would make, the button asks for it, the list follows while something is under way."""
    form = [State(control, "value") for control in CONTROLS.values()]

    @app.callback(
        Output("report-comparability", "hidden"),
        Output("report-batch", "hidden"),
        Output("report-said", "children"),
        *(Input(control, "value") for control in CONTROLS.values()),
        State(SITES, "value"),
        prevent_initial_call=True,
    )
    def told(*given: Any) -> tuple[bool, bool, Any]:
        *values, sites = given
        of = values[0]
        return of != "comparability", of != "batch", guarded(said)(desk.visit(query_of(NAMES, values, sites)))

    @app.callback(
        Output("report-jobs", "children"),
        Output("report-beat", "disabled"),
        Output("report-said", "children", allow_duplicate=True),
        Input("report-make", "n_clicks"),
        Input("report-beat", "n_intervals"),
        *form,
        State(SITES, "value"),
        State("report-said", "children"),
        prevent_initial_call="initial_duplicate",
    )
    def work(clicks: int | None, _: int | None, *given: Any) -> tuple[Any, bool, Any]:
        *values, sites, sentence = given
        if clicks and ctx.triggered_id == "report-make":
            sentence = guarded(_asked)(desk, query_of(NAMES, values, sites))
        jobs = counter.mine(desk)
        return jobs_list(jobs), not any(job.under_way for job in jobs), sentence


def _asked(desk: Desk, query: str) -> str:
    try:
        job = counter.ask(desk, query)
    except (Unclear, TooMany) as error:
        return str(error)
    return f"{job.title}: it is there already." if job.state == "done" else f"{job.title}: it is being made."


PAGE = Page(
    name="report",
    path="/report",
    title="Report",
    layout=layout,
    callbacks=callbacks,
    tables={"plan": _plan},
    key="d",
)
