"""Commands of a fleet on many machines: a worker, Dagster's home for its own programs, snapshots brought here.

Each is a few lines that call the part that knows; `cli.py` lists them.
"""

from __future__ import annotations

import socket
import time
from typing import Annotated

import typer

from warehouse.object_storage import ObjectStorageError
from warehouse.settings import settings


def worker(
    queues: Annotated[
        list[str] | None,
        typer.Argument(
            help="`hub` (the fleet's own runs; one machine), `sites` (any site's), or sites whose edge this is; "
            "hub and sites where left out."
        ),
    ] = None,
    processes: Annotated[int, typer.Option(help="Runs at a time.")] = 1,
    name: Annotated[str | None, typer.Option(help="Name of the worker; the machine's by default.")] = None,
) -> None:
    """Take runs from the queue until SIGTERM, which lets a run under way end."""
    from pipelines.instance import dagster_home
    from pipelines.workers import HUB, SITES, work

    chosen = settings()
    if not chosen.queue:
        typer.echo("There is no queue to take runs from: set CELLFLEET_QUEUE (docs/scale.md).", err=True)
        raise typer.Exit(2)
    wanted = queues or [HUB, SITES]
    if unknown := sorted(set(wanted) - {HUB, SITES, *chosen.edge_sites}):
        typer.echo(
            f"No run is put into {', '.join(unknown)}: name hub, sites, or a site that CELLFLEET_EDGES lists.",
            err=True,
        )
        raise typer.Exit(2)
    dagster_home(chosen)
    work(wanted, name or socket.gethostname(), processes)


def fetch(
    follow: Annotated[
        float | None, typer.Option(help="Look again each so many seconds, until ended; once where left out.")
    ] = None,
) -> None:
    """Bring the newest published snapshot here, for this machine's dashboards and commands."""
    from warehouse.distribution import fetch as bring

    chosen = settings()
    if not chosen.published:
        typer.echo("Snapshots are published on this machine alone: CELLFLEET_PUBLISHED is not set.", err=True)
        raise typer.Exit(2)
    while True:
        try:
            brought = bring(chosen)
            typer.echo(f"Snapshot {brought.stem} is here." if brought else "Nothing is published yet.")
        except ObjectStorageError as error:
            typer.echo(str(error), err=True)
            if follow is None:
                raise typer.Exit(1) from error
        if follow is None:
            return
        time.sleep(follow)


def dagster_home_command() -> None:
    """Write `dagster.yaml` as the settings want it and print its folder: DAGSTER_HOME of Dagster's own programs."""
    from pipelines.instance import dagster_home

    typer.echo(str(dagster_home(settings())))
