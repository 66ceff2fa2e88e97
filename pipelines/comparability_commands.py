"""`cellfleet comparability …`: the plan and its lock, any comparison made anew with all that stands behind it, power.

Belongs here: words in and out. Does not belong here: what a lock means (`warehouse.plan_lock`), which lots stand on a
side and how they are compared (`warehouse.marts`), statistics.
"""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Annotated, Any

import duckdb
import typer
import yaml
from pydantic import ValidationError

from pipelines import comparability_other_designs as other_designs
from pipelines.assay_commands import assays_command
from pipelines.comparability_planner import Question, enough_words, planner_words
from pipelines.comparability_words import explained
from pipelines.runner import Locked, as_json, locked
from warehouse import lake, plan_lock
from warehouse.dictionary.render import quoted
from warehouse.marts import comparability, designs, families, ranges
from warehouse.plan import Fleet, PlanError, PlannedAttribute, load_plan
from warehouse.plan_new import NothingToPlanError, Seen, scaffold
from warehouse.publish import newest
from warehouse.settings import settings
from warehouse.statistics.means import summarise
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.statistics.scales import margin_on_scale

app = typer.Typer(
    no_args_is_help=True, help="The comparability plan, its lock, and what stands behind a verdict."
)
plan_app = typer.Typer(no_args_is_help=True, help="The plan: new, show, lock before data, unlock.")
app.add_typer(plan_app, name="plan")
app.command(name="assays")(assays_command)
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


@plan_app.command(name="new")
def plan_new_command(
    out: Annotated[
        Path | None, typer.Option(help="File to write, never an existing one; else print.")
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="Reference site; else the one with most lots.")
    ] = None,
    attribute: Annotated[
        list[str] | None, typer.Option(help="Only these attributes of the dictionary.")
    ] = None,
    plan_id: Annotated[str, typer.Option("--id", help="Number of the plan in your records.")] = "CP-1",
    name: Annotated[str, typer.Option(help="The fleet as people say it.")] = "Our fleet",
    json_output: Json = False,
) -> None:
    """A first plan from the published results; margins are left open, for they are a decision of yours."""
    with _snapshot() as (con, _):
        rows = con.execute(
            "SELECT attribute, sample_point, list(DISTINCT method_id), site_id, count(DISTINCT batch_id) FROM "
            "snap.mart.assay_long WHERE sample_point IS NOT NULL GROUP BY attribute, sample_point, site_id ORDER BY ALL"
        ).fetchall()
    seen: dict[tuple[str, str], Seen] = {}
    for what, point, methods, site, lots in rows:
        before = seen.get((what, point), Seen(what, point, (), {}))
        named = {*before.methods, *(m for m in methods if m is not None)}
        seen[what, point] = Seen(what, point, tuple(sorted(named)), before.lots | {site: lots})
    try:
        text = scaffold(
            list(seen.values()), name=name, plan_id=plan_id, dated=datetime.now(UTC).date(), reference=reference,
            attributes=attribute or (),
        )  # fmt: skip
    except NothingToPlanError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    if out is not None:
        if out.exists():
            typer.echo(f"{out} exists already and is not overwritten; name another file.", err=True)
            raise typer.Exit(2)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
        with told():
            load_plan(out)
    if json_output:
        typer.echo(as_json({"file": str(out) if out else None, "plan": yaml.safe_load(text)}))
    else:
        typer.echo(f"Written to {out}: give the margins, then lock it." if out else text.rstrip())


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
        how = f"adjusted for {', '.join(a.covariates)}" if a.covariates else a.design
        typer.echo(f"  {name} ({a.criticality}, {a.scale}, {how}): {margin}{spread}. {a.rationale}")
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


Attribute = Annotated[str, typer.Argument(help="Attribute of the plan.")]
Site = Annotated[str, typer.Argument(help="Site to compare with the reference.")]
# Lots of one or both sides, and donors of a split study, that the power table is given for.


@contextmanager
def _snapshot() -> Iterator[tuple[duckdb.DuckDBPyConnection, int]]:
    """The newest snapshot attached as `snap`, and its number."""
    chosen = settings()
    path = newest(chosen.published_path)
    if path is None:
        typer.echo(f"Nothing is published in {chosen.published_path}. Run `cellfleet run` first.", err=True)
        raise typer.Exit(1)
    with duckdb.connect() as con:
        con.execute(f"ATTACH {quoted(str(path))} AS snap (READ_ONLY)")
        found = con.execute("SELECT value FROM snap.meta.snapshot WHERE fact = 'number'").fetchone()
        yield con, int(found[0]) if found else 0


@contextmanager
def _published() -> Iterator[tuple[comparability.Lots, int]]:
    """All lots of the newest snapshot under the plan of fleet.yaml, and the snapshot's number."""
    chosen, fleet = settings(), fleet_plan()
    with _snapshot() as (con, number):
        try:
            yield (
                comparability.read_lots(
                    con,
                    "snap",
                    fleet,
                    alpha=float(chosen.alpha),
                    power=float(chosen.power),
                    from_snapshot=True,
                ),
                number,
            )
        except duckdb.CatalogException as error:
            typer.echo(f"The snapshot is of an older release ({error}). Run `cellfleet publish`.", err=True)
            raise typer.Exit(1) from error


def _planned(fleet: Fleet, attribute: str) -> PlannedAttribute:
    if attribute not in fleet.plan.attributes:
        listed = ", ".join(fleet.plan.attributes)
        typer.echo(f"The plan has no attribute {attribute!r}; it has {listed}.", err=True)
        raise typer.Exit(2)
    return fleet.plan.attributes[attribute]


def _sites_of(lots: comparability.Lots) -> list[str]:
    return sorted({site for _, _, site in lots.sides} - {lots.fleet.reference_site})


@app.command(name="run")
def run_command(
    attribute: Annotated[list[str] | None, typer.Option(help="Only these attributes of the plan.")] = None,
    site: Annotated[list[str] | None, typer.Option(help="Only these sites.")] = None,
    design: Annotated[
        str | None,
        typer.Option(help="routine or adjusted, in place of the plan's: shown, and decides nothing."),
    ] = None,
    covariates: Annotated[str | None, typer.Option(help="For adjusted: names separated by commas.")] = None,
    json_output: Json = False,
) -> None:
    """Make the comparisons anew from the newest snapshot, by the plan or by another design."""
    with told(), _published() as (lots, snapshot):
        told_rows = []
        wanted = attribute or list(lots.fleet.plan.attributes)
        for name in wanted:
            a = _other(_planned(lots.fleet, name), design, covariates)
            for where in site or _sites_of(lots):
                _known(lots, where)
                judged = comparability.judged(lots, name, where, a)
                told_rows.append(_full(lots, judged, snapshot))
    if json_output:
        typer.echo(as_json(told_rows))
        return
    for row in told_rows:
        typer.echo(f"{row['attribute']} x {row['site']}: {row['sentence']}")


@app.command(name="explain")
def explain_command(attribute: Attribute, site: Site, json_output: Json = False) -> None:
    """Everything behind one verdict: numbers, analyses beside it, assumptions, each lot's influence, lots needed."""
    with told(), _published() as (lots, snapshot):
        _planned(lots.fleet, attribute)
        _known(lots, site)
        judged = comparability.judged(lots, attribute, site)
        row = _full(lots, judged, snapshot)
        row["characteristics"] = _characteristics(lots, judged)
        row["ranges"] = ranges.ranges_of(lots, attribute, site)
        row["families"] = _families(lots, attribute, site)
        row["network"] = [
            n for n in families.network_rows(lots, _sites_of(lots), attribute) if n["site"] == site
        ]
        row["variance"] = _variance(attribute, judged.measured_as)
        pulled = comparability.influence_of(lots, judged)
        row["influence"] = [
            {
                "lot": i.unit,
                "shift_in_se": i.shift,
                "place_without": i.place,
                "changes_place": i.changes,
                "why": i.why,
            }
            for i in pulled
        ]
    if json_output:
        typer.echo(as_json(row))
        return
    for line in explained(row):
        typer.echo(line)


@app.command(name="power")
def power_command(
    attribute: Attribute,
    true: Annotated[float, typer.Option(help="True difference on the scale.")] = 0.0,
    sd: Annotated[float | None, typer.Option(help="SD of lots on the scale; else the reference's.")] = None,
    history: Annotated[int, typer.Option(help="Historical reference lots of a split study.")] = 10,
    assay_sd: Annotated[
        float | None, typer.Option(help="SD of one assay on the scale: donors against assay replicates.")
    ] = None,
    success: Annotated[
        float | None, typer.Option(help="Share of lots that succeed (0 to 1): power for failed lots too.")
    ] = None,
    success_margin: Annotated[float, typer.Option(help="Margin of that share either way.")] = 0.2,
    events: Annotated[
        float | None,
        typer.Option(help="Events (deviations) a lot of the reference: power for their rate too."),
    ] = None,
    rate_margin: Annotated[float, typer.Option(help="Largest ratio of rates, either way.")] = 2.0,
    covariates: Annotated[
        int | None,
        typer.Option(
            min=0, help="Covariates adjusted for, else the plan's; --sd is then what they leave over."
        ),
    ] = None,
    sites: Annotated[
        int | None, typer.Option(min=2, help="So many sites judged at once against the reference.")
    ] = None,
    other_tests: Annotated[
        bool, typer.Option("--other-tests", help="Exact ranks, Wellek's t, ratio of arithmetic means too.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Chance of `comparable` by lots of a new site or split donors, and how many it takes: means, spread, size."""
    with told(), _published() as (lots, _):
        a = _planned(lots.fleet, attribute)
        reference = lots.fleet.reference_site
        most = max((lots.of(attribute, m, reference) for m in a.measured_by), key=lambda s: len(s.used))
        if a.margin is None:
            typer.echo(f"The plan has no margin for {attribute}; power needs one.", err=True)
            raise typer.Exit(2)
        n = len(most.used)
        try:
            spread = sd or summarise(most.values, a.scale, top=designs.top_of(a.scale), what="reference").sd
        except StatisticsRefusal as error:
            typer.echo(f"{error} Give --sd.", err=True)
            raise typer.Exit(1) from error
        # An SD given by hand is taken as known; the reference's has its own error, which assurance averages over.
        question = Question(
            limits=margin_on_scale(a.margin, a.scale), spread_limit=a.spread_margin, sd=spread,
            sd_df=inf if sd else n - 1.0, n_reference=n, history=history, true=true, alpha=lots.alpha,
            power=lots.power,
        )  # fmt: skip
        try:
            table, enough = question.table(), question.enough()
            if assay_sd is not None:
                table += question.trade_off(assay_sd)
            if success is not None:
                table += question.of_shares(success, success_margin)
                table += other_designs.shares_of_pairs(question, success, success_margin)
            for part, needs in _others(question, a, covariates, sites, (events, rate_margin), other_tests):
                table, enough = [*table, *part], [*enough, *needs]
        except StatisticsRefusal as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(2) from error
    limits = question.limits
    if json_output:
        head = {"attribute": attribute, "scale": a.scale, "sd": spread, "true": true, "alpha": lots.alpha}
        head |= {"margin_low": limits.low, "margin_high": limits.high, "power": lots.power}
        typer.echo(as_json(head | {"table": table, "enough": enough}))
        return
    typer.echo(
        f"{attribute}: margin {limits.low:.4g} to {limits.high:.4g} on the {a.scale} scale, SD of lots {spread:.4g}, "
        f"true difference {true:g}."
    )
    for row in table:
        typer.echo(f"  {planner_words(row)}")
    for need in enough:
        typer.echo(enough_words(need, lots.power))


def _others(
    question: Question, a: PlannedAttribute, covariates: int | None, sites: int | None,
    events: tuple[float | None, float], tests: bool,
) -> Iterator[other_designs.Rows]:  # fmt: skip
    number = len(a.covariates) if covariates is None else covariates
    if number:
        yield other_designs.covariates(question, number)
    if sites is not None:
        yield other_designs.several_sites(question, sites)
    if events[0] is not None:
        yield other_designs.rates(question, events[0], events[1])
    if tests:
        yield other_designs.other_tests(question, log_scale=a.scale == "log")


# True differences, in margins, at which the chance of `comparable` is told.
CURVE = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)


def _characteristics(lots: comparability.Lots, judged: comparability.Judged) -> list[dict[str, Any]]:
    """Chance of `comparable` at the lots in hand over the true difference."""
    margin = judged.plan.margin
    if margin is None or not judged.like:
        return []
    limits = margin_on_scale(margin, judged.plan.scale)
    told = []
    for part in CURVE:
        chance = designs.chance(judged.compared, judged.plan, true=part * limits.high, alpha=lots.alpha)
        if chance is not None:
            told.append({"true_in_margins": part, "true": part * limits.high, "chance_comparable": chance})
    return told


def _families(lots: comparability.Lots, attribute: str, site: str) -> list[dict[str, Any]]:
    """The attribute's place in each family that holds it."""
    plan = lots.fleet.plan
    names = {n for f in plan.families if attribute in f.attributes for n in f.attributes}
    made = [comparability.judged(lots, n, site) for n in plan.attributes if n in names]
    holding = [f for f in plan.families if attribute in f.attributes]
    rows = families.family_rows(lots, made, holding)
    return [row for row in rows if row["attribute"] == attribute]


def _variance(attribute: str, measured_as: str) -> list[dict[str, Any]]:
    """The split of the variance over the fleet as the snapshot tells it."""
    with _snapshot() as (con, _):
        found = con.execute(
            "SELECT component, share, sd FROM snap.mart.variance_component WHERE attribute = ? AND measured_as = ? "
            "AND share IS NOT NULL ORDER BY share DESC",
            [attribute, measured_as],
        ).fetchall()
    return [{"component": c, "share": share, "sd": sd} for c, share, sd in found]


def _known(lots: comparability.Lots, site: str) -> None:
    if site not in _sites_of(lots):
        listed = ", ".join(_sites_of(lots)) or "none"
        typer.echo(f"No lots of a site {site!r} beside the reference; there are {listed}.", err=True)
        raise typer.Exit(2)


def _other(a: PlannedAttribute, design: str | None, covariates: str | None) -> PlannedAttribute | None:
    """The attribute under another design; None where the plan's own is meant."""
    if design is None and covariates is None:
        return None
    names = [c.strip() for c in covariates.split(",")] if covariates else list(a.covariates)
    chosen = design or "adjusted"
    try:
        changed = PlannedAttribute.model_validate(
            a.model_dump() | {"design": chosen, "covariates": names if chosen == "adjusted" else ()}
        )
    except ValidationError as error:
        for problem in error.errors():
            typer.echo(str(problem["msg"]).removeprefix("Value error, "), err=True)
        raise typer.Exit(2) from error
    return None if changed == a else changed


def _full(lots: comparability.Lots, judged: comparability.Judged, snapshot: int) -> dict[str, Any]:
    """A verdict's row with its method, parameters, analyses and assumptions."""
    row = comparability.row_of(lots, judged)
    declared = judged.plan == lots.fleet.plan.attributes[judged.attribute]
    if not declared:
        row["sentence"] = f"Not by the plan's design, so it decides nothing. {row['sentence']}"
    beside = [comparability.analysis_row(judged, a) for a in judged.analyses(lots.alpha)]
    told_of = {"assumptions", "attribute", "site"}
    bridge = lots.fleet.plan.bridge(judged.attribute, lots.fleet.reference_site, judged.site)
    return row | {
        "snapshot": snapshot,
        "declared": declared,
        "alpha": lots.alpha,
        "power": lots.power,
        "interval": judged.judgement.interval,
        "reading": judged.judgement.reading,
        "reference_lots": [lot.batch_id for lot in judged.ref.used],
        "site_lots": [lot.batch_id for lot in judged.new.used],
        "left_out": {"reference": len(judged.ref.left_out), "site": len(judged.new.left_out)},
        "laboratories": {"reference": sorted(judged.ref.labs), "site": sorted(judged.new.labs)},
        "bridging": bridge.model_dump() if bridge else None,
        "variability": asdict(judged.compared.ratio) if judged.compared.ratio else None,
        "assumptions": [s for a in judged.analyses(lots.alpha)[:1] for s in a.assumptions],
        "analyses": [{k: v for k, v in b.items() if k not in told_of} for b in beside],
    }
