"""`cellfleet access …`: the commands of access control. What they do is in `warehouse/access.py`."""

from __future__ import annotations

import getpass
import json
import sys
from typing import Annotated

import duckdb
import typer

from warehouse.access import EVERY_PROGRAM, EVERY_SITE, ROLES, Access, AccessError, Account
from warehouse.publish import newest
from warehouse.settings import settings

app = typer.Typer(
    no_args_is_help=True, help="Accounts of the dashboards, and the log of what they looked at."
)
ROLE_HELP = "; ".join(f"{name}: {role.told}" for name, role in ROLES.items()) + "."
SITE_HELP = f"Site whose rows are seen, again for more; '{EVERY_SITE}' for all."


PROGRAM_HELP = "Program that is seen, again for more; every one where none is named."


def _access() -> Access:
    return Access(settings().access_path)


@app.command()
def grant(
    name: Annotated[str, typer.Argument(help="Account: the name one signs in with, or that the OIDC provider tells.")],
    role: Annotated[str, typer.Option(help=ROLE_HELP)],
    site: Annotated[list[str] | None, typer.Option(help=SITE_HELP)] = None,
    program: Annotated[list[str] | None, typer.Option(help=PROGRAM_HELP)] = None,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read it from standard input.")] = False,
    no_password: Annotated[bool, typer.Option("--no-password", help="Keep it; without any, only OIDC.")] = False,
) -> None:  # fmt: skip
    """Make an account, or give it another role, other sites or programs or a new password; its sessions end."""
    known = {path.parent.name for path in settings().sites_path.glob("*/defs.yaml")}
    if unknown := sorted(set(site or ()) - known - {EVERY_SITE}):
        typer.echo(f"There is no site {', '.join(unknown)}; sites are {', '.join(sorted(known))}.", err=True)
        raise typer.Exit(2)
    if unknown := sorted(set(program or ()) - _programs() - {EVERY_PROGRAM}):
        typer.echo(
            f"There is no program {', '.join(unknown)} in the published snapshot; programs are "
            f"{', '.join(sorted(_programs())) or 'none yet'}.",
            err=True,
        )
        raise typer.Exit(2)
    if no_password:
        password = None
    elif password_stdin:
        password = sys.stdin.readline().rstrip("\n")
    else:
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    try:
        made = _access().grant(
            name, role, site or (), password, by=getpass.getuser(), programs=program or (EVERY_PROGRAM,)
        )
    except AccessError as error:
        typer.echo(f"{error}.", err=True)
        raise typer.Exit(2) from error
    sees = ROLES[made.role].told
    typer.echo(f"{made.name} is {made.role} ({sees}){_at(made)}. Serve with CELLFLEET_ACCESS=accounts.")


@app.command()
def revoke(name: Annotated[str, typer.Argument(help="Account.")]) -> None:
    """End an account: it cannot sign in and its sessions end; what it saw stays on record."""
    try:
        _access().revoke(name, by=getpass.getuser())
    except AccessError as error:
        typer.echo(f"{error}.", err=True)
        raise typer.Exit(2) from error
    typer.echo(f"{name} is revoked. `cellfleet access log --name {name}` shows what it looked at.")


@app.command(name="list")
def list_accounts(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Every account with its role and sites, since when and by whom."""
    accounts = _access().accounts()
    if as_json:
        told = [
            {"name": a.name, "role": a.role, "sites": list(a.sites), "programs": list(a.programs),
             "password": a.password is not None,
             "since": a.since.isoformat(), "by": a.by}
            for a in accounts
        ]  # fmt: skip
        typer.echo(json.dumps(told, indent=2))
        return
    for a in accounts:
        typer.echo(f"{a.name}: {a.role}{_at(a)}, since {a.since:%Y-%m-%d %H:%M} UTC by {a.by}")
    if not accounts:
        typer.echo("No account yet. Make one with `cellfleet access grant NAME --role qa --site '*'`.")


@app.command()
def log(
    name: Annotated[str | None, typer.Option(help="Only what this account looked at.")] = None,
    last: Annotated[int, typer.Option(min=1, help="How many, the latest first.")] = 50,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check that no row was changed or cut out.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """What accounts looked at; with `--verify` whether the log is whole (exit code 1 where it is not)."""
    access = _access()
    if verify:
        broken = access.first_broken()
        if broken is not None:
            typer.echo(f"Row {broken} is missing or was changed. Compare the file with its backup.", err=True)
            raise typer.Exit(1)
        newest = access.views(limit=1)
        typer.echo(f"{newest[0].number if newest else 0} rows, none changed or cut out.")
        return
    views = access.views(name, last)
    if as_json:
        told = [vars(v) | {"at": v.at.isoformat(), "sites": list(v.sites)} for v in views]
        typer.echo(json.dumps(told, indent=2))
        return
    for v in views:
        typer.echo(
            f"{v.at:%Y-%m-%d %H:%M:%S} UTC {v.name} ({v.role}) {v.what} of {', '.join(v.sites)}, snapshot {v.snapshot}"
        )
    if not views:
        typer.echo("Nothing was looked at yet.")


def _at(account: Account) -> str:
    sites, only = account.sites, account.only_programs
    at = f" at {'every site' if EVERY_SITE in sites else ', '.join(sites)}" if sites else ""
    return at + (f", {', '.join(only)} only" if only is not None else "")


def _programs() -> set[str]:
    """Programs that the newest snapshot tells of; none before the first."""
    path = newest(settings().published_path)
    if path is None:
        return set()
    with duckdb.connect(str(path), read_only=True) as con:
        return {program for (program,) in con.execute("SELECT program_id FROM core.program").fetchall()}
