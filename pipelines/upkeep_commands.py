"""`cellfleet backup`, `restore` and `maintenance`: what they do is in `warehouse/backup.py`, `restore.py` and
`pipelines/maintenance.py`; here are the words."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pipelines.runner import Locked, locked
from warehouse.backup import BackupError, Manifest, Store, back_up
from warehouse.restore import moment, restore, restore_missing
from warehouse.settings import settings

Folder = Annotated[Path | None, typer.Argument(help="The backups' folder; CELLFLEET_BACKUPS where left out.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(name="backup")(backup_command)
    app.command(name="restore")(restore_command)
    app.command(name="maintenance")(maintenance_command)


def backup_command(
    folder: Folder = None,
    keys: Annotated[
        bool,
        typer.Option(
            "--keys", help="Also the keys that sign the ledger and sessions: guard such a backup as them."
        ),
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Make none; read every byte of those there and compare hashes.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")] = False,
) -> None:
    """Save lake, ledger, Dagster's history, accounts, logs and the published snapshot; old backups go by their time."""
    store = _store(folder)
    if verify:
        _verified(store)
        return
    chosen = settings()
    try:
        with locked(chosen, "backup", lock="upkeep"):
            made = back_up(chosen, store.folder, keys=keys)
            forgotten, objects = store.forget(int(chosen.backups_days), int(chosen.backups_months))
    except Locked as error:
        raise _failed(3, error) from error
    except BackupError as error:
        raise _failed(1, error) from error
    if json_output:
        told = {k: v for k, v in asdict(made).items() if k != "files"} | {
            "name": made.name,
            "files": len(made.files),
        }
        typer.echo(json.dumps(told, indent=2))
        return
    typer.echo(
        f"Backup {made.name}: {len(made.files)} files, {made.total_bytes:,} bytes, lake snapshot {made.lake_snapshot}, "
        f"{made.ledger_entries} ledger entries. {forgotten} older backups and {objects} files of theirs were past "
        "their time. The vaults are the sites' own to save."
        + ("" if keys else " Keys are not in it: keep keys/ledger.pem safe elsewhere.")
    )


def restore_command(
    folder: Folder = None,
    at: Annotated[
        str | None,
        typer.Option(help="Bring the lake back as of its last commit until then, e.g. 2026-03-05T06:00:00Z."),
    ] = None,
    missing: Annotated[
        bool, typer.Option("--missing", help="Only the lake's files that are missing or cut; the home stays.")
    ] = False,
    which: Annotated[bool, typer.Option("--list", help="Only say which backups there are.")] = False,
) -> None:
    """Bring a home back from its backup, compared with it by hashes before anything takes its place."""
    store, chosen = _store(folder), settings()
    try:
        if which:
            for made in store.manifests():
                typer.echo(_line(made))
            return
        with locked(chosen, "restore"):
            if missing:
                paths = restore_missing(store, chosen)
                typer.echo(
                    f"{len(paths)} files brought back. Next: `cellfleet run`."
                    if paths
                    else "No file of the lake is missing."
                )
                return
            done = restore(store, chosen, moment(at) if at else None)
    except ValueError as error:
        raise _failed(2, error) from error
    except Locked as error:
        raise _failed(3, error) from error
    except BackupError as error:
        raise _failed(1, error) from error
    typer.echo(
        f"Restored {done.files} files of backup {done.backup.name} into {chosen.home_path}, lake snapshot "
        f"{done.lake_snapshot}: every hash is as it was saved. Next: `cellfleet doctor`."
    )
    for left in done.left:
        typer.echo(f"Not in the backup: {left}.")


def maintenance_command(
    apply: Annotated[
        bool, typer.Option("--apply", help="Remove it; without, only say what would go.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")] = False,
) -> None:
    """Find what is past its time: old snapshots and files of the lake, Dagster runs, pages of audits, logs."""
    from pipelines.maintenance import with_history

    try:
        swept = with_history(settings(), apply=apply)
    except Locked as error:
        raise _failed(3, error) from error
    if json_output:
        typer.echo(json.dumps([asdict(s) for s in swept], indent=2))
        return
    for s in swept:
        typer.echo(f"{s.what}: {s.past} of {s.there} past their time, {s.bytes:,} bytes ({s.rule})")
    typer.echo("Removed." if apply else "Nothing was removed. Run `cellfleet maintenance --apply` to do so.")


def _store(folder: Path | None) -> Store:
    place = folder or (Path(settings().backups) if settings().backups else None)
    if place is None:
        raise _failed(2, "Name the backups' folder, or set CELLFLEET_BACKUPS; it belongs on another disk.")
    return Store(place)


def _verified(store: Store) -> None:
    try:
        made = store.manifests()
    except BackupError as error:
        raise _failed(1, error) from error
    bad = {m.name: paths for m in made if (paths := store.damaged(m))}
    for name, paths in bad.items():
        typer.echo(f"Backup {name}: {len(paths)} files are gone or altered, the first {paths[0]}", err=True)
    if bad or not made:
        raise _failed(
            1,
            f"{len(bad)} of {len(made)} backups in {store.folder} cannot be restored whole: make a new one.",
        )
    typer.echo(f"{len(made)} backups, every byte as saved.")


def _line(made: Manifest) -> str:
    return (
        f"{made.name}  lake snapshot {made.lake_snapshot} of {made.lake_committed_at}, {made.ledger_entries} ledger "
        f"entries, {made.total_bytes:,} bytes, cellfleet {made.cellfleet}"
    )


def _failed(code: int, told: object) -> typer.Exit:
    typer.echo(f"{told}", err=True)
    return typer.Exit(code)
