"""`cellfleet quarantine …`, `reprocess`, `findings` and `trace`: what was set aside or is remarkable, where it is from.

What they do is in `pipelines/rereading.py` and `pipelines/trace.py`; here are the words.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from typing import Annotated, Any

import typer

from pipelines.failures import PipelineFailure
from pipelines.harmonise.contract import ContractError
from pipelines.ingest.accounting import AccountingError
from pipelines.runner import Locked, as_json, locked
from pipelines.terminal import Json, OneSite, fail, out, rows, show, snapshot
from pipelines.validation.audit import AuditFailed
from warehouse.settings import settings

app = typer.Typer(no_args_is_help=True, help="Records that could not be read or identified.")


def register(root: typer.Typer) -> None:
    """Add the commands to the command line."""
    root.add_typer(app, name="quarantine")
    for command in (reprocess, findings, trace):
        root.command()(command)


@app.command(name="list")
def quarantine_list(site: OneSite = None, json_output: Json = False) -> None:
    """What waits: open entries by site, feed and reason, how long the oldest has waited, and for whom."""
    where = "WHERE site_id = ?" if site else ""
    told = rows(
        snapshot(settings()),
        f"""SELECT site_id AS site, feed, reason_code, field_name, count(*) AS entries,
                   count(DISTINCT record_id) AS records, max(age_h) / 24 AS oldest_days, owner_role AS waits_for
            FROM mart.quarantine_open {where} GROUP BY ALL ORDER BY ALL""",
        [site] if site else [],
    )
    if json_output:
        typer.echo(as_json(told))
        return
    show("Quarantine, open entries (closed ones: `quarantine show`)", told)


@app.command(name="replay")
def quarantine_replay(
    site: Annotated[str | None, typer.Argument(help="Only this site.")] = None,
    feed: Annotated[str | None, typer.Argument(help="Only this feed of it.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be promoted; write nothing.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Read records with open entries again from the vault and promote what the present contract reads."""
    _reread("replay", site, feed, json_output, only_open=True, apply=not dry_run)


@app.command(name="show")
def quarantine_show(
    subject: Annotated[str, typer.Argument(help="A record's natural key, or its record_id.")],
    json_output: Json = False,
) -> None:
    """Every reason why one record (its natural key, or record_id) was set aside."""
    told = rows(
        snapshot(settings()),
        """SELECT q.*, r.resolution, r.recorded_at AS closed_at, r.contract_version AS closed_under,
                  r.run_id AS closed_by
           FROM quality.quarantine q LEFT JOIN quality.resolution r
           ON r.record_id = q.record_id AND r.reason_code = q.reason_code AND r.field_name = q.field_name
              AND r.quarantined_at = q.recorded_at
           WHERE q.subject = ? OR q.record_id = ? ORDER BY q.recorded_at, q.reason_code, q.field_name, r.recorded_at""",
        [subject, subject],
    )
    if not told:
        raise fail(1, f"Nothing in quarantine is called {subject!r}. See `cellfleet quarantine list`.")
    if json_output:
        typer.echo(as_json(told))
        return
    show(
        f"Quarantine of {subject}",
        told,
        [
            "reason_code",
            "field_name",
            "value_seen",
            "value_wanted",
            "whole_record",
            "source_file",
            "source_row",
            "resolution",
        ],
    )


def reprocess(
    site: Annotated[str, typer.Argument(help="Site, as its contract names it.")],
    feed: Annotated[str, typer.Argument(help="Feed of it.")],
    since: Annotated[
        str, typer.Option(help="Files that the site wrote on this day (UTC) or later, YYYY-MM-DD.")
    ],
    apply: Annotated[
        bool, typer.Option("--apply", help="Supersede; without it the change is only shown.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Derive promoted rows again from the vault under the present contract: what would change, then by superseding."""
    try:
        day = date.fromisoformat(since)
    except ValueError as error:
        raise fail(2, f"--since {since!r} is no day. Write it as 2026-03-05.") from error
    _reread("reprocess", site, feed, json_output, since=day, apply=apply)


def _reread(what: str, site: str | None, feed: str | None, json_output: bool, **how: Any) -> None:
    from pipelines.rereading import reread_feeds

    try:
        with locked(settings(), what):
            told = reread_feeds(settings(), site, feed, **how)
    except Locked as error:
        raise fail(3, str(error)) from error
    except (KeyError, ContractError, FileNotFoundError) as error:
        raise fail(2, str(error.args[0] if isinstance(error, KeyError) else error)) from error
    except (PipelineFailure, AuditFailed, AccountingError) as error:
        raise fail(1, str(error)) from error
    if json_output:
        typer.echo(as_json([asdict(t) for t in told]))
        return
    changed = [t for t in told if t.changes]
    show(
        "Rows by table",
        [
            {"site": t.site, "feed": t.feed, "table": table, **n}
            for t in changed
            for table, n in t.rows.items()
        ],
    )
    show(
        "Quarantine entries",
        [
            {"site": t.site, "feed": t.feed, "entries": f"{n} {word}"}
            for t in changed
            for word, n in [*t.closed.items(), *((f"opened: {code}", n) for code, n in t.opened.items())]
        ],
    )
    if changed and not how["apply"]:
        show("Verdicts whose lots change", [v for t in changed for v in t.verdicts])
        out.print("Nothing was changed." + (" Add --apply to supersede." if what == "reprocess" else ""))
    elif changed:
        out.print(
            "Done, with the reason `contract v…` on each new row. Next: `cellfleet run` finds and publishes."
        )


def findings(
    site: OneSite = None,
    reason: Annotated[str | None, typer.Option(help="Each finding of this reason code.")] = None,
    json_output: Json = False,
) -> None:
    """What is true but remarkable: out of order, out of specification, implausible, changed without notice."""
    conditions = [f"{column} = ?" for column, value in (("site_id", site), ("reason_code", reason)) if value]
    values = [v for v in (site, reason) if v]
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    told = rows(
        snapshot(settings()),
        f"""SELECT site_id AS site, feed, reason_code, severity, subject, detail, source_file, source_row
            FROM quality.finding {where} ORDER BY ALL""",
        values,
    )
    if json_output:
        typer.echo(as_json(told))
        return
    if not reason:
        summary: dict[tuple[str, str, str], int] = {}
        for row in told:
            key = (row["site"], row["reason_code"], row["severity"])
            summary[key] = summary.get(key, 0) + 1
        show(
            "Findings (add --reason CODE for each)",
            [
                {"site": s, "reason_code": r, "severity": v, "findings": n}
                for (s, r, v), n in sorted(summary.items())
            ],
        )
        return
    show("Findings", told)


def trace(
    identifier: Annotated[
        str, typer.Argument(help="Any identifier: order, batch, lot, sample, infusion, record, ...")
    ],
    json_output: Json = False,
) -> None:
    """Where something came from and where it was used: an order, collection, batch, lot, sample, infusion or record."""
    from pipelines.trace import trace as walk

    told = walk(snapshot(settings()), identifier)
    if not told:
        raise fail(
            1,
            f"Nothing is called {identifier!r}: give an order, coi, collection, din, batch, lot, sample, result, "
            "release, deviation, custody event, infusion or record id.",
        )
    if json_output:
        typer.echo(as_json(told))
        return
    show(
        f"Trace of {identifier}",
        told,
        ["way", "steps", "site", "id", "kind", "via", "source_file", "source_row"],
    )
