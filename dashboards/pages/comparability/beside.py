"""What stands beside the verdicts of an attribute: none of it changes one.

Belongs here: panels and tables. Does not belong here: the verdict and its lots (`page.py`), drawing (`figures/`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dash import html
from dash.development.base_component import Component

from dashboards.components import states
from dashboards.components.graph import graph
from dashboards.components.panel import panel, stacks
from dashboards.components.sent import sent
from dashboards.components.table import Column, Table, html_table, number
from dashboards.components.verdict import verdict
from dashboards.components.words import attribute_words, plain, unit
from dashboards.facts.comparison import Member, PlanEntry, Pull, Verdict
from dashboards.figures.looks import looks as looks_figure
from dashboards.figures.shares import shares
from dashboards.providers.comparison import ComparisonProvider
from dashboards.providers.fleet import FleetProvider
from dashboards.shell.visit import Visit, batch_href


@dataclass(frozen=True)
class Beside:
    """One panel: its words, its columns, its rows, which table they come from, and what to say where there are none."""

    name: str
    title: str
    told: str
    columns: tuple[Column, ...]
    rows: Callable[[ComparisonProvider, Visit, str], Sequence[Any]]
    computed: str
    none: str

    def table(self, visit: Visit, attribute: str) -> Table:
        """Its rows, with the site by name."""
        names = {s.id: s.name for s in visit.snapshot.sites}
        found = self.rows(ComparisonProvider(visit.snapshot), visit, attribute)
        return Table(self.name, self.columns, [_named(row, names) for row in found])


def _titled(members: Sequence[Member], visit: Visit) -> list[dict[str, Any]]:
    """Members of families, their attribute as the plan calls it."""
    plan = {p.attribute: p.title for p in FleetProvider(visit.snapshot).plan(visit.scope)}
    return [vars(m) | {"title": plan.get(m.attribute, m.attribute)} for m in members]


def _named(row: Any, names: dict[str, str]) -> dict[str, Any]:
    told = row if isinstance(row, dict) else vars(row)
    return {**told, **{f"{k}_name": names.get(told[k], told[k]) for k in ("site", "of_site") if k in told}}


def _between(low: str, high: str) -> Callable[[dict[str, Any]], Any]:
    def words(row: dict[str, Any]) -> Any:
        ends = row[low], row[high]
        told = "" if None in ends else f"{number(ends[0])} to {number(ends[1])}"
        return html.Span(told, className="cf-nowrap")

    return words


def _unit(row: dict[str, Any]) -> Any:
    """A lot left out, as a way to its batch; a donor has none."""
    if not row["href"]:
        return row["unit_left_out"]
    return html.Span(html.A(row["unit_left_out"], href=row["href"]), className="cf-nowrap")


def _linked(pulls: Sequence[Pull], visit: Visit) -> list[dict[str, Any]]:
    """Lots with the address of their batch."""
    return [
        vars(p) | {"href": batch_href(visit, p.unit_site, p.unit_left_out) if p.unit_site else None}
        for p in pulls
    ]


SITE = Column("site_name", "Site")
RANGES = Beside(
    "ranges",
    "Ranges of the lots",
    "In the attribute's unit. A quality range is the reference's; the plan says how many of a site's lots must "
    "lie in it.",
    (
        SITE,
        Column("range", "Range"),
        Column("of_site_name", "Drawn from"),
        Column("low", "From", digits=4),
        Column("high", "to", digits=4),
        Column("n", "n"),
        Column(
            "n_inside", "Inside", cell=lambda r: f"{r['n_inside']}/{r['n_judged']}" if r["n_judged"] else ""
        ),
        Column(
            "passes", "Enough", cell=lambda r: "" if r["passes"] is None else "yes" if r["passes"] else "no"
        ),
        Column("chance_if_same", "Chance if alike"),
        Column("chance_at_margin", "Chance at the margin"),
        Column("note", "Why there is none"),
    ),
    lambda p, v, a: p.ranges(v.scope, a),
    "Tolerance: a range that holds the share of lots that the plan names with the confidence that it names, "
    "exactly, on "
    "the attribute's scale. Next lots: a prediction range. Chance: that a site passes the quality range which is "
    "alike, "
    "or a whole margin away. Table mart.comparability_range",
    "The plan asks for no ranges of this attribute.",
)
ANALYSES = Beside(
    "analyses",
    "What other analyses say",
    "One decides, by the plan; the others show how much that choice matters. On the analysis scale.",
    (
        SITE,
        Column("analysis", "Analysis"),
        Column(
            "decides",
            "Decides",
            cell=lambda r: html.Span("● decides", className="cf-nowrap") if r["decides"] else "",
        ),
        Column("estimate", "Estimate"),
        Column("ci_low", "90 % interval", cell=_between("ci_low", "ci_high")),
        Column("n_site", "n", cell=lambda r: f"{r['n_site']}/{r['n_reference']}" if r["n_site"] else ""),
        Column("place", "Against the margin"),
        Column("probability_inside", "Probability inside"),
        Column("rule_size", "Wrongly so at the margin"),
        Column("note", "Note"),
    ),
    lambda p, v, a: p.analyses(v.scope, a),
    "Unadjusted, pooled variance, exact ranks, without flagged outliers, without terminated lots, on the plain "
    "scale; the probability is a flat prior's posterior and a companion only: beside the deciding one stands how "
    "often 0.95 or more of it would be met by a true difference at the margin. Table mart.comparability_analysis",
    "No site is compared on this attribute.",
)
TOGETHER = Beside(
    "together",
    "All sites at once",
    "Intervals that hold for every site together, so each is wider than the one that decides.",
    (
        SITE,
        Column("sites", "Sites"),
        Column("estimate", "Estimate"),
        Column("low", "Interval", cell=_between("low", "high")),
        Column("inside", "Inside the margin"),
        Column("all_inside", "Every site"),
        Column("all_pairs_inside", "Every pair"),
        Column("site_share", "Share between sites"),
        Column("site_share_upper", "at most"),
        Column("wellek_p", "Wellek's p"),
        Column("pooled_estimate", "Partially pooled"),
        Column("pooled_low", "90 % of it", cell=_between("pooled_low", "pooled_high")),
        Column("probability_inside", "Probability inside"),
        Column("pooled_rule_size", "Wrongly so at the margin"),
        Column("probability_all_inside", "of all"),
        Column("note", "Why there is none"),
    ),
    lambda p, v, a: p.together(v.scope, a),
    "Dunnett's simultaneous intervals against the reference with a pooled spread, every pair by "
    "intersection-union, the "
    "share of a lot's variance between sites with its upper 95 % limit, Wellek's F test. From four sites on, means "
    "partially pooled (a Bayesian companion, which decides nothing) with the posterior probability that a site, and "
    "that all, lie inside the margin; beside it how often 0.95 or more of it would be met by a site at the margin "
    "while the others are like the reference. Lots as they are. "
    "Table mart.comparability_network",
    "Fewer than two sites measured this attribute as the reference did.",
)
FAMILIES = Beside(
    "families",
    "Families of attributes",
    "What may be said of several attributes together, as the plan declares it.",
    (
        SITE,
        Column("family", "Family"),
        Column("claim", "Claim", cell=lambda r: f"{r['claim']} ({r['adjustment']})"),
        Column("title", "Attribute"),
        Column("verdict", "By itself", cell=lambda r: verdict(r["verdict"])),
        Column("p_comparable", "p"),
        Column("p_adjusted", "p adjusted"),
        Column("holds", "Holds"),
        Column(
            "family_verdict",
            "The family",
            cell=lambda r: verdict(r["family_verdict"]) if r["family_verdict"] else "",
        ),
    ),
    lambda p, v, a: _titled(p.families(v.scope), v),
    "All: comparable where every attribute is (intersection-union, nothing to adjust). Each: single ones may be called "
    "comparable, with p-values adjusted as the plan says. Table mart.comparability_family",
    "The plan declares no families.",
)
FAILED = Beside(
    "failed",
    "Lots that failed",
    "Terminated or rejected lots are outcomes too; a site that fails more often is not the same.",
    (
        SITE,
        Column("n", "Lots"),
        Column("n_failed", "Failed"),
        Column("share", "Share"),
        Column("difference", "Against the reference"),
        Column("low", "90 % interval", cell=_between("low", "high")),
        Column("n_deviations", "Deviations"),
        Column("rate_ratio", "Times as many a lot"),
        Column("rate_low", "90 % of that", cell=_between("rate_low", "rate_high")),
    ),
    lambda p, v, a: p.failed(v.scope),
    "Share of lots with a known end or state, its difference with Miettinen and Nurminen's score interval; deviations "
    "a lot over the reference's with the exact interval of a ratio of Poisson rates. Table mart.failed_lots",
    "No lots are told of.",
)
BELOW = Beside(
    "below",
    "Attributes below detection",
    "A result below detection stays one; it never becomes half the limit.",
    (
        Column("attribute", "Attribute", cell=lambda r: attribute_words(r["attribute"])),
        SITE,
        Column("n", "Results"),
        Column("n_below", "Below"),
        Column("highest_limit", "Limit"),
        Column("unit", "Unit", cell=lambda r: unit(r["unit"])),
        Column("mle_median", "Median"),
        Column("ros_mean", "Mean, order statistics"),
        Column("km_mean", "Mean, Kaplan-Meier"),
        Column("ratio", "Ratio to the reference"),
        Column("ratio_low", "90 % interval", cell=_between("ratio_low", "ratio_high")),
        Column("note", "Why there is none"),
    ),
    lambda p, v, a: p.below_detection(v.scope),
    "Lognormal maximum likelihood, regression on order statistics, Kaplan-Meier; the ratio by a Tobit model with "
    "random "
    "batches. Where nearly all results are below detection the median is a guess of the law, and its interval is wide. "
    "Table mart.censored_fit",
    "No attribute has results below detection.",
)
LOOKS = Beside(
    "looks",
    "How the verdict came about",
    "Each month's interval, in margins, at the level spent on that look: watching does not make a verdict likelier.",
    (
        SITE,
        Column("month", "After the lots of", cell=lambda r: f"{r['month']:%Y-%m}"),
        Column("n_site", "n", cell=lambda r: f"{r['n_site']}/{r['n_reference']}" if r["n_site"] else ""),
        Column("fraction", "Share of the lots planned"),
        Column("nominal", "Level of this look"),
        Column("estimate", "Estimate"),
        Column("ci_low", "Interval", cell=_between("ci_low", "ci_high")),
        Column("verdict", "Verdict", cell=lambda r: verdict(r["verdict"])),
    ),
    lambda p, v, a: p.looks(v.scope, a),
    "Group sequential: the error is spent over the looks as the plan says, so that the chance of ever calling a true "
    "difference at the margin comparable stays at the plan's level. Table mart.comparability_look",
    "The plan does not have this attribute watched.",
)
SPREAD = Beside(
    "spread",
    "What the spread is made of",
    "Over the whole fleet: how much of it is the patient's, how much the site's, the vector lot's, the assay's.",
    (
        Column("measured_as", "Measured as", cell=lambda r: attribute_words(r["measured_as"])),
        Column("component", "Part", cell=lambda r: plain(r["component"])),
        Column("levels", "Levels"),
        Column("sd", "Standard deviation"),
        Column("sd_low", "95 % interval", cell=_between("sd_low", "sd_high")),
        Column("share", "Share"),
        Column("n_batches", "Batches"),
        Column("refusal", "Why it cannot be told"),
    ),
    lambda p, v, a: p.spread(v.scope, a),
    "Crossed random intercepts by restricted maximum likelihood, intervals by profile likelihood, on the "
    "analysis scale. "
    "Table mart.variance_component",
    "It is told to readers who may see every site's figures, where there are results enough.",
)
INFLUENCE = Beside(
    "influence",
    "Which lots drive the difference",
    "The comparison again, each time without one lot, or one donor of a split study: those that pull most.",
    (
        SITE,
        Column("unit_left_out", "Without", cell=_unit),
        Column("shift_in_se", "Moves by, standard errors"),
        Column("place_without", "Then lies"),
        Column(
            "changes_place",
            "Elsewhere",
            cell=lambda r: (
                html.Span("◆ yes", className="cf-verdict cf-unsure") if r["changes_place"] else "no"
            ),
        ),
        Column("note", "Why there is none"),
    ),
    lambda p, v, a: _linked(p.influence(v.scope, a), v),
    "Leave one out: the estimate and its 90 % interval from all lots but one. Where it would lie elsewhere against the "
    "margin, the verdict hangs on that lot. Lots of sites that you may not see are left out of this table. "
    "Table mart.comparability_influence",
    "No lot's or donor's influence on this attribute is told.",
)
ALL = (LOOKS, SPREAD, RANGES, TOGETHER, ANALYSES, FAMILIES, FAILED, BELOW, INFLUENCE)


def panels(visit: Visit, entry: PlanEntry, verdicts: Sequence[Verdict]) -> list[Any]:
    """All of them, for one attribute."""
    # Made once a scope: they are two thirds of the page, and no control of it but the attribute changes them.
    return visit.snapshot.kept(
        visit.scope,
        ("beside", entry.attribute),
        lambda: [sent(part) for part in _panels(visit, entry, verdicts)],
    )


def _panels(visit: Visit, entry: PlanEntry, verdicts: Sequence[Verdict]) -> list[Component]:
    return [
        html.H2("Beside the verdict", className="cf-between"),
        html.P(
            "None of this changes a verdict. Ranges and families are the plan's, as margins are.",
            className="cf-told",
        ),
        stacks(
            [_panel(LOOKS, visit, entry, _looks_graph(visit, entry, verdicts)), _panel(FAILED, visit, entry)],
            [_panel(SPREAD, visit, entry, _spread_graph(visit, entry)), _panel(INFLUENCE, visit, entry)],
        ),
        # Their tables are as wide as the page.
        html.Div(
            [_panel(part, visit, entry, wide=True) for part in (RANGES, ANALYSES, TOGETHER, FAMILIES, BELOW)],
            className="cf-panels",
        ),
    ]


def _panel(
    part: Beside, visit: Visit, entry: PlanEntry, drawn: Component | None = None, *, wide: bool = False
) -> Component:
    table = part.table(visit, entry.attribute)
    if not table.rows:
        body: Any = states.empty(part.none)
    elif drawn is not None:
        body = [drawn, html.Details([html.Summary("Show data"), _shown(part, table)])]
    else:
        body = _shown(part, table)
    return panel(
        part.name,
        part.title,
        part.told,
        body,
        csv=visit.csv("comparability", part.name, attr=entry.attribute),
        computed=f"{part.computed}, snapshot {visit.snapshot.number}.",
        wide=wide,
    )


def _shown(part: Beside, table: Table) -> Component:
    """The table without columns that have nothing to say here; the CSV has them all."""
    kept = tuple(c for c in table.columns if any(r.get(c.key) is not None for r in table.rows))
    return html_table(Table(table.name, kept, table.rows), part.title, long=True)


def _looks_graph(visit: Visit, entry: PlanEntry, verdicts: Sequence[Verdict]) -> Component | None:
    if not verdicts:
        return None
    names = {s.id: s.name for s in visit.snapshot.sites}
    found = ComparisonProvider(visit.snapshot).looks(visit.scope, entry.attribute)
    rows = [(v.site, [look for look in found if look.site == v.site]) for v in verdicts]
    rows = [(site, told) for site, told in rows if any(look.estimate is not None for look in told)]
    if not rows:
        return None
    said = "; ".join(f"{names.get(site, site)}: {told[-1].verdict} at the last look" for site, told in rows)
    figure = looks_figure(rows, names, verdicts[0].in_margins)
    return graph("looks", figure, f"Intervals by month of {entry.title}. {said}. The data are below.")


def _spread_graph(visit: Visit, entry: PlanEntry) -> Component | None:
    found = ComparisonProvider(visit.snapshot).spread(visit.scope, entry.attribute)
    rows = [
        (attribute_words(measured), [s for s in found if s.measured_as == measured and s.share is not None])
        for measured in dict.fromkeys(s.measured_as for s in found)
    ]
    rows = [(measured, parts) for measured, parts in rows if parts]
    if not rows:
        return None
    said = "; ".join(
        f"{measured}: " + ", ".join(f"{plain(s.component)} {100 * (s.share or 0):.0f} %" for s in parts)
        for measured, parts in rows
    )
    return graph("spread", shares(rows), f"Parts of the spread. {said}.")


def _csv(part: Beside) -> Callable[[Visit], Table]:
    def table(visit: Visit) -> Table:
        """Every column, the ends of intervals each in its own."""
        plan = [p.attribute for p in FleetProvider(visit.snapshot).plan(visit.scope)]
        asked = visit.get("attr")
        made = part.table(visit, asked if asked in plan else (plan or [""])[0])
        keys = [k for k in made.rows[0] if k != "href"] if made.rows else [c.key for c in made.columns]
        titles = {c.key: c for c in made.columns if c.cell is None}
        return Table(made.name, tuple(titles.get(k, Column(k, plain(k))) for k in keys), made.rows)

    return table


TABLES = {part.name: _csv(part) for part in ALL}
