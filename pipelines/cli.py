"""The `cellfleet` command: each command is a few lines that call the part that knows.

Every message ends with what to do next. `docs/commands.md` is rendered from here.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

import duckdb
import typer
from rich.console import Console
from rich.table import Table

from pipelines.command_groups import GROUPS, Groups
from pipelines.failures import PipelineFailure
from pipelines.formats.protocol import Options, UnreadableFile
from pipelines.harmonise.contract import ContractError, load_contract
from pipelines.ingest.accounting import AccountingError
from pipelines.machine_commands import dagster_home_command, fetch, worker
from pipelines.real_files import contract_paths
from pipelines.runner import Locked, as_json, locked, status
from pipelines.upkeep_commands import register as register_upkeep
from pipelines.validation.audit import AuditFailed
from warehouse import logs
from warehouse.lake import LakeError
from warehouse.object_storage import ObjectStorageError
from warehouse.plan import PlanError
from warehouse.publish import newest
from warehouse.settings import Settings, SettingsError, settings
from warehouse.trouble import in_words

EXIT_CODES = {
    0: "Done.",
    1: "Something in the data, the lake or a run failed; the message says what, and what to do.",
    2: "Wrong use, a wrong setting or a refused contract; nothing was started.",
    3: "Another run holds the lock of this home; the message says which.",
}
app = typer.Typer(
    cls=Groups,
    no_args_is_help=True,
    add_completion=False,
    help="Is the product made here the same as the product made there?",
)
site_app = typer.Typer(no_args_is_help=True, help="Contracts: check, preview, scaffold.")
quarantine_app = typer.Typer(no_args_is_help=True, help="Records that could not be read or identified.")
app.add_typer(site_app, name="site")
app.add_typer(quarantine_app, name="quarantine")
app.command()(worker)
app.command()(fetch)
app.command(name="dagster-home")(dagster_home_command)
register_upkeep(app)
out = Console(width=int(os.environ.get("COLUMNS", "120")))
err = Console(stderr=True)
OneSite = Annotated[str | None, typer.Option("--site", help="Only of this site.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")]


def fail(code: int, sentence: str) -> typer.Exit:
    """Say what is wrong and what to do; the exit code goes with it."""
    err.print(sentence, style="red", highlight=False, markup=False)
    return typer.Exit(code)


def snapshot(chosen: Settings) -> duckdb.DuckDBPyConnection:
    """The published snapshot, read-only. Exits where there is none yet."""
    path = newest(chosen.published_path)
    if path is None:
        raise fail(1, f"Nothing is published in {chosen.published_path}. Run `cellfleet run` first.")
    con = duckdb.connect(str(path), read_only=True)
    # What is shown is logged under the run that published it.
    published_by = con.execute("SELECT value FROM meta.snapshot WHERE fact = 'run_id'").fetchone()
    logs.bind_contextvars(run_id=published_by[0] if published_by else None)
    return con


def rows(
    con: duckdb.DuckDBPyConnection, sql: str, parameters: list[Any] | None = None
) -> list[dict[str, Any]]:
    """Rows of a query as dictionaries."""
    cursor = con.execute(sql, parameters or [])
    names = [d[0] for d in cursor.description or []]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def show(title: str, told: list[dict[str, Any]], columns: list[str] | None = None) -> None:
    """Print rows as a table; an empty one says so."""
    if not told:
        out.print(f"{title}: nothing.")
        return
    table = Table(title=title, title_justify="left")
    names = columns or list(told[0])
    for name in names:
        numeric = isinstance(told[0].get(name), int | float)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in told:
        table.add_row(
            *(
                "" if row[n] is None else f"{row[n]:.4g}" if isinstance(row[n], float) else str(row[n])
                for n in names
            )
        )
    out.print(table)


@app.command()
def simulate(
    scale: Annotated[str, typer.Option(help="tiny, demo or large.")] = "demo",
    seed: Annotated[int, typer.Option(help="Another seed, another fleet.")] = 1,
    next_day: Annotated[
        bool, typer.Option("--next-day", help="Let the existing fleet live one more day.")
    ] = False,
) -> None:
    """Write the demo fleet's own exports (synthetic), with a truth file that only `score` reads."""
    from pipelines.simulator import next_day as live_on
    from pipelines.simulator import simulate as write

    sources = settings().sources_path
    if next_day:
        if not sources.exists():
            raise fail(2, f"There is no fleet in {sources} yet. Run `cellfleet simulate` first.")
        live_on(sources)
        out.print("The fleet lived one more day. Next: `cellfleet run`.")
        return
    try:
        write(sources, scale=scale, seed=seed, progress=out.print)
    except ValueError as error:
        raise fail(2, str(error)) from error
    out.print(f"Wrote the {scale} fleet (synthetic, seed {seed}) to {sources}. Next: `cellfleet run`.")


@app.command()
def run(
    site: Annotated[
        list[str] | None, typer.Option(help="Only these sites (the fleet's part always runs).")
    ] = None,
) -> None:
    """Bring in what is new from every site, then findings, marts and the snapshot, as real Dagster runs."""
    from pipelines.runner import run as execute

    known = [path.parent.name for path in contract_paths(settings())]
    if unknown := [name for name in site or [] if name not in known]:
        raise fail(2, f"No contract for {', '.join(unknown)}; there are {', '.join(known)}.")
    try:
        with locked(settings(), "run"):
            done = execute(settings(), site, out.print)
    except Locked as error:
        raise fail(3, str(error)) from error
    except LakeError as error:
        raise fail(1, str(error)) from error
    failed = [r for r in done if not r.success]
    if failed:
        jobs = ", ".join(r.job for r in failed)
        raise fail(
            1,
            f"{len(failed)} of {len(done)} runs failed: {jobs}. The rest went on; see `cellfleet status`, "
            "and the run page in the Dagster UI.",
        )
    out.print(f"{len(done)} runs done. Next: `cellfleet verdicts`, or `cellfleet serve`.")


@app.command(name="publish")
def publish_command() -> None:
    """Publish the lake as it stands as the next snapshot."""
    from pipelines.publication import publish_fleet

    try:
        with locked(settings(), "publish"):
            done = publish_fleet(settings(), "command-line")
    except Locked as error:
        raise fail(3, str(error)) from error
    except (LakeError, ObjectStorageError, PlanError) as error:
        raise fail(1, str(error)) from error
    out.print(f"Published snapshot {done.number}: {done.path}. Next: `cellfleet verdicts`.")


@app.command(name="status")
def status_command(json_output: Json = False) -> None:
    """What every site sent and what became of it."""
    con = snapshot(settings())
    feeds = status(con)
    if json_output:
        number = rows(con, "SELECT value FROM meta.snapshot WHERE fact = 'number'")
        typer.echo(as_json({"snapshot": int(number[0]["value"]), "feeds": feeds}))
        return
    show("Accounting: received = promoted + superseded + duplicate + quarantined", feeds)
    refused = rows(
        con,
        "SELECT site_id, feed, source_file, refusal FROM raw.file WHERE file_state = 'refused' ORDER BY ALL",
    )
    show("Files that could not be read (kept in the vault)", refused)


VERDICT_COLUMNS = (
    "attribute, reference, site, verdict, reason, design, scale, estimate, ci_low, ci_high, margin_low, margin_high, "
    "n_reference, n_site, lots_needed, method, snapshot, plan_version, plan_lock, sentence"
)


@app.command()
def verdicts(json_output: Json = False) -> None:
    """Is the product made there the same as at the reference site? One row a site and attribute."""
    told = rows(
        snapshot(settings()), f"SELECT {VERDICT_COLUMNS} FROM mart.comparability ORDER BY attribute, site"
    )
    if json_output:
        typer.echo(as_json(told))
        return
    show("Comparability (routine lots by the plan's design; `cellfleet comparability explain` says more)", told,
         ["attribute", "site", "verdict", "reason", "estimate", "ci_low", "ci_high", "margin_low", "margin_high",
          "n_reference", "n_site", "lots_needed"])  # fmt: skip


@quarantine_app.command(name="list")
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


@quarantine_app.command(name="replay")
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


@app.command()
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


@quarantine_app.command(name="show")
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


@app.command()
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


@app.command()
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


@app.command()
def evidence(
    subject: Annotated[str, typer.Argument(help="A batch (or SITE/BATCH), a plan's id, or the word verify.")],
    file: Annotated[Path | None, typer.Argument(help="With verify: the pack to check.")] = None,
    out_file: Annotated[
        Path | None, typer.Option("--out", help="Where to write the pack; <subject>.evidence.zip by default.")
    ] = None,
    known: Annotated[
        datetime | None,
        typer.Option(
            "--as-known",
            formats=["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S.%f%z"],
            help="As the lake knew it at this time, such as 2026-03-05T00:00:00Z; the newest snapshot by default.",
        ),
    ] = None,
    key: Annotated[str | None, typer.Option(help="With verify: the ledger's public key in hex.")] = None,
    rerun: Annotated[
        bool, typer.Option("--rerun/--no-rerun", help="With verify: compute the results again from the lake.")
    ] = True,
) -> None:
    """Write an evidence pack about a batch or a plan, or check one: hashes, proofs, and the results computed again."""
    from pipelines.evidence import EvidenceError, check, pack

    try:
        if subject != "verify":
            target = out_file or Path(f"{subject.replace('/', '-')}.evidence.zip")
            target.write_bytes(pack(settings(), subject, known))
            out.print(f"Wrote {target}. Check it with `cellfleet evidence verify {target}`.")
            return
        if file is None or not file.is_file():
            raise fail(2, "Give the pack to check: `cellfleet evidence verify FILE`.")
        told = check(file.read_bytes(), settings() if rerun else None, key)
    except (EvidenceError, LakeError) as error:
        raise fail(1, str(error)) from error
    for sentence in told.holds:
        out.print(sentence, highlight=False, markup=False)
    if not told.ok:
        raise fail(1, "\n".join(told.fails))


@app.command()
def score(
    seeds: Annotated[
        str | None,
        typer.Option(help="Simulate, run and score whole fleets of these seeds, e.g. 2-6 or 2,3,9."),
    ] = None,
    scale: Annotated[str, typer.Option(help="Scale of these fleets.")] = "tiny",
    homes: Annotated[
        Path | None, typer.Option(help="Folder of their homes; what lies there scored is not run again.")
    ] = None,
    write: Annotated[Path | None, typer.Option(help="Write the pooled table to this page.")] = None,
    json_output: Json = False,
) -> None:
    """Compare what was found with what the simulator planted."""
    chosen = settings()
    if seeds is not None:
        _score_seeds(seeds, scale, homes or chosen.home_path / "trials", write)
        return
    if not (chosen.sources_path / "truth.json").exists():
        raise fail(
            2,
            f"No truth file in {chosen.sources_path}: only a simulated fleet can be scored. "
            "Run `cellfleet simulate` first.",
        )
    from pipelines.simulator.score import score as compute_score

    told = compute_score(chosen.sources_path, snapshot(chosen))
    if json_output:
        typer.echo(as_json(told))
        return
    show(
        "Planted defects",
        [
            {"class": name, **{k: v for k, v in entry.items() if not isinstance(v, dict | list)}}
            for name, entry in told["defects"].items()
        ],
    )
    show("Planted excursions of cultures", [told["watch"]["excursions"]])
    show("Planted drifts", told["watch"]["drifts"])
    out.print_json(json.dumps(told["verdicts"], default=str))


def _score_seeds(seeds: str, scale: str, homes: Path, write: Path | None) -> None:
    from pipelines.simulator.trials import TrialFailed, page, trials

    chosen: list[int] = []
    for part in seeds.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise fail(2, f"--seeds {seeds!r} is no list of seeds. Write it as 2-6 or 2,3,9.")
        chosen += range(int(first), int(last or first) + 1)
    try:
        scores = trials(homes, scale, chosen, err.print)
    except TrialFailed as error:
        raise fail(1, str(error)) from error
    told = page(scores, scale)
    if write is None:
        typer.echo(told)
        return
    write.parent.mkdir(parents=True, exist_ok=True)
    write.write_text(told, encoding="utf-8")
    out.print(f"Wrote {write}.")


@app.command()
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


@app.command()
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


@site_app.command(name="check")
def site_check(
    contract: Annotated[
        Path | None, typer.Argument(help="A defs.yaml or its folder; all sites where left out.")
    ] = None,
) -> None:
    """Check contracts against the dictionary: file, line, what is wrong, the mend."""
    folder = settings().sites_path
    paths = (
        [contract / "defs.yaml" if contract.is_dir() else contract]
        if contract
        else contract_paths(settings())
    )
    if not paths:
        raise fail(2, f"No contract in {folder}. Start one with `cellfleet site new`.")
    bad = 0
    for path in paths:
        try:
            checked = load_contract(path)
        except FileNotFoundError as error:
            raise fail(2, f"{path} does not exist. Give a `defs.yaml` or the folder it lies in.") from error
        except ContractError as error:
            bad += 1
            for problem in error.problems:
                err.print(problem, style="red", markup=False, highlight=False)
        else:
            out.print(
                f"{path}: {checked.site_id} is sound ({len(checked.feeds)} feeds, version {checked.version_hash})"
            )
    if bad:
        raise fail(2, f"{bad} of {len(paths)} contracts are refused. Mend the lines above and check again.")


@app.command()
def listen(
    site: Annotated[str, typer.Argument(help="The site, by the name of its folder.")],
    system: Annotated[str | None, typer.Option(help="Which, where the site has several.")] = None,
) -> None:
    """Hear a site's edge nodes (MQTT Sparkplug B) until stopped; `cellfleet run` takes in what was heard."""
    from pipelines.failures import PermanentFailure
    from pipelines.listen import listen as hear

    try:
        hear(settings(), site, system, lambda told: print(told, flush=True))
    except (PermanentFailure, ContractError) as error:
        raise fail(2 if isinstance(error, ContractError) else 1, str(error)) from error


@site_app.command(name="preview")
def site_preview(
    site: Annotated[str, typer.Argument(help="Site, as its contract names it.")],
    feed: Annotated[str, typer.Argument(help="Feed of that contract.")],
    limit: Annotated[int, typer.Option(help="How many records to read.")] = 20,
    json_output: Json = False,
) -> None:
    """Read a sample of a feed and show field by field what would become of it. Changes nothing."""
    from pipelines.preview import preview

    told = preview(settings(), site, feed, limit)
    if json_output:
        typer.echo(as_json(told))
        return
    show(
        f"{site}/{feed}: {told['records']} records read, {told['would_promote']} would be promoted",
        told["fields"],
    )
    show("Would be quarantined", told["quarantined"])
    for refusal in told["refused_files"]:
        out.print(f"{told['file']} would be set aside: {refusal}")


@site_app.command(name="new")
def site_new(
    site: Annotated[str, typer.Argument(help="Name of the new site: small letters, digits, _.")],
) -> None:
    """Write a commented contract to start from."""
    from pipelines.scaffold import scaffold

    path = scaffold(settings().sites_path, site)
    out.print(f"Wrote {path}. Fill it in, then `cellfleet site check {path}`.")


@app.command()
def doctor() -> None:
    """Check this installation end to end and say what to do."""
    from pipelines.doctor import examine

    told = examine(settings())
    show("Doctor", [{"check": d.check, "state": "ok" if d.ok else "PROBLEM", "said": d.said} for d in told])
    if not all(d.ok for d in told):
        raise fail(1, "Mend what is marked PROBLEM; each line says how.")


@app.command()
def migrate(
    apply: Annotated[
        bool, typer.Option("--apply", help="Back up and apply; without it only the plan is shown.")
    ] = False,
) -> None:
    """Bring an older lake to this version's format: plan, backup, apply. A newer lake is refused."""
    from warehouse.migrate import migrate as bring

    try:
        with locked(settings(), "migrate"):
            for line in bring(settings(), apply=apply):
                out.print(line)
    except Locked as error:
        raise fail(3, str(error)) from error
    except LakeError as error:
        raise fail(1, str(error)) from error


@app.command()
def serve() -> None:
    """Serve the Dagster UI and the dashboards until Ctrl-C."""
    from pipelines.serving import OpenToOthers, PortTaken, serve_until_interrupt

    try:
        asked = serve_until_interrupt(settings(), out.print)
    except (OpenToOthers, PortTaken) as error:
        raise fail(2, str(error)) from error
    if not asked:
        raise fail(
            1,
            "One of the two ended by itself. Read its log, mend what it says, then `cellfleet serve` again.",
        )


@app.command()
def demo(
    serve_after: Annotated[
        bool, typer.Option("--serve/--no-serve", help="Serve when it is done, until Ctrl-C.")
    ] = True,
    scale: Annotated[str, typer.Option(help="tiny, demo or large.")] = "demo",
) -> None:
    """The whole demo: simulate, run, publish, say what to look at, and serve."""
    from pipelines.demo import demo as whole
    from pipelines.serving import OpenToOthers, PortTaken

    try:
        good = whole(settings(), scale, serve_after, out)
    except (OpenToOthers, PortTaken) as error:
        raise fail(2, str(error)) from error
    except Locked as error:
        raise fail(3, str(error)) from error
    if not good:
        raise fail(1, "A run failed that should not have; see above and the run page.")


@app.command(name="verify-statistics")
def verify_statistics(
    cases: Annotated[
        Path | None, typer.Option(help="Folder of reference cases; the shipped ones where left out.")
    ] = None,
    json_output: Json = False,
) -> None:
    """Run published reference values through the statistics, live."""
    from warehouse.verification.run import as_json as rendered
    from warehouse.verification.run import verify

    try:
        checks = verify(cases)
    except ValueError as error:
        raise fail(2, f"{error} Name a folder that holds cases with --cases.") from error
    if json_output:
        typer.echo(rendered(checks))
    else:
        by_status: dict[str, int] = {}
        for c in checks:
            by_status[c.status] = by_status.get(c.status, 0) + 1
        show(
            "Not as published",
            [
                {"case": c.case, "key": c.key, "got": c.got, "want": c.want, "status": c.status}
                for c in checks
                if not c.ok
            ],
        )
        out.print(f"{len(checks)} values: " + ", ".join(f"{n} {s}" for s, n in sorted(by_status.items())))
    if not all(c.ok for c in checks):
        raise typer.Exit(1)


def main() -> None:
    """Entry point; turns the errors a user can mend into one sentence."""
    started, code = time.perf_counter(), 0
    words = [w for w in sys.argv[1:3] if w.isidentifier() or w == "verify-statistics"]
    groups = {*GROUPS, *(group.name for group in app.registered_groups)}
    logs.bind_contextvars(command=" ".join(words[: 2 if words[:1] and words[0] in groups else 1]))
    told: dict[str, str] = {}
    try:
        settings()
    except SettingsError as error:
        raise SystemExit(fail(2, str(error)).exit_code) from error
    try:
        app()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
        raise
    except (LakeError, ObjectStorageError) as error:
        code = 1
        raise SystemExit(f"{error}") from error
    except BaseException as error:
        code, told = 1, logs.error_told(error)
        if isinstance(error, Exception) and (words_for_it := in_words(str(error))) is not None:
            raise SystemExit(words_for_it) from error
        raise
    finally:
        seconds = round(time.perf_counter() - started, 2)
        logs.logger(settings()).info("command ended", exit_code=code, seconds=seconds, **told)


if __name__ == "__main__":
    main()
