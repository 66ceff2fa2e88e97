"""`cellfleet charts …` and `cellfleet signals …`: acts of people on limits and signals, and what they stand on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import duckdb
import typer

from pipelines import alerts, chart_freezing
from pipelines.runner import Locked, as_json, locked
from pipelines.terminal import show
from warehouse import acts, lake
from warehouse.marts import signals
from warehouse.plan import PlanError
from warehouse.publish import newest
from warehouse.settings import settings

charts_app = typer.Typer(no_args_is_help=True, help="Control charts: freeze, approve and list their limits.")
signals_app = typer.Typer(no_args_is_help=True, help="Signals: list, acknowledge, close, tell of new ones.")
Json = Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")]
SignalId = Annotated[str, typer.Argument(help="Id of the signal, or enough of its beginning.")]
Role = Annotated[str, typer.Option(help="Role that acts; never a name.")]
Because = Annotated[str, typer.Option(help="Reason, kept with the act.")]
Site = Annotated[str | None, typer.Option(help="Only this site.")]
Attribute = Annotated[str | None, typer.Option(help="Only this attribute, group or count.")]


@contextmanager
def told() -> Iterator[None]:
    """A refusal as one sentence with its exit code."""
    try:
        yield
    except (chart_freezing.NotAllowed, PlanError, ValueError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    except Locked as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(3) from error


def published(sql: str, values: list[Any]) -> list[dict[str, Any]]:
    """Rows of a query on the newest snapshot. Exits where there is none."""
    path = newest(settings().published_path)
    if path is None:
        typer.echo(
            f"Nothing is published in {settings().published_path}. Run `cellfleet run` first.", err=True
        )
        raise typer.Exit(1)
    with duckdb.connect(str(path), read_only=True) as con:
        cursor = con.execute(sql, values)
        names = [d[0] for d in cursor.description or []]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


@charts_app.command(name="freeze")
def freeze_command(
    role: Role,
    because: Because,
    site: Site = None,
    attribute: Attribute = None,
    again: Annotated[
        bool, typer.Option("--again", help="Estimate anew phases that have limits; the old version stays.")
    ] = False,
) -> None:
    """Freeze the limits of every phase whose declared baseline is complete and that has none yet."""
    with told(), locked(settings(), "charts freeze"):
        new = chart_freezing.freeze(
            settings(), role=role, because=because, site=site, attribute=attribute, again=again
        )
    typer.echo(
        f"{len(new)} phases frozen. They ring once approved (`cellfleet charts approve`) and published."
        if new
        else "Nothing to freeze: every phase with a complete baseline has limits. `--again` estimates them anew."
    )


@charts_app.command(name="approve")
def approve_command(role: Role, because: Because, site: Site = None, attribute: Attribute = None) -> None:
    """Approve the frozen limits that wait. Only the role that fleet.yaml names may."""
    with told(), locked(settings(), "charts approve"):
        new = chart_freezing.approve(settings(), role=role, because=because, site=site, attribute=attribute)
    typer.echo(f"{len(new)} phases approved. Next: `cellfleet publish`." if new else "No frozen limits wait.")


@charts_app.command(name="list")
def list_command(site: Site = None, attribute: Attribute = None, json_output: Json = False) -> None:
    """Every version of every phase's limits, as published: in force, superseded, waiting, or why there are none."""
    conditions = [f"{c} = ?" for c, v in (("site", site), ("attribute", attribute)) if v]
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    rows = published(
        f"""SELECT site, attribute, measured_as, phase, phase_key, version, state, in_force, n_points, n_baseline,
                   centre,
                   sigma, width, ewma_width, frozen_at, frozen_by_role, approved_at, approved_by_role, refusal
            FROM mart.chart_limit {where} ORDER BY site, attribute, measured_as, phase, version""",
        [v for v in (site, attribute) if v],
    )
    if json_output:
        typer.echo(as_json(rows))
        return
    show(
        "Limits of the control charts",
        rows,
        ["site", "attribute", "phase", "phase_key", "version", "state", "in_force", "n_points", "centre", "sigma",
         "width", "approved_by_role", "refusal"],
    )  # fmt: skip
    total = published("SELECT * FROM mart.chart_budget LIMIT 1", [])
    if total:
        typer.echo(
            f"All ringing charts together ring {total[0]['fleet_false_alarms_per_year']:.2f} times a year by chance; "
            f"the fleet allows {total[0]['allowed_per_year']:g}."
        )


@signals_app.command(name="list")
def signals_list(
    site: Site = None,
    state: Annotated[
        str | None, typer.Option(help="raised, acknowledged or closed; open ones where left out.")
    ] = None,
    json_output: Json = False,
) -> None:
    """Signals as published: what rings, since when, and who dealt with it."""
    conditions = ["state = ?" if state else "state <> 'closed'", *(["site_id = ?"] if site else [])]
    rows = published(
        f"SELECT * FROM mart.signal WHERE {' AND '.join(conditions)} ORDER BY raised_at DESC, site_id, first_at",
        [v for v in (state, site) if v],
    )
    if json_output:
        typer.echo(as_json(rows))
        return
    columns = [
        "signal_id",
        "site_id",
        "signal_kind",
        "state",
        "detail",
        "first_at",
        "n_alarms",
        "acknowledged_by_role",
    ]
    show("Signals", rows, columns)


def _act(signal_id: str, act: str, role: str, because: str) -> None:
    evidence = published(
        "SELECT max(from_at) AS until FROM mart.signal_evidence WHERE starts_with(signal_id, ?)", [signal_id]
    )
    with told(), locked(settings(), f"signals {act}"), lake.opened(settings()) as con:
        new = signals.acted(
            con, signal_id, act, role=role, because=because, covers_until=evidence[0]["until"]
        )
        acts.add(con, "signal_act", [new | {"run_id": "command-line"}], f"{act} signal {new['signal_id']}")
    typer.echo(f"Signal {new['signal_id']} {act} by {role}. Next: `cellfleet publish`.")


@signals_app.command(name="ack")
def signals_ack(signal_id: SignalId, role: Role, because: Because) -> None:
    """Acknowledge a signal: somebody looks into it."""
    _act(signal_id, "acknowledged", role, because)


@signals_app.command(name="close")
def signals_close(signal_id: SignalId, role: Role, because: Because) -> None:
    """Close a signal: its alarms so far are dealt with; a later one of its cause raises a new signal."""
    _act(signal_id, "closed", role, because)


@signals_app.command(name="alert")
def signals_alert() -> None:
    """Tell of new signals now, as the Dagster sensor does every minute."""
    try:
        typer.echo(alerts.send(settings()))
    except alerts.AlertError as error:
        typer.echo(f"{error} It will be tried again.", err=True)
        raise typer.Exit(1) from error
