"""One batch: what happened to it, whether its results lie inside their limits, and what speaks against it.

Belongs here: the order of the panels, which are in the modules beside it. Does not belong here: reading
(`providers/batch.py`), drawing (`figures/`), its sensors' page.
"""

from __future__ import annotations

from collections.abc import Callable

from dash import html
from dash.development.base_component import Component

from dashboards.components.panel import stacks
from dashboards.components.table import Column, Table
from dashboards.components.words import plain
from dashboards.facts.batch import Batch
from dashboards.pages.batch.about import batch_of, site_name
from dashboards.pages.batch.course import custody, custody_table, step_columns, step_row, timeline_panel
from dashboards.pages.batch.materials import genealogy_panel, material_table
from dashboards.pages.batch.records import edits, edits_table, findings, findings_table, outcomes
from dashboards.pages.batch.results import limits, results_panel, results_table
from dashboards.pages.batch.standing import answer, attempts_table, deviation_table, open_points, standing
from dashboards.providers.batch import BatchProvider
from dashboards.shell.visit import Page, Visit


def layout(visit: Visit) -> Component:
    """The whole page of one batch. Raises NotHere for one that the reader may not see."""
    provider, batch = batch_of(visit)
    measured = provider.measured(visit.scope.whole(), batch)
    return html.Div(
        [
            html.P(
                [
                    html.A("Batches", href=visit.href("/batch")),
                    f" / {site_name(visit, batch.site)} / {batch.batch_id}",
                ],
                className="cf-crumbs",
            ),
            html.H1(f"What happened to batch {batch.batch_id}?"),
            html.P(answer(visit, provider, batch, measured), className="cf-lede"),
            stacks(
                [standing(visit, provider, batch), open_points(visit, provider, batch)],
                [limits(visit, batch, measured), findings(visit, provider, batch)],
            ),
            html.Div(
                [timeline_panel(visit, provider, batch), results_panel(visit, batch, measured)],
                className="cf-panels",
            ),
            stacks(
                [
                    genealogy_panel(visit, provider, batch),
                    outcomes(visit, provider, batch),
                    edits(visit, provider, batch),
                ],
                [custody(visit, provider, batch)],
            ),
        ]
    )


def _named(make: Callable[[Visit, BatchProvider, Batch], Table]) -> Callable[[Visit], Table]:
    def table(visit: Visit) -> Table:
        provider, batch = batch_of(visit)
        made = make(visit, provider, batch)
        return Table(f"{batch.batch_id}-{made.name}", made.columns, made.rows)

    return table


PAGE = Page(
    name="batch",
    path="/batch/<site>/<batch_id>",
    title="Batch",
    layout=layout,
    tables={
        "attempts": attempts_table,
        "results": results_table,
        "custody": custody_table,
        "deviations": _named(deviation_table),
        "operations": _named(
            lambda v, p, b: Table(
                "operations", step_columns(v), [step_row(s) for s in p.steps(v.scope.whole(), b)]
            )
        ),
        "materials": _named(lambda v, p, b: material_table(v, b, p.materials(v.scope.whole(), b))),
        "findings": _named(lambda v, p, b: findings_table(v, p.findings(v.scope.whole(), b))),
        "edits": _named(edits_table),
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
