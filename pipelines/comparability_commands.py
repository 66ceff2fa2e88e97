"""`cellfleet comparability …`: the plan and its lock.

Belongs here: words in and out. Does not belong here: what a lock means (`warehouse.plan_lock`), statistics.
"""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from pipelines.runner import Locked, as_json, locked
from warehouse import lake, plan_lock
from warehouse.plan import Fleet, PlanError, load_plan
from warehouse.settings import settings

app = typer.Typer(
    no_args_is_help=True, help="The comparability plan, its lock, and what stands behind a verdict."
)
plan_app = typer.Typer(no_args_is_help=True, help="The plan: show, lock before data, unlock.")
app.add_typer(plan_app, name="plan")
Json = Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")]
By = Annotated[str | None, typer.Option(help="Who locks, a role rather than a name; else the account.")]


@contextmanager
def told() -> Iterator[None]:
    """Refusals as one sentence: 2 for a wrong plan, 1 for a refused step, 3 while another run holds the lock."""
    try:
        yield
    except PlanError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    except (plan_lock.LockError, lake.LakeError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    except Locked as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(3) from error


def fleet_plan() -> Fleet:
    """The fleet's plan as its file says now."""
    return load_plan(settings().sites_path / "fleet.yaml")


@plan_app.command(name="lock")
def plan_lock_command(
    by: By = None,
    reason: Annotated[str | None, typer.Option(help="Why a changed plan is locked anew.")] = None,
    json_output: Json = False,
) -> None:
    """Lock the plan of fleet.yaml by its hash; do it before a new site's results are brought in."""
    with told():
        fleet = fleet_plan()
        with locked(settings(), "comparability plan lock"), lake.opened(settings()) as con:
            made = plan_lock.lock(con, fleet, by=by or getpass.getuser(), reason=reason)
            event = made or plan_lock.history(con)[-1]
    if json_output:
        typer.echo(as_json({"locked_now": made is not None, **_event(event, None)}))
        return
    words = "is locked now" if made else "was locked already"
    typer.echo(
        f"Plan {event.plan_id} version {event.plan_version} ({event.plan_hash[:12]}) {words}: "
        f"{event.recorded_at:%Y-%m-%d %H:%M:%S %Z}, by {event.locked_by}."
    )


@plan_app.command(name="unlock")
def plan_unlock_command(
    reason: Annotated[str, typer.Option(help="Why it no longer binds; printed with every verdict.")],
    by: By = None,
    json_output: Json = False,
) -> None:
    """Record that the locked plan no longer binds; verdicts say so until a plan is locked again."""
    with told():
        fleet = fleet_plan()
        with locked(settings(), "comparability plan unlock"), lake.opened(settings()) as con:
            event = plan_lock.unlock(con, fleet, by=by or getpass.getuser(), reason=reason)
    if json_output:
        typer.echo(as_json(_event(event, None)))
        return
    typer.echo(f"Plan {event.plan_id} version {event.plan_version} is unlocked: {reason}")


@plan_app.command(name="show")
def plan_show_command(json_output: Json = False) -> None:
    """The plan in force, whether it is locked, and every change between locked versions."""
    with told():
        fleet = fleet_plan()
        with lake.opened(settings(), read_only=True) as con:
            past = plan_lock.history(con)
    state = plan_lock.state(past, fleet.plan_hash, None)
    now = "locked" if state == "locked before data" else state
    events = [_event(e, past[i - 1].plan if i else None) for i, e in enumerate(past)]
    pending = plan_lock.differences(past[-1].plan, fleet.plan_text) if past else []
    plan = fleet.plan
    if json_output:
        head = {"plan_id": plan.id, "plan_version": plan.version, "plan_hash": fleet.plan_hash, "state": now}
        whole = {"reference_site": fleet.reference_site, "plan": plan.model_dump(mode="json")}
        typer.echo(as_json(head | whole | {"changed_since_lock": pending, "history": events}))
        return
    typer.echo(
        f"Plan {plan.id} version {plan.version} of {plan.dated}, {fleet.plan_hash[:12]}: {now}.\n{plan.basis}"
    )
    for name, a in plan.attributes.items():
        spread = f"; SD ratio up to {a.sd_ratio_max:g}" if a.sd_ratio_max else "; spread not judged"
        margin = a.reads_as or ("no margin" if a.margin is None else f"{a.margin_low:g} to {a.margin_high:g}")
        typer.echo(f"  {name} ({a.criticality}, {a.scale}): {margin}{spread}. {a.rationale}")
    for event in events:
        why = f" Why: {event['lock_reason']}." if event["lock_reason"] else ""
        typer.echo(
            f"{event['recorded_at']:%Y-%m-%d %H:%M} version {event['plan_version']} "
            f"({event['plan_hash'][:12]}) {event['lock_action']} by {event['locked_by']}.{why}"
        )
        for line in event["changed"]:
            typer.echo(f"    {line}")
    if pending:
        typer.echo("Changed since, and not locked:")
        for line in pending:
            typer.echo(f"    {line}")


def _event(event: plan_lock.Event, before: str | None) -> dict[str, Any]:
    told = {k: v for k, v in vars(event).items() if k != "plan"}
    return told | {"changed": plan_lock.differences(before, event.plan) if before else []}
