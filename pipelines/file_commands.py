"""`cellfleet read` and `gates`: one file by itself, as a contract would read it.

What they do is in `pipelines/formats`; here are the words.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.formats.protocol import Options, UnreadableFile
from pipelines.runner import as_json
from pipelines.terminal import Json, fail, out, show


def register(root: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (read, gates):
        root.command()(command)


def read(
    file: Annotated[Path, typer.Argument(help="The file, of any format that is read.")],
    format_name: Annotated[
        str | None, typer.Option("--format", help="Format; recognised by content where left out.")
    ] = None,
    tz: Annotated[str | None, typer.Option(help="Time zone of times printed without one.")] = None,
    json_output: Json = False,
) -> None:
    """Read one file as a contract would, and print records, flags and refusals."""
    from pipelines.formats.registry import read_file

    try:
        options = Options(zone=tz)
    except ValueError as error:
        raise fail(2, f"Unknown time zone {tz!r}; use an IANA name such as Europe/Berlin.") from error
    try:
        with tempfile.TemporaryDirectory(prefix="cellfleet-read-") as scratch:
            told = read_file(_to_read(file, Path(scratch)), format_name, options)
    except KeyError as error:
        raise fail(2, str(error.args[0])) from error
    except UnreadableFile as error:
        if json_output:
            refused = [
                {
                    "source_row": None,
                    "field": None,
                    "value": None,
                    "reason": "file_unreadable",
                    "mend": f"{error.problem} {error.mend}",
                }
            ]
            typer.echo(as_json({"format": format_name, "records": [], "flags": [], "refused": refused}))
            raise typer.Exit(1) from error
        raise fail(1, f"{error.problem} {error.mend}") from error
    if json_output:
        records = told.records.to_dicts()
        flags, refused = [vars(f) for f in told.flags], [vars(r) for r in told.refused]
        whole = {"format": told.format, "received": told.received, "header": told.header}
        typer.echo(as_json(whole | {"records": records, "flags": flags, "refused": refused}))
        return
    out.print(
        f"{file.name}: {told.format}, {told.received} records, {len(told.flags)} flags, {len(told.refused)} refused"
    )
    show("Records (first 20)", told.records.head(20).to_dicts())
    show("Flags", [vars(f) for f in told.flags])
    show("Refused", [vars(r) for r in told.refused])


def _to_read(file: Path, scratch: Path) -> Path:
    """The file, or of an archive that is no format of its own (zip, gz) the one that it holds."""
    from pipelines.formats.registry import recognise
    from pipelines.ingest.unpack import NotUnpackedError, only_member

    if recognise(file) is not None:
        return file
    try:
        return only_member(file, scratch) or file
    except NotUnpackedError as error:
        problem, _, mend = str(error).partition(". ")
        raise UnreadableFile(file, "archive", problem, mend) from error


def gates(
    fcs: Annotated[Path, typer.Argument(help="The FCS file.")],
    by: Annotated[Path, typer.Argument(help="A Gating-ML 2.0 document or a FlowJo workspace (.wsp).")],
    ratio: Annotated[
        str | None, typer.Option(help="Two gates, by name or path, whose events are divided: 'CD4+:CD8+'.")
    ] = None,
    json_output: Json = False,
) -> None:
    """Apply gates to an FCS file: events and shares with each gate's path, compensation and method."""
    from pipelines.formats.gating_ml import gate_counts

    try:
        rows = gate_counts(fcs, by).to_dicts()
    except UnreadableFile as error:
        raise fail(1, f"{error.problem} {error.mend}") from error
    told: dict[str, Any] = {"gates": rows}
    if ratio:
        counts = {row[key]: row["events"] for key in ("gate", "gate_path") for row in rows}
        over, colon, under = (part.strip() for part in ratio.partition(":"))
        if not colon or {over, under} - counts.keys() or not counts[under]:
            raise fail(
                2, f"--ratio {ratio!r}: write two gates with events, as 'A:B', of {', '.join(counts)}."
            )
        told["ratio"] = {"of": f"{over}:{under}", "value": round(counts[over] / counts[under], 4)}
    if json_output:
        typer.echo(as_json(told))
        return
    show(f"Gates of {by.name} on {fcs.name}", rows)
    if ratio:
        out.print(f"{told['ratio']['of']} = {told['ratio']['value']}")
