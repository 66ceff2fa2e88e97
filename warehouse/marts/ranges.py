"""Ranges of lots, results below detection, and failed lots: what is shown beside the verdicts and never decides.

Belongs here: which lots a range is drawn from and which it judges, fits of attributes with results below detection,
the share of lots that failed and their deviations. Does not belong here: factors and likelihoods
(`warehouse.statistics`).

A range is drawn on the plan's scale and told in the attribute's unit. A quality range widens with the reference's own
noise, so the chance that a site the same, and one that differs by the whole margin, would pass stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import duckdb
import numpy as np

from warehouse.marts.comparability import Lots
from warehouse.marts.designs import Side, top_of
from warehouse.marts.rows import inputs_hash
from warehouse.plan import PlannedAttribute
from warehouse.statistics.censored import kaplan_meier, lognormal_mle, regression_on_order_statistics
from warehouse.statistics.means import Summary, summarise
from warehouse.statistics.proportions import Count, miettinen_nurminen
from warehouse.statistics.rates import Exposure, dispersion, rate_ratio
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.statistics.scales import back, forward, margin_on_scale
from warehouse.statistics.tobit import mixed_tobit
from warehouse.statistics.tolerance import (
    Range,
    nonparametric_tolerance,
    normal_tolerance,
    prediction,
    quality_range,
    quality_range_acceptance,
)
from warehouse.statistics.versions import with_versions

BELOW = ("lognormal-mle", "regression-on-order-statistics", "kaplan-meier")


def range_rows(lots: Lots, sites: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of `mart.comparability_range`: each range of each attribute and site, the reference's own included."""
    return [
        row
        for name in lots.fleet.plan.attributes
        for site in (lots.fleet.reference_site, *sites)
        for row in ranges_of(lots, name, site)
    ]


def ranges_of(lots: Lots, name: str, site: str) -> list[dict[str, Any]]:
    """The ranges of one attribute at one site; a refusal is a row with its reason."""
    fleet, a, how = lots.fleet, lots.fleet.plan.attributes[name], lots.fleet.plan.ranges
    reference = fleet.reference_site
    reference_as, site_as = lots.chosen(name, site)
    own = lots.of(name, reference_as if site == reference else site_as, site)
    base = lots.of(name, reference_as, reference)
    measured = reference_as if site == reference else site_as
    rows: list[dict[str, Any]] = []

    def add(kind: str, of: str, lots_of: Side, made: Callable[[Summary], Range]) -> Range | None:
        head = {
            "attribute": name, "site": site, "range": kind, "of_site": of, "measured_as": measured,
            "inputs_hash": inputs_hash((*own.records, *base.records) if of != site else own.records),
        }  # fmt: skip
        try:
            found = made(summarise(lots_of.values, a.scale, top=top_of(a.scale), what="lots"))
        except StatisticsRefusal as refusal:
            rows.append(head | {"n": len(lots_of.used), "note": str(refusal)})
            return None
        low, high = (
            None if end is None else back(end, a.scale, top=top_of(a.scale))
            for end in (found.low, found.high)
        )
        rows.append(
            head
            | {
                "low": low, "high": high, "factor": found.k, "coverage": found.coverage,
                "confidence": found.confidence, "n": found.n, "method": found.method,
                "method_versions": with_versions(found.method),
            }
        )  # fmt: skip
        return found

    if site != reference and reference_as == site_as:
        found = add("quality range", reference, base, lambda s: quality_range(s, how.quality_k))
        if found is not None:
            rows[-1] |= _passed(found, base, own, a, how.quality_k, how.quality_share)
    add("tolerance", site, own, lambda s: normal_tolerance(s, how.coverage, how.confidence))
    add(
        "tolerance, no distribution", site, own,
        lambda _: nonparametric_tolerance(_scaled(own, a), how.coverage, how.confidence),
    )  # fmt: skip
    add("next lot", site, own, lambda s: prediction(s, how.confidence))
    add(f"next {how.next_lots} lots", site, own, lambda s: prediction(s, how.confidence, lots=how.next_lots))
    return rows


def _scaled(side: Side, a: PlannedAttribute) -> np.ndarray[Any, np.dtype[np.float64]]:
    return forward(side.values, a.scale, top=top_of(a.scale), what="lots", at_least=0)


def _passed(
    found: Range, base: Side, own: Side, a: PlannedAttribute, k: float, share: float
) -> dict[str, Any]:
    """How many of the site's lots lie inside, and the chances that a site the same or a margin away would pass."""
    judged = [found.inside(float(v)) for v in _scaled(own, a)]
    told: dict[str, Any] = {"n_judged": len(judged), "n_inside": sum(judged), "share_wanted": share}
    if not judged:
        return told
    told["passes"] = sum(judged) >= share * len(judged) - 1e-9
    told["chance_if_same"] = quality_range_acceptance(found.n, len(judged), k, share=share)
    if a.margin is not None:
        limits = margin_on_scale(a.margin, a.scale)
        sd = summarise(base.values, a.scale, top=top_of(a.scale), what="lots").sd
        shift = min(-limits.low, limits.high) / sd
        told["chance_at_margin"] = quality_range_acceptance(found.n, len(judged), k, share=share, shift=shift)
    return told


def censored_rows(con: duckdb.DuckDBPyConnection, target: str, reference: str) -> list[dict[str, Any]]:
    """Rows of `mart.censored_fit`: each attribute and site with a result below detection, every method, never LOD/2."""
    found = con.execute(
        "SELECT attribute, any_value(unit), sample_point, site_id, "
        "list({'value': value, 'below': operator <> '=', 'batch': batch_id, 'record': record_id} ORDER BY result_id) "
        f"FROM {target}.mart.assay_long WHERE value IS NOT NULL AND operator IN ('=', '<', '<=') "
        "AND attribute IN (SELECT attribute FROM "
        f"{target}.mart.assay_long WHERE operator IN ('<', '<=') AND value > 0) "
        "GROUP BY attribute, sample_point, site_id ORDER BY attribute, sample_point, site_id = ? DESC, site_id",
        [reference],
    ).fetchall()
    rows: list[dict[str, Any]] = []
    home: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for attribute, unit, point, site, results in found:
        if site == reference:
            home[attribute, point] = results
        values, below = [r["value"] for r in results], [r["below"] for r in results]
        told: dict[str, Any] = {
            "attribute": attribute, "site": site, "sample_point": point, "unit": unit, "n": len(values),
            "n_below": sum(below),
            "highest_limit": max((v for v, b in zip(values, below, strict=True) if b), default=None),
            "method_versions": with_versions(*BELOW),
        }  # fmt: skip
        rows.append(told | _fitted(values, below))
        other = home.get((attribute, point)) if site != reference else None
        rows[-1]["inputs_hash"] = inputs_hash(r["record"] for r in (*results, *(other or ())))
        if other is not None:
            rows[-1]["method_versions"] = with_versions(*BELOW, "mixed-tobit")
            rows[-1] |= _against(other, results, rows[-1].get("note"))
    return rows


def _fitted(values: Sequence[float], below: Sequence[bool]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    try:
        fit = lognormal_mle(values, below)
        told |= {
            "mle_median": fit.median,
            "mle_mean": fit.mean,
            "sd_log": fit.sdlog,
            "se_median_log": fit.se_meanlog,
        }
        told["ros_mean"] = regression_on_order_statistics(values, below).mean
        km = kaplan_meier(values, below)
        told |= {"km_mean": km.mean, "km_median": km.median}
    except StatisticsRefusal as refusal:
        told["note"] = str(refusal)
    return told


def _against(home: list[dict[str, Any]], own: list[dict[str, Any]], note: str | None) -> dict[str, Any]:
    """Ratio of medians to the reference's by a mixed Tobit model: batches random, results of one batch alike."""
    both = [*home, *own]
    try:
        fit = mixed_tobit(
            np.log([r["value"] for r in both]), [r["below"] for r in both],
            np.column_stack([np.ones(len(both)), [0.0] * len(home) + [1.0] * len(own)]),
            [f"{'r' if i < len(home) else 's'}{r['batch']}" for i, r in enumerate(both)],
        )  # fmt: skip
    except StatisticsRefusal as refusal:
        return {"note": note or str(refusal)}
    low, high = fit.interval(1)
    return {
        "ratio": float(np.exp(fit.beta[1])),
        "ratio_low": float(np.exp(low)),
        "ratio_high": float(np.exp(high)),
    }


def failed_rows(
    con: duckdb.DuckDBPyConnection, target: str, reference: str, alpha: float
) -> Iterator[dict[str, Any]]:
    """Rows of `mart.failed_lots`: what went wrong at each site, against the reference's.

    Share of lots terminated or rejected, and deviations a lot with the exact ratio of rates. That ratio takes
    deviations for independent; `dispersion_p` is small where lots differ by more than that.
    """
    found = con.execute(
        "WITH of_lot AS (SELECT site_id, batch_id, count(DISTINCT deviation_id) AS n FROM in_force_deviation "
        "GROUP BY ALL) SELECT b.site_id, count(*) FILTER (coalesce(batch_status = 'terminated', false) "
        "OR coalesce(disposition = 'rejected', false)), count(*), list(coalesce(d.n, 0) ORDER BY b.batch_id), "
        "list(b.inputs_hash || ' ' || coalesce(d.n, 0)) "
        f"FROM {target}.mart.batch_wide b LEFT JOIN of_lot d ON d.site_id = b.site_id AND d.batch_id = b.batch_id "
        "WHERE batch_status IS NOT NULL OR disposition IS NOT NULL GROUP BY b.site_id ORDER BY b.site_id"
    ).fetchall()
    counts = {site: (Count(failed, n), events) for site, failed, n, events, _ in found}
    inputs = {site: of_lots for site, _, _, _, of_lots in found}
    base = counts.get(reference)
    for site, (count, events) in counts.items():
        told: dict[str, Any] = {
            "site": site,
            "n": count.n,
            "n_failed": count.events,
            "share": count.events / count.n,
            "n_deviations": sum(events),
            "inputs_hash": inputs_hash((*inputs[site], *inputs.get(reference, ()))),
        }
        with suppress(StatisticsRefusal):  # of fewer than 2 lots, or none with a deviation
            told["dispersion_p"] = dispersion(events).p
        if base is not None and site != reference:
            difference = miettinen_nurminen(count, base[0], level=1 - 2 * alpha)
            told |= {
                "reference": reference, "difference": difference.estimate, "low": difference.ci_low,
                "high": difference.ci_high, "method": "miettinen-nurminen",
                "method_versions": with_versions("miettinen-nurminen", "rate-ratio-exact"),
            }  # fmt: skip
            with suppress(StatisticsRefusal):  # no deviation on either side
                ratio = rate_ratio(
                    Exposure(sum(events), count.n), Exposure(sum(base[1]), base[0].n), level=1 - 2 * alpha
                )
                told |= {"rate_ratio": ratio.estimate, "rate_low": ratio.ci_low, "rate_high": ratio.ci_high}
        yield told
