"""`cellfleet watch …`: what the marts of watching say, as published: points, rules, capability, spread, runs, rates.

Belongs here: reading marts of the newest snapshot and printing them. Does not belong here: acts of people on limits and
signals (`watch_commands`), how a mart is made (`warehouse.marts`).
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pipelines.runner import as_json
from pipelines.terminal import show
from pipelines.watch_commands import Attribute, Json, Site, published

app = typer.Typer(
    no_args_is_help=True, help="What is watched: charts, capability, spread, trajectories, excursions, rates."
)
Batch = Annotated[str | None, typer.Option(help="Only this batch.")]


def _told(
    title: str, mart: str, order: str, columns: str, json_output: bool, where: str = "", **only: str | None
) -> None:
    """Rows of one mart under the filters that were given: all columns as JSON, else those worth a line."""
    conditions = [*([where] if where else []), *(f"{name} = ?" for name, value in only.items() if value)]
    sql = f"SELECT * FROM mart.{mart}" + (f" WHERE {' AND '.join(conditions)}" if conditions else "")
    rows: list[dict[str, Any]] = published(f"{sql} ORDER BY {order}", [v for v in only.values() if v])
    if json_output:
        typer.echo(as_json(rows))
        return
    show(title, rows, columns.split())


@app.command(name="chart")
def chart_command(
    site: Annotated[str, typer.Argument(help="Site.")],
    attribute: Annotated[str, typer.Argument(help="Attribute, group or count that is charted.")],
    chart: Annotated[
        str, typer.Option(help="I, MR, EWMA, CUSUM+, CUSUM-, Xbar, S, p, u, T2 or MEWMA.")
    ] = "I",
    json_output: Json = False,
) -> None:
    """One control chart point by point: value, limits, whether it lies outside, the numbered rules that it fails."""
    drawn = "SELECT DISTINCT chart FROM mart.chart_point WHERE site = ? AND attribute = ?"
    known = {row["chart"] for row in published(drawn, [site, attribute])}
    if chart not in known:
        has = ", ".join(sorted(known)) or "no chart at all; `cellfleet charts list` shows what is charted"
        typer.echo(f"{attribute} at {site} has no chart {chart}; it has {has}.", err=True)
        raise typer.Exit(2)
    columns = (
        "batch_id phase in_baseline value centre lower upper outside nelson_rules western_electric_rules"
    )
    title, order = f"{chart} chart of {attribute} at {site}", "phase, batch_started_at"
    only = {"site": site, "attribute": attribute, "chart": chart}
    _told(title, "chart_point", order, columns, json_output, **only)


@app.command(name="rules")
def rules_command(json_output: Json = False) -> None:
    """The numbered run rules, and after how many points each set rings, by shift of the mean in sigma."""
    _told(
        "Run rules", "chart_rule", "family, rule, shift", "family rule words shift arl arl_error", json_output
    )


@app.command(name="budget")
def budget_command(site: Site = None, attribute: Attribute = None, json_output: Json = False) -> None:
    """False alarms a year that each chart would give by chance, and what the fleet allows for all together."""
    columns = (
        "site attribute chart rings points_per_year in_control_arl false_alarms_per_year nelson_per_year "
        "western_electric_per_year"
    )
    title, order = "False alarms a year by chance", "site, attribute, chart"
    _told(title, "chart_budget", order, columns, json_output, site=site, attribute=attribute)


@app.command(name="capability")
def capability_command(site: Site = None, attribute: Attribute = None, json_output: Json = False) -> None:
    """Ppk and Cpk, the probability out of specification, their intervals, and the change since the period before."""
    columns = "site attribute stage n ppk ppk_low ppk_high cpk p_out p_out_low p_out_high p_next_inside trend refusal"
    order = "site, attribute, stage"
    _told("Capability", "capability", order, columns, json_output, site=site, attribute=attribute)


@app.command(name="spread")
def spread_command(attribute: Attribute = None, json_output: Json = False) -> None:
    """What the spread of each attribute is made of, with intervals."""
    columns = "attribute measured_as component levels sd sd_low sd_high share n_batches refusal"
    order = "attribute, measured_as, share DESC NULLS LAST"
    _told("Components of variance", "variance_component", order, columns, json_output, attribute=attribute)


@app.command(name="runs")
def runs_command(
    site: Site = None,
    batch: Batch = None,
    every: Annotated[
        bool, typer.Option("--all", help="Also runs that keep to the path of the good ones.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Runs that left the path of the good batches: which quantity, how far, where it was furthest."""
    columns = (
        "site_id batch_id quantity_name score score_limit share_outside furthest furthest_step furthest_at "
        "deviates_from"
    )
    where, order = "" if every or batch else "deviates", "site_id, batch_id, quantity_name"
    only = {"site_id": site, "batch_id": batch}
    _told("Runs off the path", "trajectory_score", order, columns, json_output, where, **only)


@app.command(name="excursions")
def excursions_command(site: Site = None, batch: Batch = None, json_output: Json = False) -> None:
    """Stretches of readings beyond a declared limit: from when, how long, how deep."""
    columns = (
        "site_id batch_id quantity_name side limit_value step started_at duration_h depth extreme n_readings"
    )
    order = "site_id, batch_id, started_at"
    _told("Excursions", "excursion", order, columns, json_output, site_id=site, batch_id=batch)


@app.command(name="rates")
def rates_command(site: Site = None, batch: Batch = None, json_output: Json = False) -> None:
    """Growth, glucose uptake and lactate yield, day by day."""
    columns = (
        "site_id batch_id day growth_rate growth_low growth_high doubling_h glucose_uptake lactate_yield "
        "above_theoretical refusal"
    )
    order = "site_id, batch_id, day"
    _told("Metabolic rates", "metabolic_rate", order, columns, json_output, site_id=site, batch_id=batch)
