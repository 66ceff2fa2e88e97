"""`make demo`: simulate, run, publish, say what to look at (what is synthetic, what is red), serve."""

from __future__ import annotations

import resource
import time
from pathlib import Path

import duckdb
from rich.console import Console

from pipelines.chart_freezing import NotAllowed, approve, approver, freeze
from pipelines.logbook import heads_of
from pipelines.runner import Ran, locked, run, status
from pipelines.serving import require_free, require_guarded, serve_until_interrupt, urls
from pipelines.simulator import simulate
from pipelines.terminal import show
from warehouse import lake, plan_lock
from warehouse.plan import load_plan
from warehouse.publish import newest
from warehouse.settings import Settings

QUERIES = (
    "SELECT site, attribute, verdict, reason, lots_needed FROM mart.comparability ORDER BY site, attribute;",
    "SELECT site_id, count(*) AS batches, avg(fold_expansion) FROM mart.batch_wide GROUP BY site_id;",
    "SELECT reason_code, count(*) FROM quality.quarantine GROUP BY reason_code ORDER BY 2 DESC;",
    "SELECT * FROM as_of_batch(TIMESTAMPTZ '2999-01-01') LIMIT 5;  -- any table, as it was known then",
)


def demo(chosen: Settings, scale: str, serve_after: bool, out: Console) -> bool:
    """Run the demo; returns whether every run that should succeed did. Raises Locked, OpenToOthers or PortTaken."""
    started = time.perf_counter()
    if serve_after:
        require_guarded(chosen)
        require_free(int(chosen.dagster_port), "CELLFLEET_DAGSTER_PORT")
        require_free(int(chosen.dashboards_port), "CELLFLEET_DASHBOARDS_PORT")
    with locked(chosen, "demo"):
        laps: dict[str, float] = {}
        if not (chosen.sources_path / "truth.json").exists():
            simulate(chosen.sources_path, scale=scale, progress=out.print)
        laps["simulate"] = time.perf_counter() - started
        lock_plan(chosen, out)
        done = run(chosen, None, out.print, lambda: _limits(chosen, out))
        laps["run and publish"] = time.perf_counter() - started - laps["simulate"]
    summary(chosen, done, out)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    took = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in laps.items())
    out.print(f"Took {time.perf_counter() - started:.1f} s ({took}); peak memory {memory:.0f} MB.")
    if serve_after:
        serve_until_interrupt(chosen, out.print)
    return all(r.success for r in done)


def lock_plan(chosen: Settings, out: Console) -> None:
    """Lock the plan before the sites' results are brought in, as a fleet would. A changed plan is left to its owner."""
    fleet = load_plan(chosen.sites_path / "fleet.yaml")
    try:
        with lake.opened(chosen) as con:
            plan_lock.lock(con, fleet, by=f"{fleet.plan.approved_by_role} (demo)")
    except plan_lock.LockError as error:
        out.print(f"The plan stays as it is locked: {error}", markup=False)


def _limits(chosen: Settings, out: Console) -> None:
    """What people would do: freeze the control charts' limits and approve them. Later demos find them done."""
    try:
        frozen = freeze(
            chosen, role="Process engineer", because="Declared baseline complete (simulated act)."
        )
    except NotAllowed as error:
        out.print(str(error), highlight=False, markup=False)
        return
    role = approver(chosen)
    approve(chosen, role=role, because="Baseline reviewed (simulated act).")
    out.print(f"Limits of {len(frozen)} phases of control charts frozen, and approved by {role} (simulated).")


def summary(chosen: Settings, done: list[Ran], out: Console) -> None:
    """Print what a newcomer should look at."""
    path = newest(chosen.published_path)
    if path is None:
        out.print("Nothing was published; see the failed runs above.")
        return
    link = _short(chosen.published_path / "fleet.duckdb")
    with duckdb.connect(str(path), read_only=True) as con:
        feeds = status(con)
        verdicts = con.execute(
            "SELECT attribute, site, verdict, reason, n_reference, n_site, lots_needed "
            "FROM mart.comparability ORDER BY attribute, site"
        ).fetchall()
        synthetic = con.execute("SELECT value FROM meta.snapshot WHERE fact = 'data'").fetchone()
        benches = [
            site
            for (site,) in con.execute(
                "SELECT site_id FROM core.site WHERE site_role = 'bench' ORDER BY ALL"
            ).fetchall()
        ]
        chains = con.execute(
            "SELECT replace(verdict, '_', ' '), count(*) FROM mart.custody_chain GROUP BY 1 ORDER BY 2 DESC, 1"
        ).fetchall()
        ready = con.execute(
            "SELECT readiness, count(*) FROM mart.release_readiness GROUP BY 1 ORDER BY 2 DESC, 1"
        ).fetchall()
        first = con.execute(
            "SELECT min(batch_id) FROM mart.release_readiness WHERE readiness = 'blocked' AND infused_at IS NOT NULL"
        ).fetchone()
        example = first[0] if first and first[0] else "BATCH"
        red = con.execute(
            "SELECT site, attribute FROM mart.comparability WHERE verdict = 'not comparable' "
            "ORDER BY abs(estimate / margin_high) DESC LIMIT 1"
        ).fetchone()
    show("Accounting: received = promoted + superseded + duplicate + quarantined", feeds)
    names = ["attribute", "site", "verdict", "reason", "n_reference", "n_site", "lots_needed"]
    show(
        "Verdicts (routine lots by the plan's design)",
        [dict(zip(names, row, strict=True)) for row in verdicts],
    )
    out.rule("cellfleet")
    if synthetic and synthetic[0] == "synthetic":
        out.print(
            "Everything shown is SYNTHETIC: patients, batches and results were drawn by a simulator "
            "from published ranges."
        )
    if benches:
        out.print(
            f"Not synthetic: {', '.join(benches)} holds real files that nobody here wrote. "
            "They are accounted for above and never compared."
        )
    for name, url in urls(chosen).items():
        out.print(f"{name}: {url}")
    if chosen.access == "open":
        out.print("The dashboards are open to this machine only; `docs/access.md` says how readers sign in.")
    if red:
        out.print(
            f"The red thing to click: {red[0]} × {red[1]} on the dashboards' first page. In the Dagster UI: "
            "the check `files_readable`, which fails where a site renamed a column."
        )
    out.print(
        f"Chains of identity and custody: {_counted(chains)}. Batches: {_counted(ready)}. Try `cellfleet trace "
        f"{example}` and `cellfleet evidence {example}`."
    )
    signed = heads_of(chosen.ledger_path)
    if signed:
        out.print(
            f"Ledger: {signed[-1].size:,} entries under a head signed {signed[-1].at[:16]}Z, root "
            f"{signed[-1].root[:16]}…; check it with `cellfleet ledger audit`."
        )
    out.print(f"Four lines to paste after `duckdb {link}`:")
    for query in QUERIES:
        out.print(f"  {query}", highlight=False, markup=False)
    failed = [r for r in done if not r.success]
    for r in failed:
        out.print(f"FAILED {r.job}: {r.problem}", style="red", markup=False)


def _counted(rows: list[tuple[str, int]]) -> str:
    return ", ".join(f"{n} {word}" for word, n in rows) or "none"


def _short(path: Path) -> Path:
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path
