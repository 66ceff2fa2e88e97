"""What a dossier says: that of a batch, that of the comparability plan, and that of some of its sites and attributes.

Belongs here: words and rows of the snapshot open as `con`. Does not belong here: what is computed (`warehouse/marts`),
layout (`typeset.py`), charts, which whoever asks hands in as SVG.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import duckdb

from warehouse.reports.tables import has
from warehouse.reports.typeset import Part, Report, word

OF_BATCH = "WHERE site_id = $site AND batch_id = $batch"
SECTIONS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    (
        "Blockers",
        ("code", "subject", "what", "since"),
        f"SELECT code, subject, detail, since FROM mart.release_blocker {OF_BATCH} ORDER BY code, subject",
    ),
    (
        "Results",
        ("attribute", "point", "result", "unit", "low", "high", "passes", "at"),
        "SELECT attribute, sample_point, coalesce(value_as_given, result_code), unit_as_given, low, high, passes, "
        f"result_at FROM mart.assay_long {OF_BATCH} ORDER BY sample_point, attribute, replicate, result_id",
    ),
    (
        "Pending after release",
        ("attribute", "outcome", "due", "result at", "given before"),
        "SELECT attribute, outcome, due_at, result_at, given_before FROM mart.release_pending "
        f"{OF_BATCH} ORDER BY attribute",
    ),
    (
        "Custody",
        ("at", "what", "giver", "receiver", "place", "Cel", "checked by two", "wrong"),
        "SELECT happened_at, custody_kind, from_party, to_party, place, custody_temperature_c, verified_by_two, "
        "reasons FROM mart.custody_step WHERE order_site_id = $site AND order_id = $order ORDER BY place_in_chain",
    ),
    (
        "Made from and given as",
        ("kind", "from", "to"),
        "SELECT genealogy_kind, parent_id, child_id FROM mart.genealogy WHERE site_id = $site "
        "AND $batch IN (parent_id, child_id) ORDER BY ALL",
    ),
    (
        "Deviations",
        ("id", "class", "cause", "opened", "closed"),
        "SELECT deviation_id, deviation_class, cause, opened_at, closed_at FROM core.deviation "
        f"{OF_BATCH} ORDER BY deviation_id",
    ),
)
VERDICT_NAMES = (
    "attribute",
    "site",
    "verdict",
    "reason",
    "estimate",
    "low",
    "high",
    "margin low",
    "margin high",
    "lots",
)
VERDICTS = (
    "SELECT attribute, site, verdict, replace(reason, '_', ' '), estimate, "
    "ci_low, ci_high, margin_low, margin_high, n_site "
    "FROM mart.comparability"
)
# Parts of a comparability dossier about one attribute, and about all: heading, table, column titles, query.
OF_ATTRIBUTE: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    (
        "Verdicts",
        "mart.comparability",
        ("site", "verdict", "reason", "design", "estimate", "90 % low", "high", "lots", "of reference", "more lots"),
        "SELECT site, verdict, replace(reason, '_', ' '), design, estimate, "
        "ci_low, ci_high, n_site, n_reference, lots_needed "
        "FROM mart.comparability WHERE attribute = $attribute AND site = ANY($sites) ORDER BY site",
    ),
    (
        "Ranges",
        "mart.comparability_range",
        ("site", "range", "of", "low", "high", "lots", "inside", "judged", "passes", "why there is none"),
        "SELECT site, range, of_site, low, high, n, n_inside, n_judged, passes, note FROM mart.comparability_range "
        "WHERE attribute = $attribute AND site = ANY($sites) ORDER BY site, range",
    ),
    (
        "Other analyses, which decide nothing",
        "mart.comparability_analysis",
        ("site", "analysis", "decides", "estimate", "low", "high", "lots", "of reference", "place"),
        "SELECT site, analysis, decides, estimate, ci_low, ci_high, n_site, n_reference, place "
        "FROM mart.comparability_analysis WHERE attribute = $attribute AND site = ANY($sites) ORDER BY ALL",
    ),
)  # fmt: skip
OF_ALL: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    (
        "Families of attributes",
        "mart.comparability_family",
        ("site", "family", "claim", "adjustment", "attribute", "p", "p adjusted", "holds", "family's verdict"),
        "SELECT site, family, claim, adjustment, attribute, p_comparable, p_adjusted, holds, family_verdict "
        "FROM mart.comparability_family WHERE site = ANY($sites) AND attribute = ANY($attributes) "
        "ORDER BY site, family, attribute",
    ),
    (
        "All sites at once",
        "mart.comparability_network",
        ("attribute", "site", "sites", "estimate", "low", "high", "inside", "between sites", "at most", "why none"),
        "SELECT attribute, site, sites, estimate, low, high, inside, site_share, site_share_upper, note "
        "FROM mart.comparability_network WHERE site = ANY($sites) AND attribute = ANY($attributes) ORDER BY ALL",
    ),
    (
        "Lots that failed",
        "mart.failed_lots",
        ("site", "lots", "failed", "share", "difference", "90 % low", "high", "method"),
        "SELECT site, n, n_failed, share, difference, low, high, method FROM mart.failed_lots "
        "WHERE site = ANY($sites) ORDER BY site",
    ),
    (
        "Attributes below detection",
        "mart.censored_fit",
        ("attribute", "site", "unit", "results", "below", "median", "mean", "ratio", "90 % low", "high", "why none"),
        "SELECT attribute, site, unit, n, n_below, mle_median, mle_mean, ratio, ratio_low, ratio_high, note "
        "FROM mart.censored_fit WHERE site = ANY($sites) ORDER BY attribute, site",
    ),
    (
        "What the spread is made of",
        "mart.variance_component",
        ("attribute", "measured as", "component", "levels", "sd", "95 % low", "high", "share", "why none"),
        "SELECT attribute, measured_as, component, levels, sd, sd_low, sd_high, share, refusal "
        "FROM mart.variance_component WHERE attribute = ANY($attributes) ORDER BY attribute, measured_as, share DESC "
        "NULLS LAST, component",
    ),
    (
        "Every lot",
        "mart.comparability_lots",
        ("attribute", "site", "batch", "value", "unit", "counts", "left out because", "harvest, UTC", "file", "row"),
        "SELECT attribute, site, batch_id, value, unit, used, left_out_because, lot_at, source_file, source_row "
        "FROM mart.comparability_lots WHERE site = ANY($sites) AND attribute = ANY($attributes) "
        "AND (lot_at IS NULL OR lot_at >= $since AND lot_at < $until) "
        "ORDER BY attribute, measured_as, site, lot_at, batch_id",
    ),
)  # fmt: skip
FIRST, LAST = datetime(1900, 1, 1, tzinfo=UTC), datetime(2999, 1, 1, tzinfo=UTC)
Row = dict[str, Any]


@dataclass(frozen=True)
class Choice:
    """What a reader wants a comparability dossier of: sites, attributes, and the days whose lots are listed."""

    sites: tuple[str, ...]
    attributes: tuple[str, ...]
    first: date | None = None
    last: date | None = None

    @property
    def values(self) -> dict[str, Any]:
        """Parameters of the queries; days are whole ones in UTC, the last included."""
        since = datetime.combine(self.first, time(), UTC) if self.first else FIRST
        until = datetime.combine(self.last + timedelta(days=1), time(), UTC) if self.last else LAST
        return {
            "sites": list(self.sites),
            "attributes": list(self.attributes),
            "since": since,
            "until": until,
        }

    @property
    def days(self) -> str:
        """The window in words."""
        if self.first is None and self.last is None:
            return "all lots"
        ends = ((" from", self.first), (" to", self.last))
        return "lots harvested" + "".join(f"{word} {day}" for word, day in ends if day)


def batch_report(
    con: duckdb.DuckDBPyConnection,
    about: Mapping[str, str],
    facts: Mapping[str, str],
    *,
    cover: Sequence[tuple[str, Any]] = (),
    pictures: Sequence[str] = (),
) -> Report:
    """The dossier of one batch. `about`: site, batch, order; `pictures`: its results, as SVG."""
    ready = _rows(
        con, "SELECT * FROM mart.release_readiness WHERE site_id = $site AND batch_id = $batch", about
    )[0]
    chain = next(
        iter(
            _rows(con, "SELECT * FROM mart.custody_chain WHERE site_id = $site AND order_id = $order", about)
        ),
        {},
    )
    verdict = {
        "ready": "Ready for a decision: nothing on record blocks it.",
        "terminated": "Terminated.",
    }.get(ready["readiness"], f"Blocked by {ready['n_blockers']}.")
    said: list[Sequence[Any]] = [
        ("Readiness", verdict),
        ("Judged at", ready["evaluated_at"]),
        ("Specification", f"{word(ready['spec_id'])} version {word(ready['spec_version'])}"),
        ("Fleet's release rule", ready["rule_version"]),
        ("Decision on record", ready["decision"]),
        ("Signed", ready["signed_at"]),
        ("Let go despite", ready["let_go_despite"]),
        ("Out-of-specification path", ready["oos_path"]),
        ("After release", ready["after_release"]),
        ("Chain of identity and custody", chain.get("verdict")),
        ("Condition", chain.get("condition")),
        ("Later changes of results", ready["changes"]),
        ("of these without a reason", ready["changes_unexplained"]),
        *cover,
    ]
    parts = [Part("Facts", ("what", "is"), said)]
    if pictures:
        parts.append(Part("Results against their limits", pictures=pictures))
    parts += [Part(heading, names, _values(con, sql, about)) for heading, names, sql in SECTIONS]
    return Report(f"Batch {about['batch']} of {about['site']}", _of(facts), parts, signed=bool(cover))


def study_report(con: duckdb.DuckDBPyConnection, facts: Mapping[str, str]) -> Report:
    """The verdicts of the plan."""
    parts = [Part("Verdicts", VERDICT_NAMES, _values(con, f"{VERDICTS} ORDER BY attribute, site"))]
    return Report(f"Comparability by plan {_plan(con)}", _of(facts), parts)


def comparability_report(
    con: duckdb.DuckDBPyConnection,
    choice: Choice,
    facts: Mapping[str, str],
    *,
    cover: Sequence[tuple[str, Any]],
    pictures: Mapping[tuple[str, str], Sequence[str]],
) -> Report:
    """The comparability dossier of some sites and attributes.

    `pictures` by attribute and kind (`difference`, `lots`), as SVG. Verdicts rest on all lots of the plan; the window
    chooses which lots are listed and drawn, and the dossier says so.
    """
    values = choice.values
    plan = _rows(con, "SELECT * FROM mart.plan WHERE attribute = ANY($attributes) ORDER BY rowid", values)
    said = [
        ("Sites", ", ".join(choice.sites)),
        ("Attributes", ", ".join(p["attribute"] for p in plan)),
        ("Lots listed and drawn", f"{choice.days}; verdicts rest on every lot that the plan counts"),
        *((f"Plan {p['plan_id']}", _declared(p)) for p in plan[:1]),
        *cover,
    ]
    parts = [
        Part("What this is", ("what", "is"), said),
        Part(
            "Verdicts",
            VERDICT_NAMES,
            _values(
                con,
                f"{VERDICTS} WHERE site = ANY($sites) AND attribute = ANY($attributes) ORDER BY attribute, site",
                values,
            ),
            told="Comparable: the whole 90 % interval inside the margin. Not comparable: wholly outside, on one side. "
            "Else inconclusive, with its reason. Differences are site less reference on the plan's scale.",
        ),
    ]
    for p in plan:
        parts += _of_attribute(con, p, values, pictures)
    parts += [
        Part(heading, names, _values(con, sql, values))
        for heading, table, names, sql in OF_ALL
        if has(con, table)
    ]
    return Report(f"Comparability by plan {_plan(con)}", _of(facts), parts, signed=True)


def _of_attribute(
    con: duckdb.DuckDBPyConnection,
    p: Row,
    values: Mapping[str, Any],
    pictures: Mapping[tuple[str, str], Sequence[str]],
) -> list[Part]:
    own = {**values, "attribute": p["attribute"]}
    margin = (
        f"Margin {p['margin_low']:g} to {p['margin_high']:g} on the {p['scale']} scale"
        + (f" ({p['reads_as']})" if p["reads_as"] else "")
        if p["margin_low"] is not None and p["margin_high"] is not None
        else "The plan gives no margin, so no verdict can be reached"
    )
    sentences = _values(
        con,
        "SELECT site, sentence FROM mart.comparability WHERE attribute = $attribute AND site = ANY($sites) "
        "ORDER BY site",
        own,
    )
    parts = [
        Part(p["title"], told=f"{margin}. {_declared(p)}. {p['criticality']}; {p['rationale']}"),
        Part(
            f"{p['title']}: difference in margins",
            pictures=pictures.get((p["attribute"], "difference"), ()),
            level=3,
        ),
        Part(f"{p['title']}: in words", ("site", "what is said"), sentences, level=3),
        Part(f"{p['title']}: lots", pictures=pictures.get((p["attribute"], "lots"), ()), level=3),
    ]
    parts += [
        Part(f"{p['title']}: {heading[0].lower()}{heading[1:]}", names, _values(con, sql, own), level=3)
        for heading, table, names, sql in OF_ATTRIBUTE
        if has(con, table)
    ]
    return [part for part in parts if part.level == 2 or part.pictures or part.names]


def _declared(p: Row) -> str:
    return f"{p['plan_id']} version {p['plan_version']}, approved {p['dated']} by the {p['approved_by_role']}"


def _plan(con: duckdb.DuckDBPyConnection) -> str:
    plan = _rows(con, "SELECT DISTINCT plan_id, plan_version FROM mart.plan")[0]
    return f"{plan['plan_id']} version {plan['plan_version']}"


def _of(facts: Mapping[str, str]) -> str:
    return f"Snapshot {facts['number']}, known at {facts.get('as_of', '')}, {facts.get('data', '')} data."


def _rows(con: duckdb.DuckDBPyConnection, sql: str, values: Mapping[str, Any] | None = None) -> list[Row]:
    cursor = con.execute(sql, {k: v for k, v in (values or {}).items() if f"${k}" in sql})
    names = [d[0] for d in cursor.description or []]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _values(
    con: duckdb.DuckDBPyConnection, sql: str, values: Mapping[str, Any] | None = None
) -> list[Sequence[Any]]:
    return [list(row.values()) for row in _rows(con, sql, values)]
