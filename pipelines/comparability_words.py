"""A verdict explained in words: `cellfleet comparability explain`.

Belongs here: sentences from a row. Does not belong here: where a row comes from (`comparability_commands`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def explained(row: dict[str, Any]) -> Iterator[str]:
    """The lines of `explain`."""
    yield (
        f"{row['attribute']} at {row['site']} against {row['reference']}: {row['verdict']}"
        + _because(row["reason"])
    )
    yield (row["sentence"])
    yield (f"Design: {row['design']}; plan {row['plan_id']} {row['plan_version']} ({row['plan_lock']}).")
    yield (f"Methods and their versions: {row['method_versions']}; {row['interval']} intervals.")
    if row["size"] is not None:
        yield (
            f"At these numbers and spreads the test calls a true difference at the margin comparable in "
            f"{100 * row['size']:.1f} % (nominal {100 * row['alpha']:g} %"
            + (f", simulated, ± {100 * row['size_error']:.1f}" if row["size_error"] else "")
            + ")."
        )
    if row["characteristics"]:
        curve = ", ".join(
            f"{c['true_in_margins']:g}: {100 * c['chance_comparable']:.0f} %" for c in row["characteristics"]
        )
        yield (
            f"Chance of comparable with these lots, by true difference in margins (spreads alike): {curve}."
        )
    deciding = row["analyses"][0] if row["analyses"] else {}
    if deciding.get("probability_inside") is not None:
        yield (
            f"Posterior probability that the difference lies inside the margin: {deciding['probability_inside']:.3f}; "
            f"as a rule (0.95 or more) it would accept one at the margin in {100 * (deciding['rule_size'] or 0):.1f} %."
        )
    yield from _analyses(row)
    yield from _beside(row)
    for i in row["influence"][:3]:
        if i["shift_in_se"] is not None:
            turned = ", and the interval would lie elsewhere" if i["changes_place"] else ""
            yield (
                f"  Without {i['lot']} the estimate moves {i['shift_in_se']:+.2f} standard errors{turned}."
            )


def _analyses(row: dict[str, Any]) -> Iterator[str]:
    for a in row["analyses"]:
        numbers = "no interval"
        if a["estimate"] is not None:
            where = a["place"] or "no margin"
            numbers = f"{a['reading']} {a['estimate']:.4g} ({a['ci_low']:.4g} to {a['ci_high']:.4g}), {where}"
        note = f"; {a['note']}" if a["note"] else ""
        yield (f"  {'*' if a['decides'] else ' '} {a['analysis']} ({a['method']}): {numbers}{note}")
    if not any(a["analysis"] == "without flagged outliers" for a in row["analyses"]):
        yield ("  No lots are flagged as outliers: the answer without them is the same.")
    for line in row["assumptions"]:
        yield (f"  {line}")


def _beside(row: dict[str, Any]) -> Iterator[str]:
    for f in row["families"]:
        yield (f"  Family {f['family']}: {f['sentence']}")
    for n in row["network"]:
        if n.get("estimate") is not None:
            share = ""
            if n.get("site_share") is not None:
                share = (
                    f"; sites carry {100 * n['site_share']:.0f} % of the variance (at most "
                    f"{100 * n['site_share_upper']:.0f} %)"
                )
            yield (
                f"  {n['sites']} sites at once (Dunnett): {n['estimate']:+.4g} ({n['low']:.4g} to {n['high']:.4g}) on "
                f"the {n['scale']} scale, {'inside' if n['inside'] else 'not inside'} the margin{share}."
            )
        if n.get("probability_inside") is not None:
            yield (
                f"  Means partially pooled: {n['pooled_estimate']:+.4g} ({n['pooled_low']:.4g} to "
                f"{n['pooled_high']:.4g}), inside the margin with probability {n['probability_inside']:.3f}; as a rule "
                f"(0.95 or more) it would accept a site at the margin, the others like the reference, in "
                f"{100 * n['pooled_rule_size']:.1f} ± {100 * n['pooled_rule_size_error']:.1f} %."
            )
    for r in row["ranges"]:
        yield (f"  {_range_words(r)}")
    if row["variance"]:
        parts = ", ".join(f"{v['component']} {100 * v['share']:.0f} %" for v in row["variance"])
        yield (f"  Variance over the fleet, patient against process and assay: {parts}.")


def _because(reason: str | None) -> str:
    return f", {reason}" if reason else ""


def _range_words(r: dict[str, Any]) -> str:
    name = str(r["range"]).capitalize()
    if r.get("low") is None:
        return f"{name}: none. {r.get('note') or ''}".rstrip()
    words = f"{name} of {r['of_site']}: {r['low']:.4g} to {r['high']:.4g}"
    if r.get("n_judged"):
        words += (
            f"; {r['n_inside']} of {r['n_judged']} lots inside ({100 * r['share_wanted']:g} % wanted); a like site "
            f"would pass in {100 * r['chance_if_same']:.0f} %"
        )
        if r.get("chance_at_margin") is not None:
            words += f", one a margin away in {100 * r['chance_at_margin']:.0f} %"
    return words + "."
