"""The `cellfleet` command: each command is a few lines that call the part that knows.

Every message ends with what to do next. `docs/commands.md` is rendered from here.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from pipelines import file_commands, record_commands, site_commands, upkeep_commands
from pipelines.command_groups import GROUPS, Groups
from pipelines.machine_commands import dagster_home_command, fetch, worker
from pipelines.real_files import contract_paths
from pipelines.runner import Locked, as_json, locked, status
from pipelines.terminal import Json, err, fail, out, rows, show, snapshot
from warehouse import logs
from warehouse.lake import LakeError
from warehouse.object_storage import ObjectStorageError
from warehouse.plan import PlanError
from warehouse.settings import SettingsError, settings
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


app.command()(worker)
app.command()(fetch)
app.command(name="dagster-home")(dagster_home_command)
for module in (site_commands, record_commands, file_commands, upkeep_commands):
    module.register(app)


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
